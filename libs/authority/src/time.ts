/** Milliseconds on a monotonic clock whose zero means nothing. Never goes backwards; wall-clock jumps do not show in it. */
export type Instant = number;

/** Chance as an argument. Every draw names its site, so that a simulator can key draws by it. */
export interface Random {
  /** A number in [0, 1). */
  next(site: string): number;
}
