import { draw } from './random.ts';

/** Cancels a scheduled event; harmless once it has run. */
export interface Scheduled {
  cancel(): void;
}

interface Entry {
  readonly at: number;
  readonly tie: number;
  readonly sequence: number;
  run: (() => void) | undefined;
}

/**
 * Virtual time. Events run in order of time; events of one instant run in an order drawn from the seed, because real
 * schedulers promise none. Milliseconds; fractions are allowed.
 */
export class Scheduler {
  readonly #seed: number;
  readonly #heap: Entry[] = [];
  #now = 0;
  #sequence = 0;
  #steps = 0;

  constructor(seed: number) {
    this.#seed = seed;
  }

  get now(): number {
    return this.#now;
  }

  /** Events run so far. */
  get steps(): number {
    return this.#steps;
  }

  at(time: number, run: () => void): Scheduled {
    const sequence = this.#sequence;
    this.#sequence += 1;
    const entry: Entry = {
      at: Math.max(time, this.#now),
      tie: draw(this.#seed, 'scheduler', 'tie', sequence),
      sequence,
      run,
    };
    this.#push(entry);
    return { cancel: () => void (entry.run = undefined) };
  }

  after(delayMs: number, run: () => void): Scheduled {
    return this.at(this.#now + delayMs, run);
  }

  /** Runs the next event due at `until` or before. False when there is none; the clock then stands at `until`. */
  step(until: number): boolean {
    for (;;) {
      const top = this.#heap[0];
      if (top === undefined || top.at > until) {
        this.#now = Math.max(this.#now, until);
        return false;
      }
      this.#pop();
      if (top.run === undefined) continue;
      this.#now = top.at;
      this.#steps += 1;
      top.run();
      return true;
    }
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(entry);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !before(entry, above)) break;
      heap[index] = above;
      index = parent;
    }
    heap[index] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let index = 0;
    for (;;) {
      const left = 2 * index + 1;
      const first = heap[left];
      if (first === undefined) break;
      const second = heap[left + 1];
      const [child, at] = second !== undefined && before(second, first) ? [second, left + 1] : [first, left];
      if (!before(child, last)) break;
      heap[index] = child;
      index = at;
    }
    heap[index] = last;
  }
}

function before(one: Entry, other: Entry): boolean {
  if (one.at !== other.at) return one.at < other.at;
  if (one.tie !== other.tie) return one.tie < other.tie;
  return one.sequence < other.sequence;
}
