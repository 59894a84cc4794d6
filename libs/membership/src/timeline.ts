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

  /**
   * Takes the header of a linearizable answer. `back`: the store went back in time. `void`: the request was sent before that
   * was noticed, so nothing may be concluded from its answer.
   */
  answered(header: StoreHeader, mark: TimelineMark): 'sound' | 'back' | 'void' {
    if (mark.generation !== this.#generation) return 'void';
    if (header.revision < mark.highWater) return 'back';
    this.saw(header.revision);
    return 'sound';
  }

  /** History starts anew. */
  reset(): void {
    this.#generation += 1;
    this.#highWater = 0n;
  }
}
