import type { Instant, Random } from './time.ts';

/** Ceilings of a backoff, in milliseconds. */
export interface BackoffLimits {
  readonly minMs: number;
  readonly maxMs: number;
}

/**
 * Full jitter: uniform in [0, ceiling], the ceiling doubling with each attempt. Full jitter spreads a herd best, because
 * no instant is preferred (AWS Architecture Blog, "Exponential Backoff And Jitter").
 */
export function fullJitterMs(attempts: number, limits: BackoffLimits, random: Random, site: string): number {
  const ceiling = Math.min(limits.maxMs, limits.minMs * 2 ** Math.min(attempts, 30));
  return Math.floor(random.next(site) * (ceiling + 1));
}

/** Uniform in [low, high) milliseconds. */
export function spreadMs(low: number, high: number, random: Random, site: string): number {
  return Math.floor(low + random.next(site) * (high - low));
}

/** The earlier of two instants, either of which may be absent. */
export function earliest(a: Instant | undefined, b: Instant | undefined): Instant | undefined {
  if (a === undefined) return b;
  return b === undefined || a < b ? a : b;
}
