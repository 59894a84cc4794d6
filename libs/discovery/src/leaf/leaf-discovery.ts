import { assert, unreachable } from '../shared/assert.ts';
import { spreadMs } from '../shared/backoff.ts';
import { Deadlines } from '../shared/deadlines.ts';
import type { GossipMessage } from '../shared/gossip.ts';
import { MAX_PROXIES } from '../shared/gossip-view.ts';
import type { AgentId, FencingToken, Incarnation, ProxyId, TunnelId } from '../shared/ids.ts';
import { Queue } from '../shared/queue.ts';
import type { Instant, Random } from '../shared/time.ts';
import { completeLeafConfig } from './defaults.ts';
import { DialPlanner } from './dial-planner.ts';
import type { Dial } from './dials.ts';
import { StampedKnowledge, type Knowledge } from './knowledge.ts';
import { isWanted, tunnelOf } from './phase.ts';
import { Pool, type Entry, type LeafDeadline, type Tunnel } from './pool.ts';
import type { CloseReason, LeafConfig, LeafEffect, LeafEvent, LeafStatus } from './types.ts';

/** A snapshot is asked for at most this often over one tunnel, so that bad deltas cannot make us chatter. */
const SNAPSHOT_ASK_INTERVAL_MS = 1_000;
/** Bounds what a drain announcement may ask for. */
const MAX_DRAIN_MS = 600_000;
/** An agent leaves a draining proxy at least this long before the deadline, a fifth of it where that is shorter. */
const DRAIN_MARGIN_MS = 2_000;

type EventOf<Type extends LeafEvent['type']> = Extract<LeafEvent, { type: Type }>;

/**
 * Decides which root proxies one leaf agent dials, claims and gives up. Performs no I/O and reads no clock.
 *
 * After every `handle()` poll effects until undefined and perform them in that order; at `nextTimeout()` hand in
 * `{ type: 'timeout' }` (early or late ones are harmless). Events that only a peer can cause are tolerated in any order;
 * events that break the shell's side of the contract throw.
 */
export class LeafDiscovery {
  readonly #config: Required<LeafConfig>;
  readonly #random: Random;
  readonly #knowledge: Knowledge;
  readonly #deadlines = new Deadlines<LeafDeadline>();
  readonly #pool = new Pool(this.#deadlines);
  readonly #planner: DialPlanner;
  readonly #effects = new Queue<LeafEffect>();
  #now: Instant;
  #leaving = false;
  #wasted = 0;
  #problem: string | undefined;

