import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FROM_KEY, key } from './bytes.ts';
import { ERRORS } from './errors.ts';
import { EVERY_KEY, Store } from './store.ts';
import { must } from './testing/view.ts';
import type { WatchBatch } from './watch.ts';

const PLENTY = 1_000_000;

function newStore(): Store {
  return new Store({}, { next: () => 0.5 }, 0);
}

function put(store: Store, name: string, bytes = 1): bigint {
  return must(store.put({ key: key(name), value: new Uint8Array(bytes) }, 0)).revision;
}

function keysOf(batch: WatchBatch | undefined): readonly string[] {
  return batch?.type === 'events' ? batch.events.map(({ kv }) => kv.key) : [];
}

test('a watch is named once when it becomes readable, and again after it was read to the end', () => {
  const store = newStore();
  const id = must(store.createWatch({ key: key('a') }));
  assert.equal(store.pollReadyWatch(), undefined);
  put(store, 'b');
  assert.equal(store.pollReadyWatch(), undefined);
  put(store, 'a');
  put(store, 'a');
  assert.equal(store.pollReadyWatch(), id);
  assert.equal(store.pollReadyWatch(), undefined);
  assert.deepEqual(keysOf(store.readWatch(id, PLENTY)), ['a', 'a']);
  assert.equal(store.readWatch(id, PLENTY), undefined);
  put(store, 'a');
  assert.equal(store.pollReadyWatch(), id);
});

test('a watch that reads nothing keeps only its place, and is cancelled when compaction passes it', () => {
  const store = newStore();
  const slow = must(store.createWatch(EVERY_KEY));
  const idle = must(store.createWatch({ key: key('nothing') }));
  put(store, 'a');
  const kept = put(store, 'b');
  must(store.compact(kept, 0));
  assert.deepEqual(store.readWatch(slow, PLENTY), { type: 'compacted', compactRevision: kept });
  assert.equal(store.readWatch(slow, PLENTY), undefined);
  assert.equal(store.cancelWatch(slow), false);
  assert.ok(store.isWatchInStep(idle));
  put(store, 'nothing');
  assert.deepEqual(keysOf(store.readWatch(idle, PLENTY)), ['nothing']);
});

test('reading stops at whole revisions once the bound is reached', () => {
  const store = newStore();
  const id = must(store.createWatch(EVERY_KEY));
  for (const name of ['a', 'b', 'c']) put(store, name, 600);
  const pieces = [1, 2, 3].map(() => keysOf(store.readWatch(id, 1_000)));
  assert.deepEqual(pieces, [['a', 'b'], ['c'], []]);
});

test('one large revision is divided only for a watch that allows it', () => {
  const store = newStore();
  const divided = must(store.createWatch({ ...EVERY_KEY, fragment: true }));
  const whole = must(store.createWatch(EVERY_KEY));
  const success = ['a', 'b', 'c'].map((name) => {
    return { type: 'put', request: { key: key(name), value: new Uint8Array(600) } } as const;
  });
  must(store.txn({ success }, 0));
  assert.deepEqual(keysOf(store.readWatch(whole, 1_000)), ['a', 'b', 'c']);
  const first = store.readWatch(divided, 1_000);
  assert.deepEqual([keysOf(first), first?.type === 'events' && first.fragment], [['a', 'b'], true]);
  const second = store.readWatch(divided, 1_000);
  assert.deepEqual([keysOf(second), second?.type === 'events' && second.fragment], [['c'], false]);
});

test('a long history without a match is passed over, not reported', () => {
  const store = newStore();
  for (let index = 0; index < 3_000; index += 1) put(store, 'busy');
  const id = must(store.createWatch({ key: key('quiet'), startRevision: 2n }));
  assert.equal(store.pollReadyWatch(), id);
  assert.equal(store.readWatch(id, PLENTY), undefined);
  assert.ok(store.isWatchInStep(id));
});

test('a range that can hold no key is refused', () => {
  const store = newStore();
  assert.equal(store.createWatch({ key: key('b'), rangeEnd: key('a') }), ERRORS.emptyWatchRange);
  assert.equal(store.createWatch({ key: key('b'), rangeEnd: key('b') }), ERRORS.emptyWatchRange);
  must(store.createWatch({ key: key('b'), rangeEnd: FROM_KEY }));
});

test('a cancelled watch is not heard of again', () => {
  const store = newStore();
  const id = must(store.createWatch({ key: key('a') }));
  put(store, 'a');
  assert.ok(store.cancelWatch(id));
  assert.equal(store.pollReadyWatch(), undefined);
  assert.equal(store.readWatch(id, PLENTY), undefined);
  assert.equal(store.cancelWatch(id), false);
});
