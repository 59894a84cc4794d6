import { assert, unreachable } from '../shared/assert.ts';
import { spreadMs } from '../shared/backoff.ts';
import { Deadlines } from '../shared/deadlines.ts';
import type { Delta, Snapshot } from '../shared/gossip.ts';
import { Queue } from '../shared/queue.ts';
import { canonicalText, compareStamps, deltaBetween, fenceOf, normalise } from '../shared/gossip-view.ts';
import type { AgentId, InstanceNonce, LeafId, TunnelId } from '../shared/ids.ts';
import type { Instant, Random } from '../shared/time.ts';
import { ClaimRecorder, type RecordOutcome } from './claim-recorder.ts';
import { ClaimSlots } from './claim-slots.ts';
import { completeRootConfig } from './defaults.ts';
import { DEFAULT_HOLD_DOWNS, HoldDowns } from './hold-downs.ts';
import { agentKey, moveTunnel, TunnelTable, type RootDeadline, type RootTunnel } from './tunnels.ts';
import type {
  RootCloseReason,
  RootConfig,
  RootEffect,
  RootEvent,
  RootStatus,
  RootTunnelStatus,
  ServingRecord,
} from './types.ts';

/** A tunnel that was told `held` must ask for standby or close within this. */
const UNDECIDED_MS = 10_000;
/** Newcomers of one agent id that may wait for the outcome of one challenge. */
const MAX_CHALLENGERS = 4;

type EventOf<Type extends RootEvent['type']> = Extract<RootEvent, { type: Type }>;

/** Older tunnels of an agent id are asked for a sign of life while newcomers with that id wait. */
interface Challenge {
  readonly silent: Set<RootTunnel>;
  readonly waiting: RootTunnel[];
}

/**
 * Decides who holds the claim slots of one root proxy, what gossip its agents get, and what has to be recorded in etcd.
 * Performs no I/O and reads no clock; used like LeafDiscovery. A slot is granted and passed on in the very `handle()`
 * that freed it; the record in etcd follows, so that claims go on while etcd or every registry is down.
 */
export class RootDiscovery {
  readonly #config: Required<RootConfig>;
  readonly #random: Random;
  readonly #deadlines = new Deadlines<RootDeadline>();
  readonly #effects = new Queue<RootEffect>();
  readonly #tunnels = new TunnelTable();
  readonly #slots: ClaimSlots;
  readonly #recorder: ClaimRecorder;
  readonly #challenges = new Map<string, Challenge>();
  readonly #holdDowns = new HoldDowns(DEFAULT_HOLD_DOWNS);
  #membership: Snapshot | undefined;
  #draining: 'no' | 'announced' | 'done' = 'no';
  #now: Instant;

