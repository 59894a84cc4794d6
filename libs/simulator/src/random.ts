/**
 * Keyed randomness. Every draw is a function of (seed, entity, site, counter), never of how many draws others made, so that
 * removing one fault or one process leaves all other draws as they were; shrinking depends on it.
 */
export class KeyedRandom {
  readonly #seed: number;
  readonly #entity: string;
  readonly #counters = new Map<string, number>();

  constructor(seed: number, entity: string) {
    this.#seed = seed;
    this.#entity = entity;
  }

  /** A number in [0, 1). Same contract as the cores' `Random`. */
  next(site: string): number {
    const counter = this.#counters.get(site) ?? 0;
    this.#counters.set(site, counter + 1);
    return draw(this.#seed, this.#entity, site, counter);
  }

  /** An integer in [from, to]. */
  integer(site: string, from: number, to: number): number {
    return from + Math.floor(this.next(site) * (to - from + 1));
  }

  /** A number in [from, to). */
  between(site: string, from: number, to: number): number {
    return from + this.next(site) * (to - from);
  }

  chance(site: string, probability: number): boolean {
    return this.next(site) < probability;
  }

  /** One of `items`, which must not be empty. */
  pick<T>(site: string, items: readonly T[]): T {
    const item = items[Math.floor(this.next(site) * items.length)];
    if (item === undefined) throw new Error(`pick from nothing at ${this.#entity}/${site}`);
    return item;
  }
}

/** One draw in [0, 1) for a key; pure. */
export function draw(seed: number, entity: string, site: string, counter: number): number {
  const first = mix(hashText(entity, mix(seed >>> 0)) ^ Math.imul(counter + 1, 0x9e3779b1));
  const second = mix(hashText(site, first) ^ Math.imul(counter + 0x7f4a7c15, 0x85ebca6b));
  return ((second >>> 5) * 67_108_864 + (mix(second ^ first) >>> 6)) / 9_007_199_254_740_992;
}

/** Order-sensitive 32-bit hash (FNV-1a with a final mix). */
export function hashText(text: string, start = 0x811c9dc5): number {
  let hash = start >>> 0;
  for (let index = 0; index < text.length; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return mix(hash);
}

/** Finaliser of murmur3: every input bit reaches every output bit. */
function mix(value: number): number {
  let bits = value >>> 0;
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return (bits ^ (bits >>> 16)) >>> 0;
}
