import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FROM_KEY, isKey, key, prefixEnd } from './bytes.ts';
import { ERRORS } from './errors.ts';
import { EVERY_KEY, Store, replayState } from './store.ts';
import type { StoreConfig } from './store.ts';
import { operations, perform } from './testing/operations.ts';
import { Recorder } from './testing/record.ts';
import { fold, must, oldestOf, told, viewOf } from './testing/view.ts';
import type { Random } from './types.ts';

const VALUE = new Uint8Array([1]);

function seeded(): Random {
  let draws = 0;
  return { next: () => ((draws += 1) * 0.618_033_988_749_895) % 1 };
}

function storeWith(config: StoreConfig = {}): Store {
  return new Store({ minLeaseTtlSeconds: 1, ...config }, seeded(), 0);
}

function put(store: Store, name: string, now = 0, lease = 0n): bigint {
  return must(store.put({ key: key(name), value: VALUE, lease }, now)).revision;
}

test('what was written down makes the same store again, past and watches included', () => {
  fc.assert(
    fc.property(operations, (list) => {
      const store = storeWith({ journal: true });
      const recorder = new Recorder();
      let now = 0;
      for (const operation of list) {
        now = perform(store, operation, now);
        recorder.follow(store);
      }
      const again = new Store({ minLeaseTtlSeconds: 1 }, seeded(), now, recorder.replay(now));
      assert.deepEqual(viewOf(again), viewOf(store));
      assert.deepEqual(again.leases(now).map(String).sort(), store.leases(now).map(String).sort());
      for (const id of store.leases(now)) {
        assert.deepEqual(again.leaseTimeToLive(id, now)?.keys, store.leaseTimeToLive(id, now)?.keys);
      }
      assert.equal(again.sizeBytes, store.sizeBytes);
    }),
  );
});

test('events add up to the keys, at every revision', () => {
  fc.assert(
    fc.property(operations, (list) => {
      const store = storeWith();
      let now = 0;
      for (const operation of list) now = perform(store, operation, now);
      const oldest = oldestOf(store);
      const before = must(store.range({ ...EVERY_KEY, revision: oldest })).kvs.map(
        (kv) => ({ type: 'put', kv }) as const,
      );
      const later = told(store, { ...EVERY_KEY, startRevision: oldest + 1n });
      for (let revision = oldest; revision <= store.revision; revision += 1n) {
        const upTo = later.filter((event) => event.kv.modRevision <= revision);
        assert.deepEqual(fold([...before, ...upTo]), must(store.range({ ...EVERY_KEY, revision })).kvs);
      }
    }),
  );
});

test('compaction changes no answer that can still be given', () => {
  fc.assert(
    fc.property(operations, fc.bigInt({ min: 0n, max: 60n }), (list, back) => {
      const store = storeWith({ journal: true });
      let now = 0;
      for (const operation of list) now = perform(store, operation, now);
      const whole = new Store({}, seeded(), now, store.snapshot());
      const target = store.revision - back;
      if (store.compact(target, now) instanceof Error || target < 1n) return;
      for (let revision = target; revision <= store.revision; revision += 1n) {
        assert.deepEqual(must(store.range({ ...EVERY_KEY, revision })), must(whole.range({ ...EVERY_KEY, revision })));
      }
      const range = { ...EVERY_KEY, startRevision: target + 1n, prevKv: true };
      assert.deepEqual(told(store, range), told(whole, range));
      assert.equal(store.range({ ...EVERY_KEY, revision: target - 1n }) instanceof Error, target > 1n);
    }),
  );
});

test('compaction to the newest revision leaves one write for each key, and that revision', () => {
  fc.assert(
    fc.property(operations, (list) => {
      const store = storeWith({ journal: true });
      const recorder = new Recorder();
      let now = 0;
      for (const operation of list) now = perform(store, operation, now);
      store.compact(store.revision, now);
      recorder.follow(store);
      const newest = told(store, { ...EVERY_KEY, startRevision: store.revision });
      const elder = must(store.range(EVERY_KEY)).kvs.filter((kv) => kv.modRevision < store.revision);
      assert.equal(recorder.size, elder.length + newest.length);
    }),
  );
});

test('a restored snapshot knows nothing of what came after, nor of its other copies', () => {
  const store = storeWith();
  put(store, 'a');
  must(store.grantLease(7n, 10n, 0));
  const backup = store.snapshot();
  put(store, 'b');
  put(store, 'c');
  const restored = new Store({}, seeded(), 0, backup);
  assert.equal(restored.revision, 2n);
  put(restored, 'x');
  const twice = new Store({}, seeded(), 0, backup);
  put(twice, 'y');
  const keysOf = (each: Store): readonly string[] => must(each.range(EVERY_KEY)).kvs.map((kv) => kv.key);
  assert.deepEqual([store, restored, twice].map(keysOf), [
    ['a', 'b', 'c'],
    ['a', 'x'],
    ['a', 'y'],
  ]);
  assert.deepEqual([restored.leases(0), twice.leases(0)], [[7n], [7n]]);
});

test('a snapshot costs the same whatever the store holds', () => {
  const store = storeWith();
  for (let index = 0; index < 20_000; index += 1) put(store, `k${index % 500}`);
  const { keyspace } = store.snapshot();
  assert.equal(keyspace.history.get(2n), store.snapshot().keyspace.history.get(2n), 'history is shared');
});

