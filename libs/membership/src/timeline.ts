import type { StoreHeader } from './store.ts';

/** What was known of the store's history when a request was sent. */
export interface TimelineMark {
  readonly generation: number;
  readonly highWater: bigint;
}

/**
 * What an answer proves about the store's history:
 * - `sound`: it belongs to the history that was listed;
 * - `back`: the store went back in time, which only a restore from a backup can cause;
 * - `unproven`: another raft term or cluster answers. Most likely a new leader, but a restored store looks the same once it has
 *   overtaken what was seen; a list, compared with what is known, tells;
 * - `void`: the request was sent before one of these was noticed.
 */
export type Verdict = 'sound' | 'back' | 'unproven' | 'void';

/** Watches the store's history for breaks. Nothing may be concluded from an answer that is not sound. */
export class Timeline {
  #generation = 0;
  #highWater = 0n;
  /** Of the last complete list; undefined while none stands. */
  #listed: StoreHeader | undefined;

  mark(): TimelineMark {
    return { generation: this.#generation, highWater: this.#highWater };
  }

  /** A revision that certainly exists. */
  saw(revision: bigint): void {
    if (revision > this.#highWater) this.#highWater = revision;
  }

  /** Judges a linearizable answer. A request that `wrote` has a revision of its own, above all seen before it was sent. */
  answered(header: StoreHeader, mark: TimelineMark, wrote: boolean): Verdict {
    if (mark.generation !== this.#generation) return 'void';
    const least = wrote ? mark.highWater + 1n : mark.highWater;
    if (header.revision < least) return 'back';
    if (!this.isListed(header)) return 'unproven';
    this.saw(header.revision);
    return 'sound';
  }

  /** Whether the header is one of the history that was listed. */
  isListed(header: StoreHeader): boolean {
    return this.#listed?.cluster === header.cluster && this.#listed.term === header.term;
  }

  /** A complete list was read, and it stands. */
  listed(header: StoreHeader): void {
    this.#listed = header;
    this.saw(header.revision);
  }

  /** A list has to prove the history anew. False: one is awaited already. */
  doubt(): boolean {
    const first = this.#listed !== undefined;
    this.#listed = undefined;
    if (first) this.#generation += 1;
    return first;
  }

  /** History starts anew. */
  reset(): void {
    this.#generation += 1;
    this.#highWater = 0n;
    this.#listed = undefined;
  }
}
