import type { Tree } from './tree.ts';
import type { Instant, StoreEvent } from './types.ts';

/** One revision: what it wrote and the keys after it. */
export interface Revision {
  readonly number: bigint;
  readonly root: Tree;
  readonly events: readonly StoreEvent[];
  readonly at: Instant;
}

/** From this many forgotten revisions on, the list is copied to let go of them. */
const TRIM_AT = 1_024;

/**
 * The revisions that can still be read, without a gap, at least one. Forks share the list until one of them writes, so a fork
 * costs nothing by itself.
 */
export class History {
  #revisions: Revision[];
  #start: number;
  #end: number;

  /** `revisions` ascend by one. Throws when they do not, or when there is none. */
  constructor(revisions: readonly Revision[]) {
    this.#revisions = [...revisions];
    this.#start = 0;
    this.#end = revisions.length;
    const first = this.oldest.number;
    this.#revisions.forEach((revision, index) => {
      if (revision.number !== first + BigInt(index)) {
        throw new RangeError(`revision ${first + BigInt(index)} is missing: ${revision.number} stands in its place`);
      }
    });
  }

  get oldest(): Revision {
    return this.#at(this.#start);
  }

  get newest(): Revision {
    return this.#at(this.#end - 1);
  }

  get length(): number {
    return this.#end - this.#start;
  }

  /** The revision of that number; undefined when it is not kept or has not happened. */
  get(number: bigint): Revision | undefined {
    const offset = number - this.oldest.number;
    return offset < 0n || offset >= BigInt(this.length) ? undefined : this.#revisions[this.#start + Number(offset)];
  }

  /** Numbers continue: `revision.number` is one more than the newest. */
  append(revision: Revision): void {
    if (this.#revisions.length !== this.#end) this.#copy(); // a fork has written here
    this.#revisions.push(revision);
    this.#end += 1;
  }

  /** Forgets what is older than `number`, which is kept. */
  dropBefore(number: bigint): void {
    this.#start += Math.max(0, Math.min(Number(number - this.oldest.number), this.length - 1));
    if (this.#start >= TRIM_AT && this.#start * 2 >= this.#end) this.#copy();
  }

  fork(): History {
    const fork = new History([this.newest]);
    fork.#revisions = this.#revisions;
    fork.#start = this.#start;
    fork.#end = this.#end;
    return fork;
  }

  #copy(): void {
    this.#revisions = this.#revisions.slice(this.#start, this.#end);
    this.#end -= this.#start;
    this.#start = 0;
  }

  #at(index: number): Revision {
    const revision = this.#revisions[index];
    if (revision === undefined) throw new RangeError('a history has at least one revision');
    return revision;
  }
}
