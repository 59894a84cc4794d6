import { assert, unreachable } from '../shared/assert.ts';
import { fullJitterMs, spreadMs } from '../shared/backoff.ts';
import { Deadlines } from '../shared/deadlines.ts';
import { compareStamps } from '../shared/gossip-view.ts';
import type { Evidence } from '../shared/gossip.ts';
import type { Incarnation } from '../shared/ids.ts';
import { Queue } from '../shared/queue.ts';
import type { Instant, Random } from '../shared/time.ts';
import type {
  ClaimKey,
  MemberClaim,
  RegistryEffect,
  RegistryEvent,
  RegistryLinkConfig,
  RegistryLinkStatus,
  RegistryRefusal,
  View,
  ViewDelta,
} from './registry-types.ts';
import { RegistryView } from './registry-view.ts';

/** A person has to act before the next attempt can succeed. */
const PROBLEM_WAIT_MS = 5_000;
const DRAIN_RETRY_MS = 1_000;
/** Evidence that our view has not reached is passed on this often, and dropped after so many times: agents show it again. */
const EVIDENCE_RETRY_MS = 2_000;
const EVIDENCE_TRIES = 15;
/** Heartbeats whose answer may still come. */
const MAX_HEARTBEATS_OUT = 16;

const PROBLEMS: ReadonlySet<RegistryRefusal> = new Set(['duplicate-id', 'version', 'invalid', 'denied']);

type EventOf<Type extends RegistryEvent['type']> = Extract<RegistryEvent, { type: Type }>;

/**
 *   waiting    no session; the next is opened at the `connect` deadline
 *   opening    hello sent, no answer yet
 *   connected  welcomed: heartbeats, views, claims
 *   leaving    asked to be removed
 *   left       over
 */
type State =
  | { readonly kind: 'waiting' }
  | { readonly kind: 'opening'; readonly session: number; readonly openedAt: Instant }
  | {
      readonly kind: 'connected';
      readonly session: number;
      readonly registry: string;
      readonly heartbeatIntervalMs: number;
      readonly leaseTtlMs: number;
    }
  | { readonly kind: 'leaving'; readonly session: number }
  | { readonly kind: 'left' };

const MOVES: Readonly<Record<State['kind'], readonly State['kind'][]>> = {
  waiting: ['opening', 'left'],
  opening: ['waiting', 'connected', 'left'],
  connected: ['waiting', 'leaving'],
  leaving: ['left'],
  left: [],
};

interface Lease {
  readonly incarnation: Incarnation;
  readonly lease: bigint;
  /** Send time of the last acknowledged heartbeat plus what it granted, less the margin: never from the receipt. */
  validUntil: Instant;
}

/**
 * A root proxy's side of its registry session: which replica, when to register, to resume, to retry, and how long the
 * lease may be believed. Losing it never closes a tunnel: claims are decided in memory, and recorded when it is back.
 * Performs no I/O and reads no clock; used like LeafDiscovery.
 */
export class RegistryLink {
  readonly #config: RegistryLinkConfig;
  readonly #random: Random;
  readonly #deadlines = new Deadlines<
    'connect' | 'welcome' | 'heartbeat' | 'ack' | 'lease' | 'drain' | 'leave' | 'evidence'
  >();
  readonly #effects = new Queue<RegistryEffect>();
  #state: State = { kind: 'waiting' };
  #now: Instant;
  #lastSession = 0;
  #replica: number;
  #attempts = 0;
  #lease: Lease | undefined;
  #heartbeats: { sequence: bigint; sentAt: Instant }[] = [];
  #lastSequence = 0n;
  /** What this session told, possibly behind `#view` when the replica lags. */
  #chain: RegistryView | undefined;
  #view: RegistryView | undefined;
  #reportedMembers: string | undefined;
  #claimsBehind = false;
  /** The latest that an agent showed. */
  #evidence: { readonly shown: Evidence; triesLeft: number } | undefined;
  #drain: 'no' | 'wanted' | 'recorded' = 'no';
  #problem: string | undefined;

