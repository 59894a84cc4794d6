/** Milliseconds on the monotonic clock that every core of this process is fed with. */
export function now(): number {
  return performance.now();
}

/** Calls back at a deadline that moves. One timer, armed again only when the deadline changed. */
export class Alarm {
  readonly #ring: () => void;
  #timer: NodeJS.Timeout | undefined;
  #at: number | undefined;

  constructor(ring: () => void) {
    this.#ring = ring;
  }

  /** undefined: no deadline. One in the past rings in a later turn. */
  set(at: number | undefined): void {
    if (at === this.#at) return;
    clearTimeout(this.#timer);
    this.#at = at;
    if (at === undefined) return;
    // Rounded up: a timer that fires early would find nothing due and have to be set again.
    this.#timer = setTimeout(() => this.#due(), Math.max(0, Math.ceil(at - now())));
  }

  stop(): void {
    this.set(undefined);
  }

  #due(): void {
    this.#at = undefined;
    this.#ring();
  }
}
