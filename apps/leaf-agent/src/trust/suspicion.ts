const FIRST_PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 60_000;

/**
 * How one tunnel's gossip is treated after some of it was refused: not looked at for a while, twice as long each time, so that checking
 * signatures for a root proxy that lies costs next to nothing. The tunnel itself stays: its users are not to blame.
 */
export class Suspicion {
  #refusals = 0;
  #until = 0;

  /** @param now Monotonic milliseconds. */
  ignores(now: number): boolean {
    return now < this.#until;
  }

  refused(now: number): void {
    this.#until = now + Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(this.#refusals, 10));
    this.#refusals += 1;
  }

  believed(): void {
    this.#refusals = 0;
  }
}
