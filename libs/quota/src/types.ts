/** Monotonic milliseconds. */
export type Instant = number;

/** How often one key may have something. */
export interface RateLimits {
  /** Permits that come back per second; more than 0. */
  readonly perSecond: number;
  /** Permits of a key that was idle; at least 1. */
  readonly burst: number;
}

/** An answer to who asks for one more. */
export type QuotaAnswer =
  | { readonly kind: 'granted' }
  /** `retryAfterMs`: when there is one again, should nobody else take it; 0 where that depends on others. */
  | { readonly kind: 'refused'; readonly retryAfterMs: number };
