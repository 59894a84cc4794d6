import type { Http2Session } from 'node:http2';

const KIB = 1024;
const MIB = 1024 * KIB;

/**
 * A stream window bounds two things that pull in opposite directions: what one stream can carry over a long way (at a
 * round trip of 20 ms, 4 MiB carry 90 MiB/s and 256 KiB carry 6), and what one stopped reader holds in memory. So few
 * streams get large windows and many get small ones: what they hold together stays near the budget, and never above
 * 256 KiB each once there are many. HTTP/2 allows it: a new SETTINGS_INITIAL_WINDOW_SIZE moves the window of every open
 * stream (RFC 9113 section 6.9.2).
 */
export const WINDOW_POLICY = {
  greatestBytes: 4 * MIB,
  leastBytes: 256 * KIB,
  /** Per connection, as long as the least window allows. */
  budgetBytes: 16 * MIB,
} as const;

/**
 * Larger windows can wait, smaller ones not: at most one change for the larger in this time. So crowds of short streams, one
 * after the other, cost five settings a second at most, which no peer takes for a flood (see frame-meter.ts).
 */
const GROWTH_MS = 1_000;

/**
 * The window each of `streams` open streams should have, given the one they have. It shrinks as soon as the budget is
 * exceeded, but grows only when twice as many streams would fit, so that streams that come and go cause no settings.
 */
export function nextWindow(streams: number, current: number): number {
  const { greatestBytes, leastBytes, budgetBytes } = WINDOW_POLICY;
  let window = current;
  while (window > leastBytes && window * streams > budgetBytes) window /= 2;
  while (window < greatestBytes && window * 2 * streams * 2 <= budgetBytes) window *= 2;
  return window;
}

/** Keeps the stream window of one end of a session at what the number of its streams allows. */
export class StreamWindows {
  #session: Http2Session | undefined;
  #streams = 0;
  #window: number = WINDOW_POLICY.greatestBytes;
  #unacknowledged = false;
  #grownAtMs = Number.NEGATIVE_INFINITY;
  #later: NodeJS.Timeout | undefined;

  /** The session was started with the greatest window. */
  attach(session: Http2Session): void {
    this.#session = session;
    this.#window = WINDOW_POLICY.greatestBytes;
    this.#unacknowledged = false;
    this.#adjust();
  }

  opened(): void {
    this.#streams += 1;
    this.#adjust();
  }

  closed(): void {
    this.#streams -= 1;
    this.#adjust();
  }

  /** At most one change is under way, so that a crowd of new streams costs a few settings and not one each. */
  #adjust(): void {
    const session = this.#session;
    if (session === undefined || session.destroyed || session.closed || this.#unacknowledged) return;
    const window = nextWindow(this.#streams, this.#window);
    if (window === this.#window || (window > this.#window && !this.#mayGrow())) return;
    this.#window = window;
    this.#unacknowledged = true;
    session.settings({ initialWindowSize: window }, () => {
      this.#unacknowledged = false;
      this.#adjust();
    });
  }

  /** False: too soon; it is looked at again when it is not. */
  #mayGrow(): boolean {
    const now = performance.now();
    const waitMs = this.#grownAtMs + GROWTH_MS - now;
    if (waitMs <= 0) {
      this.#grownAtMs = now;
      return true;
    }
    if (this.#later !== undefined) return false;
    this.#later = setTimeout(() => {
      this.#later = undefined;
      this.#adjust();
    }, waitMs).unref();
    return false;
  }
}
