/** Milliseconds on a monotonic clock whose zero means nothing. Never goes backwards. */
export type Instant = number;
