import { CLOCK_TOLERANCE_MS, MAX_GRANT_LIFETIME_MS } from '@xylem/identity';

/** A grant issued by a clock that is a minute ahead is taken until a minute after its end. */
const KEEP_MS = MAX_GRANT_LIFETIME_MS + 2 * CLOCK_TOLERANCE_MS;
/** For each root proxy: over 700 dials a second for three minutes. About 100 bytes each. */
const MAX_SEEN = 131_072;

interface Seen {
  /** Monotonic milliseconds. */
  readonly at: number;
  readonly issuedAtMs: number;
}

/**
 * Names of connections that were granted, for as long as the grant could be shown again. Each root proxy has a share of its own: a
 * grant is for one of them, and one that makes names up fills nobody else's.
 */
export class SeenConnections {
  /** By root proxy, in the order of insertion, which is that of time. */
  readonly #seen = new Map<string, Map<string, Seen>>();
  #floorMs = Number.NEGATIVE_INFINITY;
  readonly #limit: number;

  /** @param limit For each root proxy. Default 131,072. */
  constructor(limit = MAX_SEEN) {
    this.#limit = limit;
  }

  /**
   * Takes a name down.
   *
   * @param proxy The root proxy that shows the grant, by its certificate.
   * @param issuedAtMs When its grant was, by the registry's clock.
   * @param now Monotonic milliseconds.
   * @returns `replay` for a name seen before; `full` when no more can be remembered: the dial must be refused then.
   */
  add(proxy: string, connection: string, issuedAtMs: number, now: number): 'new' | 'replay' | 'full' {
    this.#forget(now);
    const share = this.#seen.get(proxy) ?? new Map<string, Seen>();
    if (share.has(connection)) return 'replay';
    if (share.size >= this.#limit) return 'full';
    share.set(connection, { at: now, issuedAtMs });
    this.#seen.set(proxy, share);
    return 'new';
  }

  /**
   * It is later than this by the registries' clocks, milliseconds since 1970, whatever this machine's clock says: nothing issued until
   * then is new. Were a clock that is set back believed, every grant that it makes good again could be used again.
   */
  floorMs(now: number): number {
    this.#forget(now);
    return this.#floorMs;
  }

  #forget(now: number): void {
    for (const [proxy, share] of this.#seen) {
      this.#forgetOld(share, now);
      if (share.size === 0) this.#seen.delete(proxy);
    }
  }

  #forgetOld(share: Map<string, Seen>, now: number): void {
    for (const [connection, { at, issuedAtMs }] of share) {
      if (now - at <= KEEP_MS) return;
      share.delete(connection);
      this.#floorMs = Math.max(this.#floorMs, issuedAtMs);
    }
  }
}
