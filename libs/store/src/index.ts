export { FROM_KEY, isKey, key, keyRange, prefixEnd } from './bytes.ts';
export type { Key, KeyRange } from './bytes.ts';
export { ERRORS, StoreError } from './errors.ts';
export type { Outcome, StatusCode } from './errors.ts';
export type { LeaseGrant, LeaseTimeToLive } from './lease.ts';
export { EVERY_KEY, Store, emptyState, replayState } from './store.ts';
export type { StoreConfig, StoreRecord, StoreState } from './store.ts';
export type * from './types.ts';
export type { WatchBatch, WatchEvent, WatchId, WatchRequest } from './watch.ts';