  /** `knowledge` is for the simulator's other protocols; production leaves it out. Throws RangeError on a bad config. */
  constructor(config: LeafConfig, random: Random, now: Instant, knowledge?: Knowledge) {
    this.#config = completeLeafConfig(config);
    this.#random = random;
    this.#knowledge = knowledge ?? new StampedKnowledge(this.#config.expiryMs);
    this.#now = now;
    const emit = (effect: LeafEffect): void => this.#effects.push(effect);
    const parts = { config: this.#config, random, pool: this.#pool, deadlines: this.#deadlines, emit };
    this.#planner = new DialPlanner(parts, now);
    this.#planner.pump(now);
  }

  handle(event: LeafEvent, now: Instant): void {
    assert(now >= this.#now, `time went backwards from ${this.#now} to ${now}`);
    this.#now = now;
    this.#dispatch(event, now);
    this.#leaveDraining(now);
    if (!this.#leaving) this.#planner.pump(now);
  }

  pollEffect(): LeafEffect | undefined {
    return this.#effects.shift();
  }

  nextTimeout(): Instant | undefined {
    return this.#deadlines.next();
  }

  status(): LeafStatus {
    const entries = this.#pool.sorted().map((entry) => this.#pool.describe(entry));
    return {
      entries,
      stamp: this.#knowledge.stamp,
      wanted: this.#pool.wanted,
      claimed: entries.filter((entry) => entry.state === 'claimed').length,
      dialsInFlight: this.#planner.dials.inFlight,
      dialsTotal: this.#planner.dials.total,
      wastedDialsTotal: this.#wasted,
      nextDialAt: this.#leaving ? undefined : this.#planner.nextDialAt(),
      problem: this.#problem,
    };
  }

  #dispatch(event: LeafEvent, now: Instant): void {
    switch (event.type) {
      case 'tunnelEstablished':
        return this.#established(event, now);
      case 'dialFailed':
        return this.#dialFailed(event, now);
      case 'gossipReceived':
        return this.#gossip(event.tunnel, event.message, now);
      case 'claimGranted':
        return this.#granted(this.#tunnel(event.tunnel), event.slot, now);
      case 'claimRecorded':
        return this.#recorded(this.#tunnel(event.tunnel), event.token, event.incarnation, now);
      case 'claimHeld':
        return this.#held(this.#tunnel(event.tunnel), event.holder, now);
      case 'drainAnnounced':
        return this.#drainAnnounced(event, now);
      case 'tunnelClosed':
        return this.#closed(event, now);
      case 'leaveRequested':
        return this.#leave(event.deadlineMs, now);
      case 'timeout':
        return this.#timeouts(now);
      default:
        return unreachable(event, 'event');
    }
  }

  // ---- tunnels -----------------------------------------------------------------------------------------------------

  #tunnel(id: TunnelId): Tunnel {
    const tunnel = this.#pool.tunnels.get(id);
    assert(tunnel !== undefined, `tunnel ${id} was never established or is closed already`);
    return tunnel;
  }

  #established(event: EventOf<'tunnelEstablished'>, now: Instant): void {
    assert(!this.#pool.tunnels.has(event.tunnel), `tunnel ${event.tunnel} exists already`);
    const dial = this.#planner.finish(event.dial);
    const { tunnel: id, proxy, incarnation, via } = event;
    const tunnel: Tunnel = {
      id,
      proxy,
      incarnation,
      via,
      role: 'closing',
      token: 0n as FencingToken,
      snapshotAskedAt: undefined,
    };
    this.#pool.tunnels.set(id, tunnel);
    if (this.#leaving) return this.#close(tunnel, 'leaving');
    const wasConnected = this.#pool.connected > 0;
    this.#knowledge.shookHands(proxy, incarnation, now);
    const entry = this.#pool.get(proxy) ?? this.#pool.add(proxy, { kind: 'seeking' });
    const useful = this.#place(entry, tunnel, dial, now);
    if (!useful) this.#wasted += 1;
    if (dial?.purpose === 'probe') this.#planner.probeLanded();
    if (dial !== undefined && dial.entry !== proxy) this.#missed(dial, useful, now);
    if (useful && !wasConnected) this.#planner.connectivityReturned();
    this.#reconcile(now);
  }

  /** Gives a new tunnel its role. False when it is of no use. */
  #place(entry: Entry, tunnel: Tunnel, dial: Dial | undefined, now: Instant): boolean {
    const until = now + this.#config.claimTimeoutMs;
    const current = this.#pool.currentOf(entry);
    if (current === undefined) {
      this.#passDialOn(entry, dial);
      tunnel.role = 'current';
      this.#pool.move(entry, { kind: 'claiming', tunnel: tunnel.id, until, granted: undefined });
      if (!this.#isStale(entry, tunnel.incarnation)) this.#raiseFence(entry, tunnel.incarnation);
      return true;
    }
    if (this.#isStale(entry, tunnel.incarnation)) {
      this.#close(tunnel, 'stale-incarnation');
      return false;
    }
    const upgrade = dial?.purpose === 'upgrade' && dial.entry === entry.proxy;
    if (entry.candidate === undefined && (upgrade || tunnel.incarnation > current.incarnation)) {
      tunnel.role = 'candidate';
      this.#pool.setCandidate(entry, tunnel.id, until);
      return true;
    }
    this.#close(tunnel, 'duplicate');
    return false;
  }

  /** `entry` was reached by another dial than its own: an unsteered own dial serves the other's entry now. */
  #passDialOn(entry: Entry, landed: Dial | undefined): void {
    if (entry.phase.kind !== 'dialling' || entry.phase.dial === landed?.id) return;
    const own = this.#planner.dials.get(entry.phase.dial);
    const other = landed?.entry === undefined ? undefined : this.#pool.get(landed.entry);
    const waits = other?.phase.kind === 'dialling' && other.phase.dial === landed?.id;
    if (own === undefined || own.target !== undefined || own.purpose !== 'seek' || other === undefined || !waits) {
      this.#planner.abandon(entry);
      return;
    }
    this.#planner.dials.reassign(own.id, other.proxy);
    this.#pool.move(other, { kind: 'seeking' });
    this.#pool.move(other, { kind: 'dialling', dial: own.id, sibling: undefined });
  }

  /** A dial for one entry reached another proxy. When that was of use, luck counts: try again at once. */
  #missed(dial: Dial, useful: boolean, now: Instant): void {
    const entry = dial.entry === undefined ? undefined : this.#pool.get(dial.entry);
    if (entry?.phase.kind !== 'dialling' || entry.phase.dial !== dial.id) return;
    if (useful && entry.phase.sibling === undefined && dial.target === undefined) {
      entry.attempts = 0;
      this.#pool.move(entry, { kind: 'seeking' });
    } else {
      this.#planner.failed(dial, 'already-claimed', 0, now);
    }
  }

