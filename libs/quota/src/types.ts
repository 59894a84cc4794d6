/** Monotonic milliseconds. */
export type Instant = number;

/** How much one key may have. */
export interface QuotaLimits {
  /** Tokens that come back per second. */
  readonly perSecond: number;
  /** Tokens a key that was idle has. */
  readonly burst: number;
}
