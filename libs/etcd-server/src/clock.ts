import type { Instant } from '@xylem/store';

/** Looks at the time at least this often. */
const BEAT_MS = 100;
/** A longer silence is not work but a stopped process: SIGSTOP, a suspended machine, a debugger. */
const PAUSE_MS = 1_000;

/**
 * A monotonic clock that stands still while the process does. Nobody could renew a lease in that time, so it must not count
 * against them; granting more time than asked for is always allowed.
 */
export class PauseAwareClock {
  readonly #read: () => number;
  readonly #timer: NodeJS.Timeout;
  #last: number;
  #pausedMs = 0;

  /** `read` is a monotonic clock in milliseconds. */
  constructor(read: () => number = () => performance.now()) {
    this.#read = read;
    this.#last = read();
    this.#timer = setInterval(() => this.now(), BEAT_MS).unref();
  }

  now(): Instant {
    const real = this.#read();
    const silence = real - this.#last;
    this.#last = real;
    if (silence > PAUSE_MS) this.#pausedMs += silence - BEAT_MS;
    return real - this.#pausedMs;
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
