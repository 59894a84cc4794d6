import assert from 'node:assert/strict';
import { StoreError } from '../errors.ts';
import type { Outcome } from '../errors.ts';
import { EVERY_KEY } from '../store.ts';
import type { Store } from '../store.ts';
import type { KeyValue, StoreEvent } from '../types.ts';
import type { WatchEvent, WatchRequest } from '../watch.ts';

/** The answer; a refusal fails the test. */
export function must<T>(outcome: Outcome<T>): T {
  if (outcome instanceof StoreError) throw outcome;
  return outcome;
}

/** Every key at every revision that can be read, then every event: all that a client can know. */
export function viewOf(store: Store): unknown {
  const past = [];
  for (let revision = oldestOf(store); revision <= store.revision; revision += 1n) {
    past.push(must(store.range({ ...EVERY_KEY, revision })).kvs);
  }
  const events = told(store, { ...EVERY_KEY, startRevision: oldestOf(store), prevKv: true });
  return { revision: store.revision, compactRevision: store.compactRevision, past, events };
}

export function oldestOf(store: Store): bigint {
  return store.compactRevision > 1n ? store.compactRevision : 1n;
}

/** What a watch tells from its start until now, read in small pieces. */
export function told(store: Store, request: WatchRequest, maxBytes = 200): readonly WatchEvent[] {
  const id = must(store.createWatch(request));
  const events: WatchEvent[] = [];
  for (let batch = store.readWatch(id, maxBytes); batch !== undefined; batch = store.readWatch(id, maxBytes)) {
    assert.equal(batch.type, 'events');
    if (batch.type === 'events') events.push(...batch.events);
  }
  assert.ok(store.isWatchInStep(id));
  store.cancelWatch(id);
  return events;
}

/** What a history of events leaves behind. */
export function fold(events: readonly StoreEvent[]): readonly KeyValue[] {
  const kvs = new Map<string, KeyValue>();
  for (const event of events) {
    if (event.type === 'put') kvs.set(event.kv.key, event.kv);
    else kvs.delete(event.kv.key);
  }
  return [...kvs.keys()].sort().flatMap((each) => kvs.get(each) ?? []);
}
