import { CLOCK_TOLERANCE_MS, MAX_GRANT_LIFETIME_MS } from '@xylem/identity';

/** A grant issued by a clock that is a minute ahead is taken until a minute after its end. */
const KEEP_MS = MAX_GRANT_LIFETIME_MS + 2 * CLOCK_TOLERANCE_MS;
/** Over 700 dials a second for three minutes. About 100 bytes each. */
const MAX_SEEN = 131_072;

/** Names of connections that were granted, for as long as the grant could be shown again. */
export class SeenConnections {
  /** When each was seen; in the order of insertion, which is that of time. */
  readonly #seen = new Map<string, number>();
  readonly #limit: number;

  /** @param limit Default 131,072. */
  constructor(limit = MAX_SEEN) {
    this.#limit = limit;
  }

  /**
   * Takes a name down.
   *
   * @param now Monotonic milliseconds.
   * @returns `replay` for a name seen before; `full` when no more can be remembered: the dial must be refused then.
   */
  add(connection: string, now: number): 'new' | 'replay' | 'full' {
    this.#forget(now);
    if (this.#seen.has(connection)) return 'replay';
    if (this.#seen.size >= this.#limit) return 'full';
    this.#seen.set(connection, now);
    return 'new';
  }

  #forget(now: number): void {
    for (const [connection, at] of this.#seen) {
      if (now - at <= KEEP_MS) return;
      this.#seen.delete(connection);
    }
  }
}