  /** Throws RangeError on a bad config. */
  constructor(config: RootConfig, random: Random, now: Instant) {
    this.#config = completeRootConfig(config);
    this.#random = random;
    this.#now = now;
    this.#slots = new ClaimSlots(this.#config.claimsPerProxy);
    const emit = (effect: RootEffect): void => this.#effects.push(effect);
    this.#recorder = new ClaimRecorder({
      random,
      recordRetryMs: this.#config.recordRetryMs,
      deadlines: this.#deadlines,
      emit,
    });
  }

  handle(event: RootEvent, now: Instant): void {
    assert(now >= this.#now, `time went backwards from ${this.#now} to ${now}`);
    this.#now = now;
    this.#dispatch(event, now);
    this.#recorder.pump(now);
    if (this.#draining === 'announced' && this.#tunnels.size === 0) this.#drained();
  }

  pollEffect(): RootEffect | undefined {
    return this.#effects.shift();
  }

  nextTimeout(): Instant | undefined {
    return this.#deadlines.next();
  }

  status(): RootStatus {
    return {
      incarnation: this.#recorder.incarnation,
      registryConnected: this.#recorder.connected,
      draining: this.#draining !== 'no',
      stamp: this.#membership?.stamp,
      tunnels: this.#tunnels.sorted().flatMap((tunnel) => this.#describe(tunnel)),
      unrecorded: this.#recorder.unrecorded,
    };
  }

  /** What is held against an agent: a claim that it did not serve (`claimUnserved`). */
  serving(leaf: LeafId, agent: AgentId, now: Instant): ServingRecord {
    const key = agentKey({ leaf, agent });
    return { heldMs: this.#holdDowns.heldMs(key, now), suspect: this.#holdDowns.isSuspect(key, now) };
  }

  /** Throws when the machine's parts disagree. Looks at everything: for tests and the simulator. */
  checkInvariants(): void {
    this.#slots.check(this.#tunnels.sorted());
  }

  #dispatch(event: RootEvent, now: Instant): void {
    switch (event.type) {
      case 'attachRequested':
        return this.#attach(event, now);
      case 'standbyRequested':
        return this.#standby(this.#tunnels.expect(event.tunnel));
      case 'snapshotRequested':
        return this.#sendSnapshot(this.#tunnels.expect(event.tunnel), now);
      case 'challengeAnswered':
        return this.#challengeAnswered(this.#tunnels.expect(event.tunnel), now);
      case 'claimUnserved':
        return this.#unserved(this.#tunnels.expect(event.tunnel), event.detail, now);
      case 'agentDraining':
        return this.#agentDraining(this.#tunnels.expect(event.tunnel), now);
      case 'tunnelClosed':
        return this.#closed(this.#tunnels.expect(event.tunnel), now);
      case 'registryConnected':
        return this.#recorder.registryConnected(event.incarnation);
      case 'registryLost':
        return this.#recorder.registryLost();
      case 'claimRecorded':
        return this.#applyOutcome(this.#recorder.recorded(event.request, event.token));
      case 'claimRefused':
        return this.#applyOutcome(this.#recorder.refused(event.request, event.cause, event.holder, now));
      case 'claimUnknown':
        return this.#recorder.unknown(event.request, 'record', now);
      case 'claimReleased':
        return this.#recorder.released(event.request);
      case 'releaseUnknown':
        return this.#recorder.unknown(event.request, 'release', now);
      case 'claimsObserved':
        return this.#claimsObserved(event);
      case 'membershipChanged':
        return this.#membershipChanged(event.snapshot, now);
      case 'drainRequested':
        return this.#drain(event.spreadMs, event.deadlineMs, now);
      case 'timeout':
        return this.#timeouts(now);
      default:
        return unreachable(event, 'event');
    }
  }

  // ---- attach and challenge ----------------------------------------------------------------------------------------

  #attach(event: EventOf<'attachRequested'>, now: Instant): void {
    const { tunnel: id, leaf, agent, nonce, via } = event;
    const tunnel: RootTunnel = { id, leaf, agent, nonce, via, phase: { kind: 'waiting' }, sent: undefined };
    this.#tunnels.add(tunnel);
    this.#sendSnapshot(tunnel, now);
    if (this.#draining !== 'no') return this.#refuseDraining(tunnel);
    if (this.#holdDowns.heldMs(agentKey(tunnel), now) > 0) return this.#holdDown(tunnel);
    this.#admit(tunnel, event.replaces, now);
  }

  #admit(tunnel: RootTunnel, replaces: TunnelId | undefined, now: Instant): void {
    const rivals = this.#tunnels.rivals(tunnel);
    const replaced = rivals.find((rival) => rival.id === replaces && rival.nonce === tunnel.nonce);
    if (replaced !== undefined && this.#isBetter(tunnel, replaced)) return this.#replace(replaced, tunnel, now);
    const key = agentKey(tunnel);
    const challenge = this.#challenges.get(key);
    if (challenge !== undefined) return this.#joinChallenge(challenge, tunnel);
    if (rivals.length === 0) return this.#offer(tunnel, now);
    this.#challenges.set(key, { silent: new Set(rivals), waiting: [tunnel] });
    this.#deadlines.set(`challenge:${key}`, now + this.#config.challengeTimeoutMs);
    for (const rival of rivals) this.#effects.push({ type: 'challengeTunnel', tunnel: rival.id });
  }

  /** A direct way is better than any; a relayed one only than one whose relaying proxy is about to stop. */
  #isBetter(newcomer: RootTunnel, old: RootTunnel): boolean {
    if (newcomer.via === undefined) return true;
    if (old.via === undefined || old.via === newcomer.via || this.#membership === undefined) return false;
    return !this.#membership.proxies.some(({ id, state }) => id === old.via && state === 'ready');
  }

  #joinChallenge(challenge: Challenge, tunnel: RootTunnel): void {
    if (challenge.waiting.length < MAX_CHALLENGERS) challenge.waiting.push(tunnel);
    else this.#close(tunnel, 'overloaded', `too many tunnels of agent ${agentKey(tunnel)} at once`);
  }

  /** Grants a free slot, or tells who holds the slots. */
  #offer(tunnel: RootTunnel, now: Instant): void {
    const slot = this.#slots.freeSlot(tunnel.leaf);
    if (slot !== undefined && !this.#slots.holdsOne(tunnel)) return this.#grant(tunnel, slot);
    const holder = this.#slots.holdsOne(tunnel) ? tunnel : this.#slots.firstHolder(tunnel.leaf);
    assert(holder !== undefined, `no slot of ${tunnel.leaf} is free and none is held`);
    moveTunnel(tunnel, { kind: 'undecided' });
    this.#deadlines.set(`undecided:${tunnel.id}`, now + UNDECIDED_MS);
    this.#effects.push({ type: 'reportHeld', tunnel: tunnel.id, holder: holder.agent });
  }

  #grant(tunnel: RootTunnel, slot: number): void {
    this.#slots.occupy(tunnel, slot);
    this.#deadlines.set(`undecided:${tunnel.id}`, undefined);
    const grant = { tunnel: tunnel.id, agent: tunnel.agent, nonce: this.#recorder.nextNonce() };
    this.#recorder.desire(tunnel.leaf, slot, grant);
    this.#effects.push({ type: 'grantClaim', tunnel: tunnel.id, slot });
  }

  /** The same instance comes by a better way: its slot moves in one step, what the old tunnel carries may finish. */
  #replace(old: RootTunnel, tunnel: RootTunnel, now: Instant): void {
    const slot = this.#slots.vacate(old);
    this.#deadlines.set(`undecided:${old.id}`, undefined);
    moveTunnel(old, { kind: 'replaced' });
    this.#deadlines.set(`linger:${old.id}`, now + this.#config.lingerMs);
    this.#leaveChallenge(old);
    if (slot === undefined) this.#offer(tunnel, now);
    else this.#grant(tunnel, slot);
    this.#resolveIfSilent(agentKey(old), now);
  }

  #challengeAnswered(tunnel: RootTunnel, now: Instant): void {
    const key = agentKey(tunnel);
    const challenge = this.#challenges.get(key);
    if (challenge === undefined || !challenge.silent.has(tunnel)) return;
    this.#endChallenge(key);
    for (const newcomer of challenge.waiting) {
      if (newcomer.nonce === tunnel.nonce) this.#offer(newcomer, now);
      else this.#close(newcomer, 'duplicate-id', duplicateDetail(tunnel, newcomer.nonce));
    }
  }

  /** Nobody answered: the old tunnels are dead ends, and their slot goes to the first who waits. */
  #challengeTimedOut(key: string, now: Instant): void {
    const challenge = this.#challenges.get(key);
    if (challenge === undefined) return;
    this.#endChallenge(key);
    const [first, ...others] = challenge.waiting;
    let slot: number | undefined;
    for (const old of challenge.silent) {
      slot = this.#release(old) ?? slot;
      this.#close(old, 'replaced', `agent ${key} did not answer here and has come back by another tunnel`);
    }
    if (first !== undefined && slot !== undefined) this.#grant(first, slot);
    else if (first !== undefined) this.#offer(first, now);
    for (const other of others) this.#admit(other, undefined, now);
    if (first !== undefined) this.#promote(first.leaf);
  }

  #endChallenge(key: string): void {
    this.#challenges.delete(key);
    this.#deadlines.set(`challenge:${key}`, undefined);
  }

  #leaveChallenge(tunnel: RootTunnel): void {
    const key = agentKey(tunnel);
    const challenge = this.#challenges.get(key);
    if (challenge === undefined) return;
    challenge.silent.delete(tunnel);
    const index = challenge.waiting.indexOf(tunnel);
    if (index >= 0) challenge.waiting.splice(index, 1);
    if (challenge.waiting.length === 0) this.#endChallenge(key);
  }

  #resolveIfSilent(key: string, now: Instant): void {
    if (this.#challenges.get(key)?.silent.size === 0) this.#challengeTimedOut(key, now);
  }

  // ---- slots -------------------------------------------------------------------------------------------------------

  #standby(tunnel: RootTunnel): void {
    if (tunnel.phase.kind !== 'undecided') return;
    this.#deadlines.set(`undecided:${tunnel.id}`, undefined);
    const mayHold = this.#draining === 'no' && !this.#slots.holdsOne(tunnel);
    const slot = mayHold ? this.#slots.freeSlot(tunnel.leaf) : undefined;
    if (slot !== undefined) return this.#grant(tunnel, slot);
    if (this.#slots.standbyCount(tunnel.leaf) >= this.#config.maxStandbysPerLeaf) {
      return this.#close(
        tunnel,
        'standby-unwanted',
        `leaf ${tunnel.leaf} has ${this.#config.maxStandbysPerLeaf} standbys here`,
      );
    }
    this.#slots.enqueue(tunnel);
  }

  /** Takes the tunnel out of its slot or queue. Returns the freed slot; promoting is the caller's to do. */
  #release(tunnel: RootTunnel): number | undefined {
    const slot = this.#slots.vacate(tunnel);
    if (slot !== undefined) this.#recorder.desire(tunnel.leaf, slot, undefined);
    this.#deadlines.set(`undecided:${tunnel.id}`, undefined);
    return slot;
  }

  /** Hands free slots to the longest-waiting standbys, in the turn that freed them; agents that did not serve come last. */
  #promote(leaf: LeafId): void {
    while (this.#draining === 'no') {
      const slot = this.#slots.freeSlot(leaf);
      const suspect = (tunnel: RootTunnel): boolean => this.#holdDowns.isSuspect(agentKey(tunnel), this.#now);
      const next = this.#slots.nextStandby(leaf, suspect);
      if (slot === undefined || next === undefined) return;
      this.#grant(next, slot);
    }
  }

  #agentDraining(tunnel: RootTunnel, now: Instant): void {
    const { kind } = tunnel.phase;
    if (kind === 'closing' || kind === 'replaced' || kind === 'leaving') return;
    this.#release(tunnel);
    this.#leaveChallenge(tunnel);
    moveTunnel(tunnel, { kind: 'leaving' });
    this.#resolveIfSilent(agentKey(tunnel), now);
    this.#promote(tunnel.leaf);
  }

  /** A black hole: the agent loses its claim here and everything that could get it one again, for a while. */
  #unserved(tunnel: RootTunnel, detail: string, now: Instant): void {
    if (tunnel.phase.kind !== 'claimed') return;
    const heldMs = this.#holdDowns.strike(agentKey(tunnel), now);
    const why = `${detail}; the claim goes to another agent, and to this one in ${heldMs} ms at the earliest`;
    // Newest first: who waits for the outcome of a challenge must not get the slot of the tunnel that is challenged.
    for (const own of [...this.#tunnels.ofAgent(tunnel)].reverse()) {
      if (own.phase.kind !== 'leaving' && own.phase.kind !== 'replaced') this.#close(own, 'unserved', why);
    }
    this.#promote(tunnel.leaf);
  }

  #holdDown(tunnel: RootTunnel): void {
    const { proxy } = this.#config;
    this.#close(tunnel, 'unserved', `agent ${agentKey(tunnel)} held a claim of ${proxy} and did not serve it`);
  }

  #closed(tunnel: RootTunnel, now: Instant): void {
    this.#release(tunnel);
    this.#leaveChallenge(tunnel);
    this.#tunnels.remove(tunnel);
    this.#deadlines.set(`gossip:${tunnel.id}`, undefined);
    this.#deadlines.set(`linger:${tunnel.id}`, undefined);
    this.#resolveIfSilent(agentKey(tunnel), now);
    this.#promote(tunnel.leaf);
  }

  #close(tunnel: RootTunnel, reason: RootCloseReason, detail: string): void {
    if (tunnel.phase.kind === 'closing') return;
    this.#release(tunnel);
    this.#leaveChallenge(tunnel);
    moveTunnel(tunnel, { kind: 'closing' });
    this.#deadlines.set(`gossip:${tunnel.id}`, undefined);
    this.#deadlines.set(`linger:${tunnel.id}`, undefined);
    this.#effects.push({ type: 'closeTunnel', tunnel: tunnel.id, reason, detail });
    this.#resolveIfSilent(agentKey(tunnel), this.#now);
  }

  #applyOutcome(outcome: RecordOutcome | undefined): void {
    if (outcome === undefined) return;
    const tunnel = this.#tunnels.expect(outcome.tunnel);
    if (outcome.kind === 'confirmed') {
      const { slot, token } = outcome;
      const { incarnation } = this.#recorder;
      this.#effects.push({ type: 'confirmClaim', tunnel: tunnel.id, slot, token, incarnation });
      return;
    }
    const holder = outcome.holder === undefined ? 'somebody else' : `agent ${outcome.holder.agent}`;
    this.#close(
      tunnel,
      'claim-lost',
      `etcd has the claim of leaf ${tunnel.leaf} on ${this.#config.proxy} for ${holder}`,
    );
    this.#promote(tunnel.leaf);
  }

  #claimsObserved({ stamp, claims, removed, complete }: EventOf<'claimsObserved'>): void {
    const own = claims.filter((claim) => claim.proxy === this.#config.proxy);
    const gone = removed.filter((key) => key.proxy === this.#config.proxy);
    const outcomes = this.#recorder.observed(own, complete ? 'others-missing' : gone, fenceOf(stamp));
    for (const outcome of outcomes) this.#applyOutcome(outcome);
  }

  // ---- gossip ------------------------------------------------------------------------------------------------------

  #sendSnapshot(tunnel: RootTunnel, now: Instant): void {
    if (tunnel.phase.kind === 'closing') return;
    const { gossipIntervalMs } = this.#config;
    const wait = spreadMs(0.75 * gossipIntervalMs, 1.25 * gossipIntervalMs, this.#random, `gossip:${tunnel.id}`);
    this.#deadlines.set(`gossip:${tunnel.id}`, now + wait);
    if (this.#membership === undefined) return;
    tunnel.sent = this.#membership.stamp;
    this.#effects.push({ type: 'sendGossip', tunnel: tunnel.id, message: this.#membership });
  }

  #membershipChanged(snapshot: Snapshot, now: Instant): void {
    const before = this.#membership;
    const order = before === undefined ? 1 : compareStamps(snapshot.stamp, before.stamp);
    if (order < 0) return;
    const after: Snapshot = { ...snapshot, proxies: normalise(snapshot.proxies) };
    if (order === 0) return this.#signedAnew(after);
    this.#membership = after;
    const delta = before === undefined ? undefined : deltaBetween(before, after);
    const small = delta !== undefined && delta.changed.length + delta.removed.length < after.proxies.length;
    for (const tunnel of this.#tunnels.sorted()) this.#sendChange(tunnel, small ? delta : undefined, now);
  }

  /** The same list, with a statement that verifies for longer: it goes out with the next repetition. */
  #signedAnew(snapshot: Snapshot): void {
    const before = this.#membership;
    if (before === undefined || snapshot.statement === undefined) return;
    if (canonicalText(before) === canonicalText(snapshot)) this.#membership = snapshot;
  }

  #sendChange(tunnel: RootTunnel, delta: Delta | undefined, now: Instant): void {
    const inStep = tunnel.sent !== undefined && delta !== undefined && compareStamps(tunnel.sent, delta.from) === 0;
    if (!inStep) return this.#sendSnapshot(tunnel, now);
    if (tunnel.phase.kind === 'closing') return;
    tunnel.sent = delta.to;
    this.#effects.push({ type: 'sendGossip', tunnel: tunnel.id, message: delta });
  }

  // ---- drain, timeouts, status -------------------------------------------------------------------------------------

  #drain(spread: number, deadlineMs: number, now: Instant): void {
    if (this.#draining !== 'no') return;
    this.#draining = 'announced';
    this.#deadlines.set('drain', now + deadlineMs);
    this.#effects.push({ type: 'deregister' });
    for (const tunnel of this.#tunnels.sorted()) {
      if (tunnel.phase.kind === 'waiting') this.#refuseDraining(tunnel);
      else if (tunnel.phase.kind !== 'closing') {
        this.#effects.push({ type: 'announceDrain', tunnel: tunnel.id, spreadMs: spread, deadlineMs });
      }
    }
  }

  #refuseDraining(tunnel: RootTunnel): void {
    this.#close(tunnel, 'draining', `root proxy ${this.#config.proxy} is about to stop`);
  }

  #drainDeadline(): void {
    for (const tunnel of this.#tunnels.sorted()) {
      this.#close(tunnel, 'drain-deadline', `root proxy ${this.#config.proxy} stops now`);
    }
    this.#drained();
  }

  #drained(): void {
    if (this.#draining === 'done') return;
    this.#draining = 'done';
    this.#deadlines.set('drain', undefined);
    this.#effects.push({ type: 'drained' });
  }

  #timeouts(now: Instant): void {
    for (let key = this.#deadlines.takeDue(now); key !== undefined; key = this.#deadlines.takeDue(now)) {
      this.#expired(key, now);
    }
  }

  #expired(key: RootDeadline, now: Instant): void {
    if (key === 'drain') return this.#drainDeadline();
    const name = key.slice(key.indexOf(':') + 1);
    if (key.startsWith('challenge:')) return this.#challengeTimedOut(name, now);
    if (key.startsWith('record:')) return this.#recorder.expired(name, now);
    const tunnel = this.#tunnels.expect(name as TunnelId);
    if (key.startsWith('gossip:')) return this.#sendSnapshot(tunnel, now);
    if (key.startsWith('linger:')) return this.#close(tunnel, 'replaced', 'a newer tunnel of this agent took over');
    return this.#close(tunnel, 'standby-unwanted', 'neither asked to stand by nor closed');
  }

  #describe(tunnel: RootTunnel): RootTunnelStatus[] {
    const { id, leaf, agent, phase } = tunnel;
    if (phase.kind === 'closing') return [];
    const slot = phase.kind === 'claimed' ? phase.slot : undefined;
    const token = this.#recorder.tokenOf(leaf, slot ?? -1, id);
    return [{ tunnel: id, leaf, agent, state: shownState(phase.kind, token), slot, token }];
  }
}

function shownState(kind: Exclude<RootTunnel['phase']['kind'], 'closing'>, token: bigint): RootTunnelStatus['state'] {
  switch (kind) {
    case 'claimed':
      return token === 0n ? 'provisional' : 'claimed';
    case 'standby':
      return 'standby';
    case 'waiting':
    case 'undecided':
      return 'undecided';
    case 'leaving':
    case 'replaced':
      return 'draining';
  }
}

/** Names both instances; a nonce is no secret, eight characters tell them apart. */
function duplicateDetail(old: RootTunnel, newcomer: InstanceNonce): string {
  const [live, refused] = [old.nonce, newcomer].map((nonce) => nonce.slice(0, 8));
  return `agent ${agentKey(old)} is attached by live instance ${live}; instance ${refused} is refused, give it an id of its own`;
}
