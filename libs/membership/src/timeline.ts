import type { StoreHeader } from './store.ts';

/** What was known of the store's history when a request was sent. */
export interface TimelineMark {
  readonly generation: number;
  readonly highWater: bigint;
}

/**
 * Watches the store's history for a jump backwards, which only a restore from a backup can cause: the revision in a
 * linearizable answer is never below any revision seen before the request was sent.
 */
export class Timeline {
  #generation = 0;
  #highWater = 0n;

  mark(): TimelineMark {
    return { generation: this.#generation, highWater: this.#highWater };
  }

  /** A revision that certainly exists. */
  saw(revision: bigint): void {
    if (revision > this.#highWater) this.#highWater = revision;
  }

  /** Takes the header of a linearizable answer. False: the store went back. Answers to requests from before a reset prove nothing. */
  answered(header: StoreHeader, mark: TimelineMark): boolean {
    if (mark.generation !== this.#generation) return true;
    if (header.revision < mark.highWater) return false;
    this.saw(header.revision);
    return true;
  }

  /** History starts anew. */
  reset(): void {
    this.#generation += 1;
    this.#highWater = 0n;
  }
}
