import { assert } from '../shared/assert.ts';
import type { FencingToken } from '../shared/ids.ts';
import type { Instant } from '../shared/time.ts';
import type { Claims } from './claims.ts';
import type { DialPlanner } from './dial-planner.ts';
import type { Dial } from './dials.ts';
import { closeTunnel, type LeafParts } from './parts.ts';
import type { Entry, Tunnel } from './pool.ts';
import type { LeafEvent } from './types.ts';

type EventOf<Type extends LeafEvent['type']> = Extract<LeafEvent, { type: Type }>;

/** How tunnels come and go: which one carries a pool entry, and what becomes of the entry when it ends. */
export class Attachments {
  readonly #parts: LeafParts;
  readonly #planner: DialPlanner;
  readonly #claims: Claims;

  constructor(parts: LeafParts, planner: DialPlanner, claims: Claims) {
    this.#parts = parts;
    this.#planner = planner;
    this.#claims = claims;
  }

  /** Takes the tunnel into the books, as one that serves nobody yet, and gives the dial's permit back. */
  register(event: EventOf<'tunnelEstablished'>): { tunnel: Tunnel; dial: Dial | undefined } {
    const { pool } = this.#parts;
    const { tunnel: id, proxy, incarnation, via } = event;
    assert(!pool.tunnels.has(id), `tunnel ${id} exists already`);
    const dial = this.#planner.finish(event.dial);
    const token = 0n as FencingToken;
    const asked = { snapshotAskedAt: undefined, evidenceShownAt: undefined };
    const tunnel: Tunnel = { id, proxy, incarnation, via, role: 'closing', token, ...asked };
    pool.tunnels.set(id, tunnel);
    return { tunnel, dial };
  }

  attach(tunnel: Tunnel, dial: Dial | undefined, now: Instant): void {
    const { pool, knowledge, account } = this.#parts;
    const wasConnected = pool.connected > 0;
    knowledge.shookHands(tunnel.proxy, tunnel.incarnation, now);
    this.#planner.relayed.landed(tunnel.via ?? tunnel.proxy, now);
    const entry = pool.get(tunnel.proxy) ?? pool.add(tunnel.proxy, { kind: 'seeking' });
    const useful = this.#place(entry, tunnel, dial, now);
    if (!useful) account.wastedDials += 1;
    if (dial?.purpose === 'probe') this.#planner.probeLanded();
    if (dial !== undefined && dial.entry !== tunnel.proxy) this.#missed(dial, useful, now);
    if (useful && !wasConnected) this.#planner.connectivityReturned();
  }

  /** Gives a new tunnel its role. False when it is of no use. */
  #place(entry: Entry, tunnel: Tunnel, dial: Dial | undefined, now: Instant): boolean {
    const { pool, config } = this.#parts;
    const until = now + config.claimTimeoutMs;
    const current = pool.currentOf(entry);
    const stale = this.#claims.isStale(entry, tunnel.incarnation);
    if (current === undefined) {
      this.#passDialOn(entry, dial);
      tunnel.role = 'current';
      pool.move(entry, { kind: 'claiming', tunnel: tunnel.id, until, granted: undefined });
      if (!stale) this.#claims.raiseFence(entry, tunnel.incarnation);
      return true;
    }
    const upgrade = dial?.purpose === 'upgrade' && dial.entry === entry.proxy;
    if (!stale && entry.candidate === undefined && (upgrade || tunnel.incarnation > current.incarnation)) {
      tunnel.role = 'candidate';
      pool.setCandidate(entry, tunnel.id, until);
      return true;
    }
    closeTunnel(this.#parts, tunnel, stale ? 'stale-incarnation' : 'duplicate');
    return false;
  }

  /** `entry` was reached by another dial than its own: an unsteered own dial serves the other's entry now. */
  #passDialOn(entry: Entry, landed: Dial | undefined): void {
    const { pool } = this.#parts;
    if (entry.phase.kind !== 'dialling' || entry.phase.dial === landed?.id) return;
    const own = this.#planner.dials.get(entry.phase.dial);
    const other = landed?.entry === undefined ? undefined : pool.get(landed.entry);
    const waits = other?.phase.kind === 'dialling' && other.phase.dial === landed?.id;
    if (own === undefined || own.target !== undefined || own.purpose !== 'seek' || other === undefined || !waits) {
      this.#planner.abandon(entry);
      return;
    }
    this.#planner.dials.reassign(own.id, other.proxy);
    pool.move(other, { kind: 'seeking' });
    pool.move(other, { kind: 'dialling', dial: own.id, sibling: undefined });
  }

  /** A dial for one entry reached another proxy. When that was of use, luck counts: try again at once. */
  #missed(dial: Dial, useful: boolean, now: Instant): void {
    const entry = dial.entry === undefined ? undefined : this.#parts.pool.get(dial.entry);
    if (entry?.phase.kind !== 'dialling' || entry.phase.dial !== dial.id) return;
    if (useful && entry.phase.sibling === undefined && dial.target === undefined) {
      entry.attempts = 0;
      this.#parts.pool.move(entry, { kind: 'seeking' });
    } else {
      this.#planner.failed(dial, 'already-claimed', 0, now);
    }
  }

  /** A second live instance uses our id, as a proxy told us. */
  reportDuplicate(now: Instant): void {
    const { leaf, agent } = this.#parts.config;
    this.#parts.account.problem = `another live instance uses the id ${agent} of leaf ${leaf}: give each agent its own id`;
    this.#planner.duplicateReported(now);
  }

  closed(tunnel: Tunnel, event: EventOf<'tunnelClosed'>, now: Instant): void {
    const { pool } = this.#parts;
    pool.tunnels.delete(tunnel.id);
    if (tunnel.role === 'closing') return;
    const entry = pool.of(tunnel);
    if (tunnel.role === 'candidate') return pool.setCandidate(entry, undefined);
    if (!this.#claims.candidateSteps(entry, now)) this.#afterLoss(entry, tunnel, event, now);
  }

  #afterLoss(entry: Entry, tunnel: Tunnel, event: EventOf<'tunnelClosed'>, now: Instant): void {
    const { pool, knowledge, config } = this.#parts;
    const { phase } = entry;
    knowledge.shookHands(entry.proxy, tunnel.incarnation, now);
    const gaveReason = (reason: string): boolean => event.graceful && event.reason.startsWith(reason);
    if (gaveReason('draining') || gaveReason('drain-deadline')) entry.drained = tunnel.incarnation;
    const verdict = knowledge.verdict(entry.proxy, now);
    const retired = verdict.kind === 'draining' || (entry.drained === tunnel.incarnation && verdict.kind === 'ready');
    if (verdict.kind === 'gone' || verdict.kind === 'expired') {
      pool.move(entry, { kind: 'gone', until: now + config.expiryMs });
    } else if (retired || phase.kind === 'retiring') {
      pool.move(entry, { kind: 'retired' });
    } else if (gaveReason('duplicate-id')) {
      this.#planner.backOff(entry, 'duplicate-id', 0, now);
      this.reportDuplicate(now);
    } else if (gaveReason('standby-unwanted') && phase.kind === 'standby') {
      const until = now + this.#planner.siblingWaitMs(entry);
      pool.move(entry, { kind: 'sibling', holder: phase.holder, until });
    } else if (event.graceful || phase.kind === 'claiming') {
      this.#planner.backOff(entry, 'lost', 0, now, event.graceful ? `the proxy closed: ${event.reason}` : undefined);
    } else {
      entry.attempts = 0;
      entry.lost = tunnel.id;
      this.#planner.tunnelLost(entry, now);
    }
  }
}
