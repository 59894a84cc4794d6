/** Drives the `timeout` of one state machine: holds at most one timer, armed for the earliest deadline asked for. */
export class DeadlineTimer {
  readonly #fire: () => void;
  #timer: NodeJS.Timeout | undefined;
  #dueAt = Infinity;

  constructor(fire: () => void) {
    this.#fire = fire;
  }

  /** An earlier deadline replaces the timer; a later one is asked for again when the timer fires. */
  arm(at: number | undefined): void {
    if (at === undefined || at >= this.#dueAt) return;
    clearTimeout(this.#timer);
    this.#dueAt = at;
    this.#timer = setTimeout(
      () => {
        this.#dueAt = Infinity;
        this.#fire();
      },
      Math.max(0, Math.ceil(at - performance.now())),
    );
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#dueAt = Infinity;
  }
}
