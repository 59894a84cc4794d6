import type { QuotaAnswer } from './types.ts';

/** How many a key may have at once. Keys without any are forgotten, so their number is bounded by what is held. */
export class CountQuota {
  readonly #max: number;
  readonly #held = new Map<string, number>();

  constructor(max: number) {
    if (!Number.isSafeInteger(max) || max < 1) throw new RangeError(`max ${max} is not an integer of at least 1`);
    this.#max = max;
  }

  held(key: string): number {
    return this.#held.get(key) ?? 0;
  }

  /** One more; whoever is granted it gives it back with `leave`, once. */
  enter(key: string): QuotaAnswer {
    const held = this.held(key);
    if (held >= this.#max) return { kind: 'refused', retryAfterMs: 0 };
    this.#held.set(key, held + 1);
    return { kind: 'granted' };
  }

  /** Throws when the key has none: somebody gave back twice. */
  leave(key: string): void {
    const held = this.held(key);
    if (held === 0) throw new Error(`assertion failed: ${key} gave back more than it had`);
    if (held === 1) this.#held.delete(key);
    else this.#held.set(key, held - 1);
  }
}
