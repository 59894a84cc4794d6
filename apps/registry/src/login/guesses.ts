import { createHmac, randomBytes } from 'node:crypto';

/** Failed logins of one user in one window. */
const FAILURES = 10;
const WINDOW_MS = 60_000;
/** Names share counters, so that made-up names fill no memory; two users of one counter are one in 16,384. */
const COUNTERS = 16_384;

interface Counter {
  since: number;
  attempts: number;
}

/**
 * Counts failed logins by user name, of users that exist and of others alike, so that the answer says nothing about who exists.
 * An attempt under way counts as failed until it has succeeded. Monotonic milliseconds.
 */
export class Guesses {
  readonly #key = randomBytes(32);
  readonly #counters = new Map<number, Counter>();

  /** Milliseconds until the user may try again; 0: now, and the attempt is counted. */
  begin(user: string, now: number): number {
    const counter = this.#counterOf(user, now);
    if (counter.attempts >= FAILURES) return counter.since + WINDOW_MS - now;
    counter.attempts += 1;
    return 0;
  }

  /** Takes back what `begin` counted. */
  succeeded(user: string, now: number): void {
    const counter = this.#counterOf(user, now);
    counter.attempts = Math.max(0, counter.attempts - 1);
  }

  #counterOf(user: string, now: number): Counter {
    const index = createHmac('sha256', this.#key).update(user).digest().readUInt32BE(0) % COUNTERS;
    const known = this.#counters.get(index);
    if (known !== undefined && now < known.since + WINDOW_MS) return known;
    const fresh = { since: now, attempts: 0 };
    this.#counters.set(index, fresh);
    return fresh;
  }
}
