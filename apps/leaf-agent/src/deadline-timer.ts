/** Drives the `timeout` of one state machine: at most one timer, moved whenever the next deadline moves. */
export class DeadlineTimer {
  readonly #fire: () => void;
  #timer: NodeJS.Timeout | undefined;
  #dueAt: number | undefined;

  constructor(fire: () => void) {
    this.#fire = fire;
  }

  /** @param at on the clock of `performance.now()`; undefined for no deadline. */
  set(at: number | undefined): void {
    if (at === this.#dueAt) return;
    clearTimeout(this.#timer);
    this.#dueAt = at;
    if (at === undefined) return;
    const delayMs = Math.min(Math.max(0, Math.ceil(at - performance.now())), LONGEST_TIMER_MS);
    this.#timer = setTimeout(() => {
      this.#dueAt = undefined;
      this.#fire();
    }, delayMs);
  }
}

/** Above this, setTimeout fires at once; the machine is asked again then. */
const LONGEST_TIMER_MS = 2_147_483_647;
