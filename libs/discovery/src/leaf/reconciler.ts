import { MAX_PROXIES } from '../shared/gossip-view.ts';
import type { ProxyId } from '../shared/ids.ts';
import type { Instant } from '../shared/time.ts';
import type { Claims } from './claims.ts';
import type { DialPlanner } from './dial-planner.ts';
import type { LeafParts } from './parts.ts';
import type { Entry } from './pool.ts';
import type { RelayOutlook } from './relayed.ts';

/** Gone entries are kept up to this many in all, oldest forgotten first. */
const MAX_ENTRIES = 2 * MAX_PROXIES;

/**
 * Brings the pool in line with what is known: the greedy rule. Knowledge adds and refreshes entries and stops the search
 * for what is gone; it never touches a tunnel that is up.
 */
export class Reconciler {
  readonly #parts: LeafParts;
  readonly #planner: DialPlanner;
  readonly #claims: Claims;

  constructor(parts: LeafParts, planner: DialPlanner, claims: Claims) {
    this.#parts = parts;
    this.#planner = planner;
    this.#claims = claims;
  }

  reconcile(now: Instant): void {
    const { knowledge, pool, deadlines } = this.#parts;
    deadlines.set('knowledge', knowledge.nextExpiry(now));
    for (const proxy of knowledge.records(now)) {
      if (pool.get(proxy) === undefined) pool.add(proxy, { kind: 'seeking' });
    }
    for (const entry of pool.sorted()) this.#settle(entry, now);
    this.#trimGone();
  }

  #settle(entry: Entry, now: Instant): void {
    const { knowledge, pool } = this.#parts;
    const verdict = knowledge.verdict(entry.proxy, now);
    const known = verdict.kind === 'ready' || verdict.kind === 'draining';
    const renewed = known && verdict.incarnation !== entry.incarnation;
    if (known) {
      entry.incarnation = verdict.incarnation;
      entry.generation = verdict.generation;
    }
    if (renewed) entry.attempts = 0;
    const tunnel = pool.currentOf(entry);
    if (tunnel !== undefined) {
      this.#claims.prove(entry, tunnel, now);
      return this.#planner.relayed.judge(entry, tunnel.via === undefined ? 'stays' : this.#relay(tunnel.via, now), now);
    }
    const drains = verdict.kind === 'draining' || (verdict.kind === 'ready' && entry.drained === verdict.incarnation);
    if (drains) return this.#retire(entry);
    if (verdict.kind === 'ready') return this.#seek(entry, renewed);
    this.#giveUp(entry, verdict.kind, now);
  }

  /** Whether a root proxy that relays is about to stop, as gossip or the proxy itself told; one that lapsed may well go on. */
  #relay(proxy: ProxyId, now: Instant): RelayOutlook {
    const { kind, incarnation } = this.#parts.knowledge.verdict(proxy, now);
    if (kind === 'gone' || kind === 'expired') return 'unknown';
    const drains = kind === 'draining' || this.#parts.pool.get(proxy)?.drained === incarnation;
    return drains ? 'leaves' : 'stays';
  }

  #seek(entry: Entry, renewed: boolean): void {
    const { pool } = this.#parts;
    switch (entry.phase.kind) {
      case 'gone':
      case 'retired':
        return pool.move(entry, { kind: 'seeking' });
      case 'backoff':
        if (renewed && !entry.phase.asked) pool.move(entry, { kind: 'seeking' });
        return;
      case 'sibling':
        if (renewed) pool.move(entry, { kind: 'seeking' });
        return;
      default:
        return;
    }
  }

  #retire(entry: Entry): void {
    if (entry.phase.kind === 'retired') return;
    this.#planner.abandon(entry);
    this.#parts.pool.move(entry, { kind: 'retired' });
  }

  #giveUp(entry: Entry, kind: 'gone' | 'expired', now: Instant): void {
    const { pool, account, config } = this.#parts;
    if (this.#planner.abandon(entry)) account.wastedDials += 1;
    if (kind === 'expired') return pool.remove(entry);
    if (entry.phase.kind !== 'gone') pool.move(entry, { kind: 'gone', until: now + config.expiryMs });
  }

  #trimGone(): void {
    const { pool } = this.#parts;
    if (pool.size <= MAX_ENTRIES) return;
    const gone = pool
      .sorted()
      .flatMap((entry) => (entry.phase.kind === 'gone' ? [{ entry, at: entry.phase.until }] : []));
    gone.sort((a, b) => a.at - b.at);
    for (const { entry } of gone.slice(0, pool.size - MAX_ENTRIES)) pool.remove(entry);
  }
}
