import type { Scheduled, Scheduler } from '../scheduler.ts';

/** One wake-up of a core; set anew only when it changes. */
export class Timer {
  readonly #scheduler: Scheduler;
  readonly #run: () => void;
  #at: number | undefined;
  #scheduled: Scheduled | undefined;

  constructor(scheduler: Scheduler, run: () => void) {
    this.#scheduler = scheduler;
    this.#run = run;
  }

  /** Undefined: not at all. A wake-up that comes too early finds nothing due, and is set anew. */
  set(at: number | undefined): void {
    if (at === this.#at && this.#scheduled !== undefined) return;
    this.#at = at;
    if (at === undefined) return this.#cancel();
    this.#cancel();
    this.#scheduled = this.#scheduler.at(at, () => {
      this.#scheduled = undefined;
      this.#at = undefined;
      this.#run();
    });
  }

  #cancel(): void {
    this.#scheduled?.cancel();
    this.#scheduled = undefined;
  }
}