  #dialFailed(event: EventOf<'dialFailed'>, now: Instant): void {
    const dial = this.#planner.finish(event.dial);
    if (event.reason === 'already-claimed') this.#wasted += 1;
    if (dial !== undefined && !this.#leaving)
      this.#planner.failed(dial, event.reason, Math.max(0, event.retryAfterMs), now);
    if (event.reason === 'duplicate-id') this.#reportDuplicate(now);
    if (this.#leaving) return;
    this.#reconcile(now);
  }

  #reportDuplicate(now: Instant): void {
    const { leaf, agent } = this.#config;
    this.#problem = `another live instance uses the id ${agent} of leaf ${leaf}: give each agent its own id`;
    this.#planner.duplicateReported(now);
  }

  #close(tunnel: Tunnel, reason: CloseReason, deadline?: Instant): void {
    tunnel.role = 'closing';
    this.#effects.push({ type: 'closeTunnel', tunnel: tunnel.id, reason, deadline });
  }

  #closed(event: EventOf<'tunnelClosed'>, now: Instant): void {
    const tunnel = this.#tunnel(event.tunnel);
    this.#pool.tunnels.delete(tunnel.id);
    if (tunnel.role === 'closing') return;
    const entry = this.#pool.of(tunnel);
    if (tunnel.role === 'candidate') return this.#pool.setCandidate(entry, undefined);
    const candidate = entry.candidate === undefined ? undefined : this.#pool.tunnels.get(entry.candidate);
    if (candidate !== undefined) {
      this.#adopt(entry, candidate);
      const until = now + this.#config.claimTimeoutMs;
      return this.#pool.move(entry, { kind: 'claiming', tunnel: candidate.id, until, granted: undefined });
    }
    this.#afterLoss(entry, tunnel, event, now);
    this.#reconcile(now);
  }

  #afterLoss(entry: Entry, tunnel: Tunnel, event: EventOf<'tunnelClosed'>, now: Instant): void {
    const { phase } = entry;
    // A standby at a proxy that was not registered yet never hears its incarnation over the tunnel; gossip has named it.
    this.#knowledge.shookHands(entry.proxy, tunnel.incarnation === 0n ? entry.incarnation : tunnel.incarnation, now);
    const gaveReason = (reason: string): boolean => event.graceful && event.reason.startsWith(reason);
    if (gaveReason('draining') || gaveReason('drain-deadline')) entry.drained = tunnel.incarnation;
    const verdict = this.#knowledge.verdict(entry.proxy, now);
    const retired = verdict.kind === 'draining' || (entry.drained === tunnel.incarnation && verdict.kind === 'ready');
    if (verdict.kind === 'gone' || verdict.kind === 'expired') {
      this.#pool.move(entry, { kind: 'gone', until: now + this.#config.expiryMs });
    } else if (retired || phase.kind === 'retiring') {
      this.#pool.move(entry, { kind: 'retired' });
    } else if (gaveReason('duplicate-id')) {
      this.#reportDuplicate(now);
      this.#planner.backOff(entry, 'duplicate-id', 0, now);
    } else if (gaveReason('standby-unwanted') && phase.kind === 'standby') {
      this.#pool.move(entry, {
        kind: 'sibling',
        holder: phase.holder,
        until: now + this.#planner.siblingWaitMs(entry),
      });
    } else if (event.graceful || phase.kind === 'claiming') {
      this.#planner.backOff(entry, 'lost', 0, now, event.graceful ? `the proxy closed: ${event.reason}` : undefined);
    } else {
      entry.attempts = 0;
      entry.lost = tunnel.id;
      this.#planner.tunnelLost(entry, now);
    }
  }

  // ---- claims ------------------------------------------------------------------------------------------------------

  #granted(tunnel: Tunnel, slot: number, now: Instant): void {
    if (tunnel.role === 'closing') return;
    const entry = this.#pool.of(tunnel);
    if (tunnel.role === 'candidate') this.#takeOver(entry, tunnel, now);
    if (entry.phase.kind === 'retiring') return;
    if (entry.phase.kind === 'claiming' && this.#isStale(entry, tunnel.incarnation)) {
      this.#pool.move(entry, { ...entry.phase, granted: slot });
      return;
    }
    this.#claimed(entry, tunnel, slot, now);
  }

  #claimed(entry: Entry, tunnel: Tunnel, slot: number, now: Instant): void {
    this.#pool.move(entry, { kind: 'claimed', tunnel: tunnel.id, slot });
    this.#answered(entry);
    if (tunnel.via === undefined || this.#config.steering === 'off') entry.upgrade = undefined;
    else if (entry.upgrade === undefined) this.#planner.postponeUpgrade(entry, now);
  }

  #answered(entry: Entry): void {
    entry.attempts = 0;
    entry.lost = undefined;
    this.#problem = undefined;
    this.#planner.answered();
  }

  #recorded(tunnel: Tunnel, token: FencingToken, incarnation: Incarnation, now: Instant): void {
    if (tunnel.role === 'closing') return;
    const entry = this.#pool.of(tunnel);
    tunnel.token = token;
    tunnel.incarnation = incarnation;
    this.#raiseFence(entry, incarnation);
    this.#knowledge.shookHands(entry.proxy, incarnation, now);
    this.#reconcile(now);
  }

  /** The candidate's claim was granted: it carries the entry now and the old tunnel finishes. */
  #takeOver(entry: Entry, candidate: Tunnel, now: Instant): void {
    const old = this.#pool.currentOf(entry);
    const { upgrade } = entry;
    this.#adopt(entry, candidate);
    this.#pool.move(entry, { kind: 'claiming', tunnel: candidate.id, until: now, granted: undefined });
    entry.upgrade = upgrade;
    if (old === undefined) return;
    const stale = old.incarnation < candidate.incarnation;
    this.#close(old, stale ? 'stale-incarnation' : 'replaced', stale ? undefined : now + this.#config.lingerMs);
  }

  #adopt(entry: Entry, candidate: Tunnel): void {
    candidate.role = 'current';
    this.#pool.setCandidate(entry, undefined);
    this.#raiseFence(entry, candidate.incarnation);
  }

  #held(tunnel: Tunnel, holder: AgentId, now: Instant): void {
    if (tunnel.role === 'closing') return;
    const entry = this.#pool.of(tunnel);
    if (tunnel.role === 'candidate' && !this.#heldBySibling(entry, tunnel, holder, now)) return;
    if (entry.phase.kind === 'retiring') return;
    this.#answered(entry);
    const others = this.#pool.count((phase) => phase.kind === 'standby') - (entry.phase.kind === 'standby' ? 1 : 0);
    if (others < this.#config.standbys) {
      if (entry.phase.kind !== 'standby') this.#effects.push({ type: 'requestStandby', tunnel: tunnel.id });
      this.#pool.move(entry, { kind: 'standby', tunnel: tunnel.id, holder });
      return;
    }
    this.#close(tunnel, 'claim-held');
    this.#pool.move(entry, { kind: 'sibling', holder, until: now + this.#planner.siblingWaitMs(entry) });
  }

  /**
   * A candidate's claim is held. By ourselves or unchanged: the old tunnel lives, the candidate goes. By a sibling at a
   * newer incarnation: the old tunnel belongs to a process that is over, and the candidate carries the entry.
   */
  #heldBySibling(entry: Entry, candidate: Tunnel, holder: AgentId, now: Instant): boolean {
    const old = this.#pool.currentOf(entry);
    assert(old !== undefined, `candidate ${candidate.id} without a current tunnel`);
    if (holder === this.#config.agent || candidate.incarnation <= old.incarnation) {
      if (holder === this.#config.agent && candidate.incarnation > old.incarnation) {
        old.incarnation = candidate.incarnation;
        this.#raiseFence(entry, old.incarnation);
      }
      this.#dropCandidate(entry, candidate, 'duplicate');
      return false;
    }
    this.#takeOver(entry, candidate, now);
    return true;
  }

  #dropCandidate(entry: Entry, candidate: Tunnel, reason: CloseReason): void {
    this.#pool.setCandidate(entry, undefined);
    this.#wasted += 1;
    this.#close(candidate, reason);
  }

  #epoch(): bigint {
    return this.#knowledge.stamp?.epoch ?? 0n;
  }

  /** Whether a greater incarnation of the same epoch is known. A never registered proxy (0) cannot be judged. */
  #isStale(entry: Entry, incarnation: Incarnation): boolean {
    if (incarnation === 0n) return false;
    const shook =
      entry.fence !== undefined && entry.fence.epoch === this.#epoch() && entry.fence.incarnation > incarnation;
    return shook || entry.incarnation > incarnation;
  }

  #raiseFence(entry: Entry, incarnation: Incarnation): void {
    const epoch = this.#epoch();
    if (entry.fence !== undefined && entry.fence.epoch === epoch && entry.fence.incarnation >= incarnation) return;
    entry.fence = { epoch, incarnation };
  }

  // ---- gossip ------------------------------------------------------------------------------------------------------

  #gossip(from: TunnelId, message: GossipMessage, now: Instant): void {
    const tunnel = this.#tunnel(from);
    const outcome = this.#knowledge.receive(message, now);
    if (outcome === 'gap') return this.#askSnapshot(tunnel, now);
    if (outcome === 'invalid') return;
    this.#planner.gossipHeard();
    if (outcome !== 'older') this.#reconcile(now);
  }

  #askSnapshot(tunnel: Tunnel, now: Instant): void {
    const asked = tunnel.snapshotAskedAt;
    if (tunnel.role === 'closing' || (asked !== undefined && now - asked < SNAPSHOT_ASK_INTERVAL_MS)) return;
    tunnel.snapshotAskedAt = now;
    this.#effects.push({ type: 'requestSnapshot', tunnel: tunnel.id, have: this.#knowledge.stamp });
  }

  /** Brings every entry in line with what is known now. */
  #reconcile(now: Instant): void {
    this.#deadlines.set('knowledge', this.#knowledge.nextExpiry(now));
    if (this.#leaving) return;
    for (const proxy of this.#knowledge.records(now)) {
      if (this.#pool.get(proxy) === undefined) this.#pool.add(proxy, { kind: 'seeking' });
    }
    for (const entry of this.#pool.sorted()) this.#settle(entry, now);
    this.#trimGone();
  }

  #settle(entry: Entry, now: Instant): void {
    const verdict = this.#knowledge.verdict(entry.proxy, now);
    const known = verdict.kind === 'ready' || verdict.kind === 'draining';
    const renewed = known && verdict.incarnation !== entry.incarnation;
    if (known) {
      entry.incarnation = verdict.incarnation;
      entry.generation = verdict.generation;
    }
    if (renewed) entry.attempts = 0;
    const tunnel = this.#pool.currentOf(entry);
    if (tunnel !== undefined) return this.#proveGrant(entry, tunnel, now);
    const drains = verdict.kind === 'draining' || (verdict.kind === 'ready' && entry.drained === verdict.incarnation);
    if (drains) return this.#retire(entry);
    if (verdict.kind === 'ready') return this.#seek(entry, renewed);
    this.#giveUp(entry, verdict.kind, now);
  }

  /** A grant by an incarnation that looked stale is believed once a newer epoch or its record proves it. */
  #proveGrant(entry: Entry, tunnel: Tunnel, now: Instant): void {
    const { phase } = entry;
    if (phase.kind !== 'claiming' || phase.granted === undefined || this.#isStale(entry, tunnel.incarnation)) return;
    this.#claimed(entry, tunnel, phase.granted, now);
  }

  #seek(entry: Entry, renewed: boolean): void {
    switch (entry.phase.kind) {
      case 'gone':
      case 'retired':
        return this.#pool.move(entry, { kind: 'seeking' });
      case 'backoff':
      case 'sibling':
        if (renewed && !(entry.phase.kind === 'backoff' && entry.phase.asked))
          this.#pool.move(entry, { kind: 'seeking' });
        return;
      default:
        return;
    }
  }

  #retire(entry: Entry): void {
    if (entry.phase.kind === 'retired') return;
    this.#planner.abandon(entry);
    this.#pool.move(entry, { kind: 'retired' });
  }

  #giveUp(entry: Entry, kind: 'gone' | 'expired', now: Instant): void {
    if (this.#planner.abandon(entry)) this.#wasted += 1;
    if (kind === 'expired') return this.#pool.remove(entry);
    if (entry.phase.kind !== 'gone') this.#pool.move(entry, { kind: 'gone', until: now + this.#config.expiryMs });
  }

  /** Bounds the memory of what is gone, oldest first. */
  #trimGone(): void {
    if (this.#pool.size <= 2 * MAX_PROXIES) return;
    const gone = this.#pool
      .sorted()
      .flatMap((entry) => (entry.phase.kind === 'gone' ? [{ entry, at: entry.phase.until }] : []));
    gone.sort((a, b) => a.at - b.at);
    for (const { entry } of gone.slice(0, this.#pool.size - 2 * MAX_PROXIES)) this.#pool.remove(entry);
  }

  // ---- drain and leave ---------------------------------------------------------------------------------------------

  #drainAnnounced(event: EventOf<'drainAnnounced'>, now: Instant): void {
    const tunnel = this.#tunnel(event.tunnel);
    if (tunnel.role === 'closing') return;
    const entry = this.#pool.of(tunnel);
    entry.drained = tunnel.incarnation;
    if (tunnel.role === 'candidate') return this.#dropCandidate(entry, tunnel, 'drained');
    if (entry.phase.kind === 'retiring') return;
    const deadlineMs = Math.min(Math.max(0, event.deadlineMs), MAX_DRAIN_MS);
    const marginMs = Math.min(DRAIN_MARGIN_MS, deadlineMs / 5);
    const waitMs = spreadMs(0, Math.min(Math.max(0, event.spreadMs), deadlineMs), this.#random, `drain:${entry.proxy}`);
    this.#pool.move(entry, {
      kind: 'retiring',
      tunnel: tunnel.id,
      actAt: now + Math.min(waitMs, deadlineMs - marginMs),
      closeBy: now + deadlineMs - marginMs,
      deadline: now + deadlineMs,
    });
  }

  /** Leaves draining proxies whose time has come: everything else is claimed, or the deadline is near. */
  #leaveDraining(now: Instant): void {
    for (const entry of this.#pool.sorted()) {
      const { phase } = entry;
      if (phase.kind !== 'retiring' || phase.actAt !== undefined) continue;
      if (!this.#settled() && now < phase.closeBy) continue;
      this.#closeEntry(entry, 'drained', phase.deadline);
    }
  }

  /** Every proxy that is wanted has answered the claim, and there is one at least. */
  #settled(): boolean {
    const unsettled = this.#pool.count((phase) => isWanted(phase) || phase.kind === 'claiming');
    return unsettled === 0 && this.#pool.connected > 0;
  }

  /** Closes the entry's tunnels; the entry is retired until knowledge says otherwise. */
  #closeEntry(entry: Entry, reason: CloseReason, deadline: Instant): void {
    const candidate = entry.candidate === undefined ? undefined : this.#pool.tunnels.get(entry.candidate);
    if (candidate !== undefined) {
      this.#pool.setCandidate(entry, undefined);
      this.#close(candidate, reason, deadline);
    }
    const tunnel = this.#pool.currentOf(entry);
    if (tunnel !== undefined) this.#close(tunnel, reason, deadline);
    if (tunnel !== undefined) this.#pool.move(entry, { kind: 'retired' });
  }

  #leave(deadlineMs: number, now: Instant): void {
    if (this.#leaving) return;
    this.#leaving = true;
    this.#planner.abandonAll();
    for (const entry of this.#pool.sorted()) {
      if (tunnelOf(entry.phase) === undefined) this.#pool.remove(entry);
      else this.#closeEntry(entry, 'leaving', now + Math.max(0, deadlineMs));
    }
    this.#deadlines.set('knowledge', undefined);
  }

  // ---- timeouts ----------------------------------------------------------------------------------------------------

  #timeouts(now: Instant): void {
    for (let key = this.#deadlines.takeDue(now); key !== undefined; key = this.#deadlines.takeDue(now)) {
      this.#expired(key, now);
    }
  }

  #expired(key: LeafDeadline, now: Instant): void {
    if (key === 'knowledge') return this.#reconcile(now);
    if (key === 'probe' || key === 'optional') return;
    const name = key.slice(key.indexOf(':') + 1);
    if (key.startsWith('dial:')) return this.#dialOverdue(Number(name) as Dial['id'], now);
    const entry = this.#pool.get(name as ProxyId);
    assert(entry !== undefined, `deadline ${key} of an entry that is gone`);
    if (key.startsWith('entry:')) return this.#phaseExpired(entry, now);
    const candidate = entry.candidate === undefined ? undefined : this.#pool.tunnels.get(entry.candidate);
    if (candidate !== undefined) this.#dropCandidate(entry, candidate, 'claim-timeout');
  }

  #dialOverdue(id: Dial['id'], now: Instant): void {
    this.#effects.push({ type: 'cancelDial', dial: id });
    const dial = this.#planner.finish(id);
    if (dial !== undefined && !this.#leaving) this.#planner.failed(dial, 'timeout', 0, now);
  }

  #phaseExpired(entry: Entry, now: Instant): void {
    const { phase } = entry;
    switch (phase.kind) {
      case 'backoff':
        return this.#pool.move(entry, { kind: 'seeking' });
      case 'claiming': {
        const tunnel = this.#pool.currentOf(entry);
        if (tunnel !== undefined)
          this.#close(tunnel, phase.granted === undefined ? 'claim-timeout' : 'stale-incarnation');
        return this.#planner.backOff(entry, 'timeout', 0, now, 'the proxy did not answer the claim in time');
      }
      case 'sibling':
        if (this.#planner.recheck(entry, now)) return;
        return this.#pool.move(entry, { ...phase, until: now + this.#planner.siblingWaitMs(entry) });
      case 'retiring':
        if (phase.actAt !== undefined) this.#pool.move(entry, { ...phase, actAt: undefined });
        return;
      case 'gone':
        return this.#pool.remove(entry);
      default:
        assert(!isWanted(phase) || phase.kind === 'seeking', `phase ${phase.kind} of ${entry.proxy} has no deadline`);
    }
  }
}
