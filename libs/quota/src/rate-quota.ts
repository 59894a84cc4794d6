import type { Instant, QuotaAnswer, RateLimits } from './types.ts';

const MS_PER_SECOND = 1_000;
const GRANTED: QuotaAnswer = { kind: 'granted' };

interface Bucket {
  permits: number;
  at: Instant;
}

/**
 * A token bucket for every key. Keys come from outside, so their number is bounded: a key that has all its permits again is as
 * good as forgotten, and when none is, newcomers share one bucket until there is room. So a flood of names fills no
 * memory, and does not make anybody forget who was refused.
 */
export class RateQuota {
  readonly #limits: RateLimits;
  readonly #maxKeys: number;
  /** Least recently used first. */
  readonly #buckets = new Map<string, Bucket>();
  readonly #shared: Bucket;

  constructor(limits: RateLimits, maxKeys: number) {
    if (!(limits.perSecond > 0)) throw new RangeError(`perSecond ${limits.perSecond} is not more than 0`);
    if (!(limits.burst >= 1)) throw new RangeError(`burst ${limits.burst} is less than 1`);
    this.#limits = limits;
    this.#maxKeys = maxKeys;
    this.#shared = { permits: limits.burst, at: 0 };
  }

  /** Keys that are remembered. */
  get size(): number {
    return this.#buckets.size;
  }

  /** Takes one permit of the key. `now` never goes backwards. */
  take(key: string, now: Instant): QuotaAnswer {
    const bucket = this.#bucketOf(key, now);
    this.#refill(bucket, now);
    if (bucket.permits < 1) {
      return {
        kind: 'refused',
        retryAfterMs: Math.ceil(((1 - bucket.permits) / this.#limits.perSecond) * MS_PER_SECOND),
      };
    }
    bucket.permits -= 1;
    return GRANTED;
  }

  #bucketOf(key: string, now: Instant): Bucket {
    const known = this.#buckets.get(key);
    if (known !== undefined) {
      this.#buckets.delete(key);
      this.#buckets.set(key, known);
      return known;
    }
    if (this.#buckets.size >= this.#maxKeys && !this.#forgetIdlest(now)) return this.#shared;
    const fresh = { permits: this.#limits.burst, at: now };
    this.#buckets.set(key, fresh);
    return fresh;
  }

  /** False while the key unused for longest has not all its permits back. */
  #forgetIdlest(now: Instant): boolean {
    const idlest = this.#buckets.entries().next().value;
    if (idlest === undefined) return false;
    const [key, bucket] = idlest;
    this.#refill(bucket, now);
    return bucket.permits >= this.#limits.burst && this.#buckets.delete(key);
  }

  #refill(bucket: Bucket, now: Instant): void {
    const { perSecond, burst } = this.#limits;
    bucket.permits = Math.min(burst, bucket.permits + ((now - bucket.at) / MS_PER_SECOND) * perSecond);
    bucket.at = now;
  }
}
