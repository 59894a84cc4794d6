import { fullJitterMs, spreadMs } from '../shared/backoff.ts';
import type { ProxyId } from '../shared/ids.ts';
import type { Instant } from '../shared/time.ts';
import type { LeafParts } from './parts.ts';
import type { Entry } from './pool.ts';

/** What is to be expected of the proxy that relays a tunnel. */
export type RelayOutlook = 'stays' | 'leaves' | 'unknown';

/** Agents leave a relay that is about to stop within this, not all at once; its drain lasts longer. */
const REROUTE_SPREAD_MS = 1_000;
/** A direct tunnel is tried ever more rarely: up to 2^7 times `directRetryMs`. */
const MAX_DOUBLINGS = 7;
/** So many attempts in a row at one proxy, whatever they asked for: the balancer prefers it. By chance one in N^3, of N proxies. */
const STICKY_LANDINGS = 4;
/** Behind such a balancer a direct tunnel does not come by trying; balancers are changed now and then. */
const STICKY_RETRY_MS = 3_600_000;

/** When tunnels that another root proxy relays are tried another way: to be direct, or because that proxy is about to stop. */
export class Relayed {
  readonly #parts: LeafParts;
  #landings: { at: ProxyId | undefined; count: number } = { at: undefined, count: 0 };
  #stickyUntil: Instant | undefined;

  constructor(parts: LeafParts) {
    this.#parts = parts;
  }

  /** The balancer has sent an attempt to this proxy, which served or relayed it. */
  landed(at: ProxyId, now: Instant): void {
    const { count } = this.#landings;
    this.#landings = { at, count: this.#landings.at === at ? count + 1 : 1 };
    if (this.#landings.count < STICKY_LANDINGS) this.#stickyUntil = undefined;
    else this.#stickyUntil = now + spreadMs(STICKY_RETRY_MS, 2 * STICKY_RETRY_MS, this.#parts.random, 'sticky');
  }

  /** Sets or postpones the direct try of a relayed tunnel. */
  postponeUpgrade(entry: Entry, now: Instant): void {
    const { config, random } = this.#parts;
    const attempts = entry.upgrade === undefined ? 0 : Math.min(entry.upgrade.attempts + 1, MAX_DOUBLINGS);
    const wait = config.directRetryMs * 2 ** attempts;
    entry.upgrade = { at: now + spreadMs(wait, 2 * wait, random, `direct:${entry.proxy}`), attempts };
  }

  /** The relayed tunnel whose direct try comes next, and when; undefined when none is relayed. */
  nextUpgrade(): { readonly entry: Entry; readonly at: Instant } | undefined {
    let next: { entry: Entry; at: Instant } | undefined;
    for (const entry of this.#parts.pool.sorted()) {
      if (entry.upgrade === undefined || entry.upgrade.at >= (next?.at ?? Infinity)) continue;
      next = { entry, at: entry.upgrade.at };
    }
    return next === undefined ? undefined : { ...next, at: Math.max(next.at, this.#stickyUntil ?? next.at) };
  }

  /** Starts or ends the search for another way to an entry that is held through a relay; one begun goes on while nothing is known. */
  judge(entry: Entry, relay: RelayOutlook, now: Instant): void {
    const { config, random } = this.#parts;
    const placed = entry.phase.kind === 'claimed' || entry.phase.kind === 'standby';
    if (relay === 'stays' || !placed || config.steering === 'off') {
      entry.reroute = undefined;
    } else if (relay === 'leaves') {
      entry.reroute ??= { at: now + spreadMs(0, REROUTE_SPREAD_MS, random, `reroute:${entry.proxy}`), attempts: 0 };
    }
  }

  /** Another way is being tried: the next try, should this one fail. */
  postponeReroute(entry: Entry, now: Instant): void {
    const { config, random } = this.#parts;
    const attempts = (entry.reroute?.attempts ?? 0) + 1;
    const limits = { minMs: config.backoffMinMs, maxMs: config.backoffMaxMs };
    const jitter = fullJitterMs(attempts, limits, random, `backoff:reroute:${entry.proxy}`);
    entry.reroute = { at: now + REROUTE_SPREAD_MS + jitter, attempts };
  }
}
