import { CLOCK_TOLERANCE_MS, MAX_GRANT_LIFETIME_MS } from '@xylem/identity';

/** A grant issued by a clock that is a minute ahead is taken until a minute after its end. */
const KEEP_MS = MAX_GRANT_LIFETIME_MS + 2 * CLOCK_TOLERANCE_MS;
/** For each root proxy: over 700 dials a second for three minutes. About 100 bytes each. */
const MAX_SEEN = 131_072;

/**
 * Names of connections that were granted, for as long as the grant could be shown again. Each root proxy has a share of its own: a
 * grant is for one of them, and one that makes names up fills nobody else's.
 */
export class SeenConnections {
  /** By root proxy: when each was seen, in the order of insertion, which is that of time. */
  readonly #seen = new Map<string, Map<string, number>>();
  readonly #limit: number;

  /** @param limit For each root proxy. Default 131,072. */
  constructor(limit = MAX_SEEN) {
    this.#limit = limit;
  }

  /**
   * Takes a name down.
   *
   * @param proxy The root proxy that shows the grant, by its certificate.
   * @param now Monotonic milliseconds.
   * @returns `replay` for a name seen before; `full` when no more can be remembered: the dial must be refused then.
   */
  add(proxy: string, connection: string, now: number): 'new' | 'replay' | 'full' {
    this.#forget(now);
    const share = this.#seen.get(proxy) ?? new Map<string, number>();
    if (share.has(connection)) return 'replay';
    if (share.size >= this.#limit) return 'full';
    share.set(connection, now);
    this.#seen.set(proxy, share);
    return 'new';
  }

  #forget(now: number): void {
    for (const [proxy, share] of this.#seen) {
      forgetOld(share, now);
      if (share.size === 0) this.#seen.delete(proxy);
    }
  }
}

function forgetOld(share: Map<string, number>, now: number): void {
  for (const [connection, at] of share) {
    if (now - at <= KEEP_MS) return;
    share.delete(connection);
  }
}
