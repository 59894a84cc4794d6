/** Milliseconds on a monotonic clock whose zero means nothing. Never goes backwards; wall-clock jumps do not show in it. */
export type Instant = number;
