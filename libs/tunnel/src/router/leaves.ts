import { assert } from '../assert.ts';
import type { PeerHolder } from './types.ts';

/** Which leaf clusters exist, and which other root proxies hold a claim of each. Bounded. */
export class LeafDirectory {
  readonly #maxKnown: number;
  /** In the order of last mention: the first is forgotten first. */
  readonly #known = new Set<string>();
  #holders = new Map<string, readonly PeerHolder[]>();

  constructor(maxKnown: number) {
    this.#maxKnown = maxKnown;
  }

  get size(): number {
    return this.#known.size;
  }

  known(leaf: string): boolean {
    return this.#known.has(leaf);
  }

  remember(leaf: string): void {
    this.#known.delete(leaf);
    this.#known.add(leaf);
    if (this.#known.size <= this.#maxKnown) return;
    for (const oldest of this.#known) {
      this.#known.delete(oldest);
      return;
    }
  }

  replace(holders: ReadonlyMap<string, readonly PeerHolder[]>): void {
    this.#holders = new Map();
    for (const [leaf, list] of holders) this.change(leaf, list);
  }

  change(leaf: string, holders: readonly PeerHolder[]): void {
    if (holders.length === 0) {
      this.#holders.delete(leaf);
      return;
    }
    this.#holders.set(leaf, holders);
    this.remember(leaf);
  }

  /** One of the peers not yet tried, evenly over `random` in [0, 1); undefined when none is left. */
  choose(leaf: string, ready: boolean, tried: ReadonlySet<string>, random: number): string | undefined {
    const left = (this.#holders.get(leaf) ?? []).filter((holder) => holder.ready === ready && !tried.has(holder.proxy));
    const names = [...new Set(left.map((holder) => holder.proxy))].sort();
    if (names.length === 0) return undefined;
    const chosen = names[Math.floor(random * names.length)];
    assert(chosen !== undefined, `random ${random} outside [0, 1)`);
    return chosen;
  }
}
