import type { Instant } from './time.ts';

interface Node<Key> {
  readonly at: Instant;
  readonly key: Key;
}

function before<Key extends string>(a: Node<Key>, b: Node<Key>): boolean {
  return a.at < b.at || (a.at === b.at && a.key < b.key);
}

/**
 * All deadlines of one machine, by name: the earliest one is its `nextTimeout`. Setting and clearing cost O(log n);
 * replaced deadlines stay in the heap until they surface or outnumber the live ones.
 */
export class Deadlines<Key extends string> {
  readonly #live = new Map<Key, Instant>();
  #heap: Node<Key>[] = [];

  /** Sets or replaces the deadline named `key`; `undefined` clears it. */
  set(key: Key, at: Instant | undefined): void {
    if (at === undefined) {
      this.#live.delete(key);
      return;
    }
    if (this.#live.get(key) === at) return;
    this.#live.set(key, at);
    this.#push({ at, key });
    if (this.#heap.length > 64 && this.#heap.length > 4 * this.#live.size) this.#rebuild();
  }

  get(key: Key): Instant | undefined {
    return this.#live.get(key);
  }

  next(): Instant | undefined {
    return this.#top()?.at;
  }

  /** Removes and returns the earliest deadline that is due, ties by name; undefined when none is. */
  takeDue(now: Instant): Key | undefined {
    const top = this.#top();
    if (top === undefined || top.at > now) return undefined;
    this.#pop();
    this.#live.delete(top.key);
    return top.key;
  }

  get size(): number {
    return this.#live.size;
  }

  #top(): Node<Key> | undefined {
    for (;;) {
      const top = this.#heap[0];
      if (top === undefined || this.#live.get(top.key) === top.at) return top;
      this.#pop();
    }
  }

  #push(node: Node<Key>): void {
    const heap = this.#heap;
    let index = heap.push(node) - 1;
    while (index > 0) {
      const parentIndex = (index - 1) >> 1;
      const parent = heap[parentIndex];
      if (parent === undefined || !before(node, parent)) break;
      heap[index] = parent;
      index = parentIndex;
    }
    heap[index] = node;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let index = 0;
    for (;;) {
      let childIndex = 2 * index + 1;
      let child = heap[childIndex];
      if (child === undefined) break;
      const right = heap[childIndex + 1];
      if (right !== undefined && before(right, child)) {
        childIndex += 1;
        child = right;
      }
      if (!before(child, last)) break;
      heap[index] = child;
      index = childIndex;
    }
    heap[index] = last;
  }

  #rebuild(): void {
    const live = [...this.#live].map(([key, at]) => ({ at, key }));
    this.#heap = live.sort((a, b) => (before(a, b) ? -1 : 1));
  }
}