  /** Throws RangeError when there is no registry to talk to. */
  constructor(config: RegistryLinkConfig, random: Random, now: Instant) {
    if (config.registries.length === 0) throw new RangeError('discovery: registries must name at least one address');
    this.#config = config;
    this.#random = random;
    this.#now = now;
    this.#replica = Math.floor(random.next('registry') * config.registries.length);
    this.#open(now);
  }

  handle(event: RegistryEvent, now: Instant): void {
    assert(now >= this.#now, `time went backwards from ${this.#now} to ${now}`);
    this.#now = now;
    if (this.#state.kind === 'left') return;
    if ('session' in event && !('session' in this.#state && this.#state.session === event.session)) return;
    this.#dispatch(event, now);
  }

  pollEffect(): RegistryEffect | undefined {
    return this.#effects.shift();
  }

  nextTimeout(): Instant | undefined {
    return this.#deadlines.next();
  }

  /** Newest membership and claims; undefined before the first. It changes in place: do not keep it across events. */
  view(): RegistryView | undefined {
    return this.#view;
  }

  status(): RegistryLinkStatus {
    return {
      state: this.#shownState(),
      registry: this.#state.kind === 'connected' ? this.#state.registry : undefined,
      incarnation: this.#lease?.incarnation ?? (0n as Incarnation),
      leaseValidUntil: this.#lease?.validUntil,
      problem: this.#problem,
      stamp: this.#view?.stamp,
      drainRecorded: this.#drain === 'recorded',
    };
  }

  #shownState(): RegistryLinkStatus['state'] {
    const { kind } = this.#state;
    if (kind === 'connected' || kind === 'leaving' || kind === 'left') return kind;
    return this.#leaseValid(this.#now) ? 'reconnecting' : 'suspect';
  }

  #leaseValid(now: Instant): boolean {
    return this.#lease !== undefined && now < this.#lease.validUntil;
  }

  #dispatch(event: RegistryEvent, now: Instant): void {
    switch (event.type) {
      case 'welcomed':
        return this.#welcomed(event, now);
      case 'refused':
        return this.#refused(event, now);
      case 'sessionEnded':
        return this.#sessionOver(now);
      case 'heartbeatAcked':
        return this.#acked(event, now);
      case 'evicted':
        return this.#evicted(event, now);
      case 'viewReceived':
        return this.#viewReceived(event.view, now);
      case 'viewDeltaReceived':
        return this.#deltaReceived(event.delta, now);
      case 'drainAnswered':
        return this.#drainAnswered(event.recorded, now);
      case 'left':
        return this.#leftNow(true);
      case 'evidenceShown':
        return this.#evidenceShown(event.evidence, now);
      case 'drainRequested':
        if (this.#drain === 'no') this.#drain = 'wanted';
        return this.#sendDrain(now);
      case 'leaveRequested':
        return this.#leave(event.deadlineMs, now);
      case 'timeout':
        return this.#timeouts(now);
      default:
        return unreachable(event, 'event');
    }
  }

  #move(state: State): void {
    const from = this.#state.kind;
    assert(MOVES[from].includes(state.kind), `registry link cannot go from ${from} to ${state.kind}`);
    this.#state = state;
  }

  // ---- sessions ----------------------------------------------------------------------------------------------------

  #open(now: Instant): void {
    const registry = this.#config.registries[this.#replica];
    assert(registry !== undefined, `no registry ${this.#replica}`);
    this.#lastSession += 1;
    const session = this.#lastSession;
    const resumed = this.#leaseValid(now) ? this.#lease : undefined;
    this.#move({ kind: 'opening', session, openedAt: now });
    this.#deadlines.set('welcome', now + this.#config.welcomeTimeoutMs);
    const { incarnation, lease } = resumed ?? { incarnation: 0n as Incarnation, lease: 0n };
    this.#effects.push({ type: 'openSession', session, registry, incarnation, lease });
  }

