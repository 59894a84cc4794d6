import { joinedBerlin, renewUnderLoad } from '../e2e/support/berlin.ts';
import type { RenewalReport } from '../e2e/support/berlin.ts';

/** Shorter certificates are renewed all the time, and never get old. */
const TTL_MIN_MS = 10_000;

/** Certificates of `ttlMs`, renewed `count` times by each member under load. Rejects when a connection was lost. */
export async function soakRenewals(ttlMs: number, count: number): Promise<RenewalReport & { readonly ttlMs: number }> {
  if (ttlMs < TTL_MIN_MS) throw new Error(`Certificates have to live for ${TTL_MIN_MS / 1_000} s at least.`);
  const berlin = await joinedBerlin(ttlMs);
  try {
    // Twice as long as renewals take that come at half of the life.
    return { ttlMs, ...(await renewUnderLoad(berlin, count, (count + 1) * ttlMs)) };
  } finally {
    await berlin.close();
  }
}