test('leases end on time, in the order of their ends, each in a revision of its own', () => {
  const store = storeWith();
  must(store.grantLease(1n, 3n, 0));
  must(store.grantLease(2n, 2n, 0));
  put(store, 'later', 0, 1n);
  put(store, 'sooner', 0, 2n);
  assert.equal(store.nextTimeout(), 2_000);
  store.advance(1_999);
  assert.equal(must(store.range(EVERY_KEY)).count, 2);
  store.advance(5_000);
  const events = told(store, { ...EVERY_KEY, startRevision: 4n });
  assert.deepEqual(
    events.map(({ type, kv }) => [type, kv.key, kv.modRevision]),
    [
      ['delete', 'sooner', 4n],
      ['delete', 'later', 5n],
    ],
  );
  assert.equal(store.nextTimeout(), undefined);
});

test('a keepalive gives the whole time again, but not after the end', () => {
  const store = storeWith();
  must(store.grantLease(1n, 2n, 0));
  assert.equal(store.keepLeaseAlive(1n, 1_900)?.ttlSeconds, 2n);
  store.advance(3_800);
  assert.equal(store.leaseTimeToLive(1n, 3_800)?.remainingMs, 100);
  assert.equal(store.keepLeaseAlive(1n, 3_900), undefined);
  assert.deepEqual(store.leases(3_900), []);
});

test('a write that comes after the end of its lease finds the lease gone', () => {
  const store = storeWith();
  must(store.grantLease(1n, 2n, 0));
  assert.equal(store.put({ key: key('a'), lease: 1n }, 2_000), ERRORS.leaseNotFound);
});

test('leases have their whole time again after a restart', () => {
  const store = storeWith();
  must(store.grantLease(1n, 10n, 0));
  put(store, 'a', 0, 1n);
  const again = new Store({}, seeded(), 9_000, store.snapshot());
  assert.deepEqual(again.leaseTimeToLive(1n, 9_000), { id: 1n, ttlSeconds: 10n, remainingMs: 10_000, keys: ['a'] });
});

test('lease ids that the store chooses are positive and free', () => {
  const draws = [0, 0, 0.5, 0.5, 0.5, 0.5, 0.999_999, 0.999_999];
  const store = new Store({}, { next: () => draws.shift() ?? 0.25 }, 0);
  const ids = [1, 2, 3].map(() => must(store.grantLease(0n, 10n, 0)).id);
  assert.equal(new Set(ids).size, 3);
  assert.ok(ids.every((id) => id > 0n && id < 2n ** 63n));
});

test('history is compacted by count, and by age, a little at a time', () => {
  const counted = storeWith({ keepRevisions: 80 });
  for (let index = 0; index < 200; index += 1) put(counted, 'k');
  const kept = Number(counted.revision - counted.compactRevision);
  assert.ok(kept >= 80 && kept <= 91, `${kept} are kept`);
  const aged = storeWith({ keepMs: 8_000 });
  for (let second = 0; second < 20; second += 1) put(aged, 'k', second * 1_000);
  const oldest = must(aged.range({ ...EVERY_KEY, revision: aged.compactRevision }));
  assert.ok(oldest.count === 1 && aged.revision - aged.compactRevision <= 10n);
  aged.advance(aged.nextTimeout() ?? 0);
  assert.ok(aged.revision - aged.compactRevision <= 9n);
});

test('a store that is full refuses writes until there is room again', () => {
  const store = storeWith({ quotaBytes: 2_000 });
  let written = 0;
  while (!(store.put({ key: key('k'), value: VALUE }, 0) instanceof Error)) written += 1;
  assert.ok(store.isFull && written > 0);
  assert.equal(store.put({ key: key('k') }, 0), ERRORS.noSpace);
  assert.equal(store.grantLease(0n, 10n, 0), ERRORS.noSpace);
  assert.equal(must(store.txn({ success: [{ type: 'range', request: EVERY_KEY }] }, 0)).succeeded, true);
  must(store.compact(store.revision, 0));
  put(store, 'k');
});

test('history gives way before writes are refused', () => {
  const store = storeWith({ quotaBytes: 100_000, keepRevisions: 10_000 });
  const value = new Uint8Array(1_000);
  for (let index = 0; index < 1_000; index += 1) must(store.put({ key: key(`k${index % 10}`), value }, 0));
  assert.ok(store.sizeBytes < 100_000);
  assert.ok(store.revision - store.compactRevision > 10n, 'some history is left');
});

test('nested transactions share one bound of operations', () => {
  const store = storeWith({ maxTxnOps: 4 });
  const puts = (count: number, prefix: string) =>
    Array.from({ length: count }, (_, index) => ({ type: 'put', request: { key: key(`${prefix}${index}`) } }) as const);
  must(store.txn({ success: [...puts(1, 'a'), { type: 'txn', request: { success: puts(2, 'b') } }] }, 0));
  const tooMany = { success: [...puts(1, 'a'), { type: 'txn', request: { success: puts(3, 'b') } } as const] };
  assert.equal(store.txn(tooMany, 0), ERRORS.tooManyOps);
});

test('a record with a gap is refused, not guessed at', () => {
  const kv = { key: key('a'), value: VALUE, createRevision: 2n, sub: 0, version: 1n, lease: 0n };
  const writes = [2n, 4n].map((modRevision) => ({ type: 'put', kv: { ...kv, modRevision } }) as const);
  assert.throws(() => replayState({ writes, leases: [], compactRevision: -1n }, 0), /revision 3 is missing/);
  assert.throws(() => replayState({ writes: writes.reverse(), leases: [], compactRevision: -1n }, 0), /comes after/);
});

test('keys are bytes: prefixes end where the next one begins', () => {
  assert.equal(prefixEnd(key('a')), 'b');
  assert.equal(prefixEnd(key('a\xff')), 'b');
  assert.equal(prefixEnd(key('\xff\xff')), FROM_KEY);
  assert.equal(isKey('ключ'), false);
  assert.throws(() => key('ключ'), /one character per byte/);
});
