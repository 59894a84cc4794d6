import type { Instant } from './time.ts';

interface Entry {
  readonly at: Instant;
  /** Order of setting: deadlines of one instant run in it. */
  readonly order: number;
  readonly name: string;
  readonly run: (lateMs: number) => void;
}

/** All deadlines of one core in one table: named, so that setting one again moves it. A binary heap; cancelled entries stay until they surface. */
export class Deadlines {
  readonly #heap: Entry[] = [];
  readonly #live = new Map<string, Entry>();
  #order = 0;

  set(name: string, at: Instant, run: (lateMs: number) => void): void {
    const entry = { at, order: this.#order++, name, run };
    this.#live.set(name, entry);
    this.#heap.push(entry);
    this.#rise(this.#heap.length - 1);
  }

  cancel(name: string): void {
    this.#live.delete(name);
  }

  next(): Instant | undefined {
    return this.#top()?.at;
  }

  /** Takes out the earliest deadline that is due. */
  takeDue(now: Instant): { readonly run: (lateMs: number) => void; readonly lateMs: number } | undefined {
    const entry = this.#top();
    if (entry === undefined || entry.at > now) return undefined;
    this.#pop();
    this.#live.delete(entry.name);
    return { run: entry.run, lateMs: now - entry.at };
  }

  #top(): Entry | undefined {
    for (;;) {
      const entry = this.#heap[0];
      if (entry === undefined || this.#live.get(entry.name) === entry) return entry;
      this.#pop();
    }
  }

  #pop(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    this.#heap[0] = last;
    this.#sink(0);
  }

  #rise(start: number): void {
    let index = start;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (!this.#swapIfBefore(index, parent)) return;
      index = parent;
    }
  }

  #sink(start: number): void {
    let index = start;
    for (;;) {
      const left = 2 * index + 1;
      if (left >= this.#heap.length) return;
      const right = left + 1;
      const child = right < this.#heap.length && this.#before(right, left) ? right : left;
      if (!this.#swapIfBefore(child, index)) return;
      index = child;
    }
  }

  #swapIfBefore(a: number, b: number): boolean {
    if (!this.#before(a, b)) return false;
    const entryA = this.#heap[a];
    const entryB = this.#heap[b];
    if (entryA === undefined || entryB === undefined) return false;
    this.#heap[a] = entryB;
    this.#heap[b] = entryA;
    return true;
  }

  #before(a: number, b: number): boolean {
    const entryA = this.#heap[a];
    const entryB = this.#heap[b];
    if (entryA === undefined || entryB === undefined) return false;
    return entryA.at < entryB.at || (entryA.at === entryB.at && entryA.order < entryB.order);
  }
}
