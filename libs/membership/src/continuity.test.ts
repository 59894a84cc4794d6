import assert from 'node:assert/strict';
import { test } from 'node:test';
import { continuityKey, EPOCH_KEY } from './keys.ts';
import { Bench } from './testing/bench.ts';

/** A replica that starts on the store of another one, which has attended root proxies. */
function successor(): Bench {
  const before = new Bench({ boot: 'before' });
  before.attach('p1').acquire(1n, 'berlin');
  return new Bench({ boot: 'after' }, before.store);
}

function epochOf(bench: Bench): bigint {
  return BigInt(bench.store.kvs.get(EPOCH_KEY)?.value ?? '0');
}

test('a new store has nothing to go on from: root proxies are registered at once', () => {
  const bench = new Bench();
  bench.attach('p1');
  assert.equal(epochOf(bench), 1n);
});

test('a replica that finds nobody who remembers the store raises the epoch before it registers a root proxy', () => {
  const bench = successor();
  const session = bench.open('p2').hello('p2', 'two');
  bench.pass(999);
  assert.deepEqual(session.all('welcome'), []);
  bench.pass(1);
  assert.ok(epochOf(bench) > 1n);
  assert.ok(session.only('welcome').incarnation >= 1n << 44n, 'above all that was given in a time that may be lost');
  assert.equal(bench.store.kvs.has(continuityKey('after')), false, 'leaves nothing behind');
});

test('what another replica vouches for goes on in its epoch', () => {
  const bench = successor();
  const session = bench.open('p2').hello('p2', 'two');
  const asked = bench.store.kvs.get(continuityKey('after'));
  assert.ok(asked !== undefined);
  bench.store.write({ type: 'put', key: asked.key, value: 'vouched', lease: asked.lease });
  bench.pause(1);
  bench.pass(1);
  session.only('welcome');
  assert.equal(epochOf(bench), 1n);
});

test('a replica that knows the store vouches for it, under the lease of who asks', () => {
  const bench = new Bench({ boot: 'before' });
  bench.attach('p1');
  const put = { type: 'put', key: continuityKey('after'), value: 'asked', lease: 0n } as const;
  bench.store.write(put);
  bench.pause(1);
  assert.equal(bench.store.kvs.get(put.key)?.value, 'vouched');
});

test('a root proxy that has seen no more than the store has vouches for it', () => {
  const bench = successor();
  const witness = bench.open('p1');
  witness.hello('p1', 'p1-nonce', { epoch: 1n, revision: 1n });
  witness.only('welcome');
  bench.open('p2').hello('p2', 'two').only('welcome');
  assert.equal(epochOf(bench), 1n);
});

test('what a registry signed about a revision that the store has not reached raises the epoch', () => {
  const bench = new Bench();
  const session = bench.attach('p1');
  session.say({ type: 'evidence', stamp: { epoch: 1n, revision: bench.store.revision } });
  assert.equal(epochOf(bench), 1n);
  session.say({ type: 'evidence', stamp: { epoch: 7n, revision: 1n } });
  bench.pause(1);
  assert.equal(epochOf(bench), 8n);
});