  #welcomed(event: EventOf<'welcomed'>, now: Instant): void {
    if (this.#state.kind !== 'opening') return;
    const { session, registry, incarnation, lease } = event;
    const { openedAt } = this.#state;
    const leaseTtlMs = Math.max(0, event.leaseTtlMs);
    const heartbeatIntervalMs = Math.max(50, Math.min(event.heartbeatIntervalMs, leaseTtlMs / 3));
    this.#move({ kind: 'connected', session, registry, heartbeatIntervalMs, leaseTtlMs });
    this.#deadlines.set('welcome', undefined);
    if (this.#lease?.incarnation !== incarnation && this.#drain === 'recorded') this.#drain = 'wanted';
    // A lease that is new was granted after the hello was sent. One that is resumed was not renewed by it.
    const resumed = this.#lease?.lease === lease ? this.#lease.validUntil : undefined;
    const validUntil = resumed ?? openedAt + leaseTtlMs - this.#config.leaseMarginMs;
    this.#lease = { incarnation, lease, validUntil };
    this.#deadlines.set('lease', validUntil);
    this.#attempts = 0;
    this.#problem = undefined;
    this.#heartbeats = [];
    this.#chain = undefined;
    this.#effects.push({ type: 'reportConnected', session, incarnation });
    this.#deadlines.set('ack', now + this.#ackTimeoutMs());
    this.#heartbeat(now);
    this.#sendDrain(now);
  }

  #refused(event: EventOf<'refused'>, now: Instant): void {
    if (this.#state.kind !== 'opening') return;
    const problem = PROBLEMS.has(event.code);
    if (problem) this.#problem = `registry refused (${event.code}): ${event.detail}`;
    if (event.code === 'invalid' || event.code === 'duplicate-id') this.#disbelieve(now);
    this.#retry(problem ? PROBLEM_WAIT_MS : 0, now);
  }

  /** What we had is contested or not known: no longer said of ourselves. Kept to the name, lest a resumed lease be taken for a new one. */
  #disbelieve(now: Instant): void {
    if (this.#lease === undefined) return;
    this.#lease.validUntil = Math.min(this.#lease.validUntil, now);
    this.#deadlines.set('lease', undefined);
  }

  /** The session is over without our doing: the next replica, soon. */
  #sessionOver(now: Instant): void {
    if (this.#state.kind === 'leaving') return this.#leftNow(false);
    this.#retry(0, now);
  }

  #evicted(event: EventOf<'evicted'>, now: Instant): void {
    if (this.#state.kind !== 'connected') return;
    this.#lease = undefined;
    this.#abandon(`evicted: ${event.detail}`, now);
  }

  /** Ends the session ourselves and goes on with the next replica. */
  #abandon(detail: string, now: Instant): void {
    if ('session' in this.#state) this.#effects.push({ type: 'closeSession', session: this.#state.session, detail });
    this.#retry(0, now);
  }

  #retry(minWaitMs: number, now: Instant): void {
    const wasConnected = this.#state.kind === 'connected';
    this.#move({ kind: 'waiting' });
    for (const key of ['welcome', 'heartbeat', 'ack', 'drain'] as const) this.#deadlines.set(key, undefined);
    if (wasConnected) this.#effects.push({ type: 'reportLost' });
    const { registries, backoffMinMs, backoffMaxMs } = this.#config;
    this.#replica = (this.#replica + 1) % registries.length;
    const round = Math.floor(this.#attempts / registries.length);
    this.#attempts += 1;
    const own = fullJitterMs(round, { minMs: backoffMinMs, maxMs: backoffMaxMs }, this.#random, 'registry-backoff');
    const asked = minWaitMs === 0 ? 0 : spreadMs(minWaitMs, 2 * minWaitMs, this.#random, 'registry-problem');
    this.#deadlines.set('connect', now + Math.max(own, asked));
  }

  // ---- lease -------------------------------------------------------------------------------------------------------

  #heartbeat(now: Instant): void {
    if (this.#state.kind !== 'connected') return;
    this.#lastSequence += 1n;
    this.#heartbeats.push({ sequence: this.#lastSequence, sentAt: now });
    if (this.#heartbeats.length > MAX_HEARTBEATS_OUT) this.#heartbeats.shift();
    this.#effects.push({ type: 'sendHeartbeat', session: this.#state.session, sequence: this.#lastSequence });
    const { heartbeatIntervalMs: interval } = this.#state;
    this.#deadlines.set('heartbeat', now + spreadMs(0.9 * interval, 1.1 * interval, this.#random, 'heartbeat'));
  }

  /** A replica that is silent for half the lease is left while the other half remains to resume elsewhere. */
  #ackTimeoutMs(): number {
    if (this.#state.kind !== 'connected') return 0;
    return Math.max(2 * this.#state.heartbeatIntervalMs, this.#state.leaseTtlMs / 2);
  }

  #acked(event: EventOf<'heartbeatAcked'>, now: Instant): void {
    const sent = this.#heartbeats.find((heartbeat) => heartbeat.sequence === event.sequence);
    if (this.#state.kind !== 'connected' || sent === undefined || this.#lease === undefined) return;
    this.#heartbeats = this.#heartbeats.filter((heartbeat) => heartbeat.sequence > event.sequence);
    const grantedMs = Math.min(Math.max(0, event.leaseValidMs), this.#state.leaseTtlMs);
    const validUntil = sent.sentAt + grantedMs - this.#config.leaseMarginMs;
    this.#lease.validUntil = Math.max(this.#lease.validUntil, validUntil);
    this.#deadlines.set('lease', this.#lease.validUntil);
    this.#deadlines.set('ack', now + this.#ackTimeoutMs());
  }

  // ---- views -------------------------------------------------------------------------------------------------------

  #viewReceived(view: View, now: Instant): void {
    if (this.#state.kind !== 'connected') return;
    try {
      this.#chain = new RegistryView(view);
    } catch (error) {
      return this.#badView(error, now);
    }
    this.#showChain();
    this.#reportClaims(view.claims, [], true);
  }

  #deltaReceived(delta: ViewDelta, now: Instant): void {
    if (this.#state.kind !== 'connected') return;
    try {
      if (this.#chain?.apply(delta) !== true) return this.#abandon('gap between view and delta', now);
    } catch (error) {
      return this.#badView(error, now);
    }
    const membersUntouched = delta.members.length === 0 && delta.removedMembers.length === 0;
    if (!membersUntouched || delta.statement !== undefined || this.#chain !== this.#view) this.#showChain();
    if (delta.claims.length + delta.removedClaims.length > 0)
      this.#reportClaims(delta.claims, delta.removedClaims, false);
  }

  /** A replica that lags says nothing of claims that is still true. When it has caught up, all of them are new. */
  #reportClaims(claims: readonly MemberClaim[], removed: readonly ClaimKey[], complete: boolean): void {
    const chain = this.#chain;
    if (chain === undefined || chain !== this.#view) {
      this.#claimsBehind = true;
      return;
    }
    const all = complete || this.#claimsBehind;
    this.#claimsBehind = false;
    const effect = all ? { claims: chain.allClaims(), removed: [] } : { claims, removed };
    this.#effects.push({ type: 'reportClaims', stamp: chain.stamp, ...effect, complete: all });
  }

  // ---- evidence ----------------------------------------------------------------------------------------------------

  #evidenceShown(shown: Evidence, now: Instant): void {
    const waiting = this.#evidence?.shown;
    if (waiting !== undefined && compareStamps(shown.stamp, waiting.stamp) <= 0) return;
    this.#evidence = { shown, triesLeft: EVIDENCE_TRIES };
    if (this.#deadlines.get('evidence') === undefined) this.#passEvidenceOn(now);
  }

  /** Until our view has reached it: a registry that found the store restored gives views of a greater epoch. */
  #passEvidenceOn(now: Instant): void {
    const { shown, triesLeft } = this.#evidence ?? { shown: undefined, triesLeft: 0 };
    const stamp = this.#view?.stamp;
    const reached = shown !== undefined && stamp !== undefined && compareStamps(stamp, shown.stamp) >= 0;
    if (this.#evidence === undefined || shown === undefined || reached || triesLeft === 0) {
      this.#evidence = undefined;
      return;
    }
    this.#evidence.triesLeft = triesLeft - 1;
    this.#deadlines.set('evidence', now + EVIDENCE_RETRY_MS);
    if (this.#state.kind !== 'connected') return;
    this.#effects.push({ type: 'sendEvidence', session: this.#state.session, evidence: shown });
  }

  #badView(error: unknown, now: Instant): void {
    if (!(error instanceof RangeError)) throw error;
    this.#problem = error.message;
    this.#abandon(error.message, now);
  }

  /** A replica that lags behind what another one told is followed, but not shown until it has caught up. */
  #showChain(): void {
    const chain = this.#chain;
    if (chain === undefined) return;
    if (this.#view !== undefined && compareStamps(chain.stamp, this.#view.stamp) < 0) return;
    this.#view = chain;
    const text = chain.membershipText();
    if (text === this.#reportedMembers) return;
    this.#reportedMembers = text;
    this.#effects.push({ type: 'reportMembership', snapshot: chain.snapshot() });
  }

  // ---- drain and leave ---------------------------------------------------------------------------------------------

  #sendDrain(now: Instant): void {
    if (this.#drain !== 'wanted' || this.#state.kind !== 'connected') return;
    this.#effects.push({ type: 'sendDrain', session: this.#state.session });
    this.#deadlines.set('drain', now + DRAIN_RETRY_MS);
  }

  #drainAnswered(recorded: boolean, now: Instant): void {
    if (this.#state.kind !== 'connected' || this.#drain !== 'wanted') return;
    this.#deadlines.set('drain', recorded ? undefined : now + DRAIN_RETRY_MS);
    if (recorded) this.#drain = 'recorded';
  }

  #leave(deadlineMs: number, now: Instant): void {
    if (this.#state.kind === 'leaving') return;
    if (this.#state.kind !== 'connected') {
      const { session } = 'session' in this.#state ? this.#state : { session: undefined };
      if (session !== undefined) this.#effects.push({ type: 'closeSession', session, detail: 'leaving' });
      return this.#leftNow(false);
    }
    const { session } = this.#state;
    this.#move({ kind: 'leaving', session });
    for (const key of ['heartbeat', 'ack', 'drain'] as const) this.#deadlines.set(key, undefined);
    this.#effects.push({ type: 'sendLeave', session });
    this.#deadlines.set('leave', now + Math.max(0, deadlineMs));
  }

  #leftNow(clean: boolean): void {
    if (this.#state.kind === 'connected') return;
    this.#move({ kind: 'left' });
    for (const key of ['connect', 'welcome', 'lease', 'leave', 'evidence'] as const)
      this.#deadlines.set(key, undefined);
    this.#effects.push({ type: 'reportLeft', clean });
  }

  // ---- timeouts ----------------------------------------------------------------------------------------------------

  #timeouts(now: Instant): void {
    for (let key = this.#deadlines.takeDue(now); key !== undefined; key = this.#deadlines.takeDue(now)) {
      switch (key) {
        case 'connect':
          this.#open(now);
          break;
        case 'welcome':
          this.#abandon('no welcome in time', now);
          break;
        case 'heartbeat':
          this.#heartbeat(now);
          break;
        case 'ack':
          this.#abandon('heartbeats are not answered', now);
          break;
        case 'drain':
          this.#sendDrain(now);
          break;
        case 'evidence':
          this.#passEvidenceOn(now);
          break;
        case 'lease':
          // Only for the status: whoever looks must not be told of a lease that ended since the last event.
          break;
        case 'leave':
          if ('session' in this.#state) {
            this.#effects.push({ type: 'closeSession', session: this.#state.session, detail: 'no answer to leave' });
          }
          this.#leftNow(false);
      }
    }
  }
}
