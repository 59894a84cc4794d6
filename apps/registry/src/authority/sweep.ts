import { IDENTITIES_PREFIX, decodeIdentity, unchanged } from '@xylem/authority';
import type { AuthorityStore } from './store.ts';

const DAY_MS = 24 * 60 * 60_000;
/** A machine that was switched off for a month still finds its name taken by itself. */
const KEPT_AFTER_END_MS = 30 * DAY_MS;
const BATCH = 64;

/**
 * Forgets who has not been seen for a month after the end of the last certificate; locks are kept. Returns how many. Rejects with a
 * StoreDownError.
 */
export async function forgetLongGone(store: AuthorityStore, nowMs: number): Promise<number> {
  const gone = (await store.list(IDENTITIES_PREFIX, decodeIdentity)).filter(
    ({ record }) => record !== undefined && record.lock === undefined && record.notAfterMs + KEPT_AFTER_END_MS < nowMs,
  );
  let forgotten = 0;
  for (let at = 0; at < gone.length; at += BATCH) {
    const batch = gone.slice(at, at + BATCH);
    const steps = batch.map(({ key }) => ({ type: 'delete' as const, key }));
    // One that renews at this very moment keeps its whole batch for the next time.
    if (await store.commit({ compares: batch.map(unchanged), steps })) forgotten += batch.length;
  }
  return forgotten;
}
