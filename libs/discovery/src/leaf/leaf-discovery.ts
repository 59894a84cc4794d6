import { assert, unreachable } from '../shared/assert.ts';
import { spreadMs } from '../shared/backoff.ts';
import { Deadlines } from '../shared/deadlines.ts';
import type { GossipMessage } from '../shared/gossip.ts';
import type { DialId, ProxyId, TunnelId } from '../shared/ids.ts';
import { Queue } from '../shared/queue.ts';
import type { Instant, Random } from '../shared/time.ts';
import { Attachments } from './attachments.ts';
import { Claims } from './claims.ts';
import { completeLeafConfig } from './defaults.ts';
import { DialPlanner } from './dial-planner.ts';
import { StampedKnowledge, type Knowledge } from './knowledge.ts';
import { closeTunnel, type LeafParts } from './parts.ts';
import { isWanted, tunnelOf } from './phase.ts';
import { Pool, type Entry, type LeafDeadline, type Tunnel } from './pool.ts';
import { Reconciler } from './reconciler.ts';
import type { CloseReason, LeafConfig, LeafEffect, LeafEvent, LeafStatus } from './types.ts';

/** A snapshot is asked for at most this often over one tunnel, so that bad deltas cannot make us chatter. */
const SNAPSHOT_ASK_INTERVAL_MS = 1_000;
/** Evidence is shown at most this often over one tunnel: most gossip that is older than ours only comes late. */
const EVIDENCE_INTERVAL_MS = 5_000;
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
  readonly #parts: LeafParts;
  readonly #planner: DialPlanner;
  readonly #claims: Claims;
  readonly #attachments: Attachments;
  readonly #reconciler: Reconciler;
  readonly #effects = new Queue<LeafEffect>();
  #now: Instant;
  #leaving = false;

  /** `knowledge` is for the simulator's other protocols; production leaves it out. Throws RangeError on a bad config. */
  constructor(config: LeafConfig, random: Random, now: Instant, knowledge?: Knowledge) {
    const complete = completeLeafConfig(config);
    const deadlines = new Deadlines<LeafDeadline>();
    this.#parts = {
      config: complete,
      random,
      knowledge: knowledge ?? new StampedKnowledge(complete.expiryMs),
      pool: new Pool(deadlines),
      deadlines,
      emit: (effect) => this.#effects.push(effect),
      account: { wastedDials: 0, problem: undefined },
    };
    this.#now = now;
    this.#planner = new DialPlanner(this.#parts, now);
    this.#claims = new Claims(this.#parts, this.#planner);
    this.#attachments = new Attachments(this.#parts, this.#planner, this.#claims);
    this.#reconciler = new Reconciler(this.#parts, this.#planner, this.#claims);
    this.#planner.pump(now);
  }

  handle(event: LeafEvent, now: Instant): void {
    assert(now >= this.#now, `time went backwards from ${this.#now} to ${now}`);
    this.#now = now;
    this.#dispatch(event, now);
    if (this.#leaving) return;
    this.#leaveDraining(now);
    this.#planner.pump(now);
  }

  pollEffect(): LeafEffect | undefined {
    return this.#effects.shift();
  }

  nextTimeout(): Instant | undefined {
    return this.#parts.deadlines.next();
  }

  status(): LeafStatus {
    const { pool, knowledge, account } = this.#parts;
    const entries = pool.sorted().map((entry) => pool.describe(entry));
    return {
      entries,
      stamp: knowledge.stamp,
      wanted: pool.wanted,
      claimed: entries.filter((entry) => entry.state === 'claimed').length,
      dialsInFlight: this.#planner.dials.inFlight,
      dialsTotal: this.#planner.dials.total,
      wastedDialsTotal: account.wastedDials,
      nextDialAt: this.#leaving ? undefined : this.#planner.nextDialAt(),
      problem: account.problem,
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
        return this.#whileOpen(event.tunnel, (tunnel) => this.#claims.granted(tunnel, event.slot, now));
      case 'claimRecorded':
        return this.#recorded(event, now);
      case 'claimHeld':
        return this.#whileOpen(event.tunnel, (tunnel) => this.#claims.held(tunnel, event.holder, now));
      case 'drainAnnounced':
        return this.#whileOpen(event.tunnel, (tunnel) => this.#drainAnnounced(tunnel, event, now));
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

  #tunnel(id: TunnelId): Tunnel {
    const tunnel = this.#parts.pool.tunnels.get(id);
    assert(tunnel !== undefined, `tunnel ${id} was never established or is closed already`);
    return tunnel;
  }

  /** For what a proxy says: once we told a tunnel to go, it speaks for nobody. */
  #whileOpen(id: TunnelId, act: (tunnel: Tunnel) => void): void {
    const tunnel = this.#tunnel(id);
    if (tunnel.role !== 'closing') act(tunnel);
  }

  #established(event: EventOf<'tunnelEstablished'>, now: Instant): void {
    const { tunnel, dial } = this.#attachments.register(event);
    if (this.#leaving) return closeTunnel(this.#parts, tunnel, 'leaving');
    this.#attachments.attach(tunnel, dial, now);
    this.#reconciler.reconcile(now);
  }

  #dialFailed(event: EventOf<'dialFailed'>, now: Instant): void {
    const dial = this.#planner.finish(event.dial);
    if (event.reason === 'already-claimed') this.#parts.account.wastedDials += 1;
    if (this.#leaving) return;
    if (dial !== undefined) this.#planner.failed(dial, event.reason, Math.max(0, event.retryAfterMs), now);
    if (event.reason === 'duplicate-id') this.#attachments.reportDuplicate(now);
    this.#reconciler.reconcile(now);
  }

  #recorded(event: EventOf<'claimRecorded'>, now: Instant): void {
    this.#whileOpen(event.tunnel, (tunnel) => {
      this.#claims.recorded(tunnel, event.token, event.incarnation, now);
      this.#reconciler.reconcile(now);
    });
  }

  #closed(event: EventOf<'tunnelClosed'>, now: Instant): void {
    this.#attachments.closed(this.#tunnel(event.tunnel), event, now);
    if (!this.#leaving) this.#reconciler.reconcile(now);
  }

  // ---- gossip ------------------------------------------------------------------------------------------------------

  #gossip(from: TunnelId, message: GossipMessage, now: Instant): void {
    const tunnel = this.#tunnel(from);
    const outcome = this.#parts.knowledge.receive(message, now);
    if (outcome === 'gap') return this.#askSnapshot(tunnel, now);
    if (outcome === 'invalid') return;
    this.#hearSender(tunnel, message, now);
    if (outcome === 'older') this.#showEvidence(tunnel, now);
    this.#planner.gossipHeard();
    if (outcome !== 'older' && !this.#leaving) this.#reconciler.reconcile(now);
  }

  /**
   * A root proxy that was not registered when it welcomed us names its incarnation in its own list as soon as it is; one that we
   * stand by at says it nowhere else. Without it no membership could ever speak of that process.
   */
  #hearSender(tunnel: Tunnel, message: GossipMessage, now: Instant): void {
    if (tunnel.incarnation !== 0n || tunnel.role === 'closing') return;
    const records = message.kind === 'snapshot' ? message.proxies : message.changed;
    const sender = records.find(({ id }) => id === tunnel.proxy);
    if (sender !== undefined) this.#claims.named(tunnel, sender.incarnation, now);
  }

  /** Whoever says less than a registry has signed may be late, or live in a store that was restored: the registries can tell. */
  #showEvidence(tunnel: Tunnel, now: Instant): void {
    const { evidence } = this.#parts.knowledge;
    const shown = tunnel.evidenceShownAt;
    if (evidence === undefined || tunnel.role === 'closing') return;
    if (shown !== undefined && now - shown < EVIDENCE_INTERVAL_MS) return;
    tunnel.evidenceShownAt = now;
    this.#parts.emit({ type: 'showEvidence', tunnel: tunnel.id, evidence });
  }

  #askSnapshot(tunnel: Tunnel, now: Instant): void {
    const asked = tunnel.snapshotAskedAt;
    if (tunnel.role === 'closing' || (asked !== undefined && now - asked < SNAPSHOT_ASK_INTERVAL_MS)) return;
    tunnel.snapshotAskedAt = now;
    this.#parts.emit({ type: 'requestSnapshot', tunnel: tunnel.id, have: this.#parts.knowledge.stamp });
  }

  // ---- drain and leave ---------------------------------------------------------------------------------------------

  #drainAnnounced(tunnel: Tunnel, event: EventOf<'drainAnnounced'>, now: Instant): void {
    const { pool, random } = this.#parts;
    const entry = pool.of(tunnel);
    entry.drained = tunnel.incarnation;
    if (tunnel.role === 'candidate') return this.#claims.dropCandidate(entry, tunnel, 'drained');
    if (entry.phase.kind === 'retiring') return;
    const deadlineMs = Math.min(Math.max(0, event.deadlineMs), MAX_DRAIN_MS);
    const marginMs = Math.min(DRAIN_MARGIN_MS, deadlineMs / 5);
    const waitMs = spreadMs(0, Math.min(Math.max(0, event.spreadMs), deadlineMs), random, `drain:${entry.proxy}`);
    pool.move(entry, {
      kind: 'retiring',
      tunnel: tunnel.id,
      actAt: now + Math.min(waitMs, deadlineMs - marginMs),
      closeBy: now + deadlineMs - marginMs,
      deadline: now + deadlineMs,
    });
  }

  /** Leaves draining proxies whose time has come: everything else is claimed, or the deadline is near. */
  #leaveDraining(now: Instant): void {
    for (const entry of this.#parts.pool.sorted()) {
      const { phase } = entry;
      if (phase.kind !== 'retiring' || phase.actAt !== undefined) continue;
      if (this.#settled() || now >= phase.closeBy) this.#closeEntry(entry, 'drained', phase.deadline);
    }
  }

  /** Every proxy that is wanted has answered the claim, and there is one at least. */
  #settled(): boolean {
    const { pool } = this.#parts;
    return pool.count((phase) => isWanted(phase) || phase.kind === 'claiming') === 0 && pool.connected > 0;
  }

  /** Closes the entry's tunnels; the entry is retired until knowledge says otherwise. */
  #closeEntry(entry: Entry, reason: CloseReason, deadline: Instant): void {
    const { pool } = this.#parts;
    const candidate = pool.candidateOf(entry);
    if (candidate !== undefined) {
      pool.setCandidate(entry, undefined);
      closeTunnel(this.#parts, candidate, reason, deadline);
    }
    const tunnel = pool.currentOf(entry);
    if (tunnel === undefined) return;
    closeTunnel(this.#parts, tunnel, reason, deadline);
    pool.move(entry, { kind: 'retired' });
  }

  #leave(deadlineMs: number, now: Instant): void {
    if (this.#leaving) return;
    this.#leaving = true;
    this.#planner.abandonAll();
    const { pool, deadlines } = this.#parts;
    for (const entry of pool.sorted()) {
      if (tunnelOf(entry.phase) === undefined) pool.remove(entry);
      else this.#closeEntry(entry, 'leaving', now + Math.max(0, deadlineMs));
    }
    deadlines.set('knowledge', undefined);
  }

  // ---- timeouts ----------------------------------------------------------------------------------------------------

  #timeouts(now: Instant): void {
    const { deadlines } = this.#parts;
    for (let key = deadlines.takeDue(now); key !== undefined; key = deadlines.takeDue(now)) this.#expired(key, now);
  }

  /** `probe`, `optional` and `relays` only wake the planner, which pumps after every event. */
  #expired(key: LeafDeadline, now: Instant): void {
    if (key === 'knowledge') return this.#reconciler.reconcile(now);
    if (key === 'probe' || key === 'optional' || key === 'relays') return;
    const name = key.slice(key.indexOf(':') + 1);
    if (key.startsWith('dial:')) return this.#dialOverdue(Number(name) as DialId, now);
    const { pool } = this.#parts;
    const entry = pool.get(name as ProxyId);
    assert(entry !== undefined, `deadline ${key} of an entry that is gone`);
    if (key.startsWith('entry:')) return this.#phaseExpired(entry, now);
    const candidate = pool.candidateOf(entry);
    if (candidate !== undefined) this.#claims.dropCandidate(entry, candidate, 'claim-timeout');
  }

  #dialOverdue(id: DialId, now: Instant): void {
    this.#parts.emit({ type: 'cancelDial', dial: id });
    const dial = this.#planner.finish(id);
    if (dial !== undefined && !this.#leaving) this.#planner.failed(dial, 'timeout', 0, now);
  }

  #phaseExpired(entry: Entry, now: Instant): void {
    const { pool } = this.#parts;
    const { phase } = entry;
    switch (phase.kind) {
      case 'backoff':
        return pool.move(entry, { kind: 'seeking' });
      case 'claiming':
        return this.#claimExpired(entry, phase.granted === undefined ? 'claim-timeout' : 'stale-incarnation', now);
      case 'sibling':
        if (this.#planner.recheck(entry, now)) return;
        return pool.move(entry, { ...phase, until: now + this.#planner.siblingWaitMs(entry) });
      case 'retiring':
        if (phase.actAt !== undefined) pool.move(entry, { ...phase, actAt: undefined });
        return;
      case 'gone':
        return pool.remove(entry);
      default:
        assert(false, `phase ${phase.kind} of ${entry.proxy} has no deadline`);
    }
  }

  #claimExpired(entry: Entry, reason: CloseReason, now: Instant): void {
    const tunnel = this.#parts.pool.currentOf(entry);
    if (tunnel !== undefined) closeTunnel(this.#parts, tunnel, reason);
    if (this.#claims.candidateSteps(entry, now)) return;
    this.#planner.backOff(entry, 'timeout', 0, now, 'the proxy did not answer the claim in time');
  }
}
