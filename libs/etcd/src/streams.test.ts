import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import type { LeaseId } from '@xylem/membership';
import { etcdctl, startEtcd, startEtcdCluster } from '@xylem/testkit';
import type { EtcdProcess } from '@xylem/testkit';
import { put, Recorder, resultOf } from './testing/recorder.ts';

async function connected(t: TestContext): Promise<{ readonly etcd: EtcdProcess; readonly client: Recorder }> {
  const etcd = await startEtcd();
  const client = new Recorder([etcd.endpoint]);
  t.after(async () => {
    client.store.close();
    await etcd.dispose();
  });
  return { etcd, client };
}

function grant(client: Recorder): Promise<LeaseId> {
  return client.store
    .run({ type: 'leaseGrant', ttlMs: 60_000 }, 2_000)
    .then((outcome) => resultOf(outcome, 'leaseGrant').lease);
}

test(
  'keepalives are acknowledged with the time they were sent; a lease that is gone has no time left',
  { timeout: 30_000 },
  async (t) => {
    const { client } = await connected(t);
    const lease = await grant(client);
    const before = performance.now();
    client.store.keepAlive(lease);
    client.store.keepAlive(4_711n);
    const ack = await client.until('acknowledgement', (event) =>
      event.type === 'leaseKeptAlive' && event.lease === lease ? event : undefined,
    );
    assert.ok(ack.sentAt >= before && ack.sentAt <= performance.now());
    assert.equal(ack.ttlMs, 60_000);
    const gone = await client.until('answer', (event) =>
      event.type === 'leaseKeptAlive' && event.lease === 4_711n ? event : undefined,
    );
    assert.equal(gone.ttlMs, 0);
  },
);

test('a keepalive that a broken connection owed is sent again, with its new time', { timeout: 30_000 }, async (t) => {
  const { etcd, client } = await connected(t);
  const lease = await grant(client);
  client.store.keepAlive(lease);
  await client.until('acknowledgement', (event) => (event.type === 'leaseKeptAlive' ? event : undefined));
  etcd.stop();
  client.store.keepAlive(lease);
  await etcd.kill();
  const killedAt = performance.now();
  await etcd.restart();
  const ack = await client.until('second acknowledgement', (event) =>
    event.type === 'leaseKeptAlive' && event.sentAt >= killedAt ? event : undefined,
  );
  assert.equal(ack.lease, lease);
  t.diagnostic(`acknowledged ${Math.round(performance.now() - killedAt)} ms after the kill, start of etcd included`);
});

test(
  'a watch tells everything from its revision on, also what happened before it was opened',
  { timeout: 30_000 },
  async (t) => {
    const { client } = await connected(t);
    const first = await client.write(put('/xylem/v1/a', '1'));
    await client.write(put('/elsewhere', 'x'));
    await client.write({ type: 'delete', key: '/xylem/v1/a' });
    client.store.openWatch(1, first);
    await client.opened(1);
    const last = await client.write(put('/xylem/v1/b', '2'), put('/xylem/v1/c', '3'));
    await client.until('the last revision', (event) =>
      event.type === 'watchAdvanced' && event.revision === last ? event : undefined,
    );
    assert.deepEqual(
      client
        .told(1)
        .map((event) =>
          event.type === 'put'
            ? `${event.kv.key}=${event.kv.value}@${event.kv.modRevision}`
            : `-${event.key}@${event.modRevision}`,
        ),
      [`/xylem/v1/a=1@${first}`, `-/xylem/v1/a@${first + 2n}`, `/xylem/v1/b=2@${last}`, `/xylem/v1/c=3@${last}`],
    );
  },
);

test('an answer that etcd splits arrives whole', { timeout: 30_000 }, async (t) => {
  const { client } = await connected(t);
  const value = 'x'.repeat(500_000);
  const first = await client.write(put('/xylem/v1/k0', value));
  for (let index = 1; index < 12; index += 1) await client.write(put(`/xylem/v1/k${index}`, value));
  client.store.openWatch(1, first);
  await client.until('the last revision', (event) =>
    event.type === 'watchAdvanced' && event.revision === first + 11n ? event : undefined,
  );
  assert.deepEqual(
    client.told(1).map((event) => (event.type === 'put' ? event.kv.modRevision - first : -1n)),
    Array.from({ length: 12 }, (_, index) => BigInt(index)),
  );
});

test('a watch from a compacted revision says so', { timeout: 30_000 }, async (t) => {
  const { etcd, client } = await connected(t);
  const first = await client.write(put('/xylem/v1/a', '1'));
  const second = await client.write(put('/xylem/v1/a', '2'));
  await etcdctl(etcd.endpoint, ['compact', `${second}`]);
  client.store.openWatch(1, first);
  await client.until('compaction', (event) => (event.type === 'watchCompacted' ? event : undefined));
  client.store.openWatch(2, second);
  await client.until('the event', (event) => (event.type === 'watchAdvanced' && event.watch === 2 ? event : undefined));
});

test(
  'a watch on a store that is killed or stands still ends, and none of what a closed one would tell is told',
  { timeout: 30_000 },
  async (t) => {
    const { etcd, client } = await connected(t);
    const lost = (watch: number): Promise<unknown> =>
      client.until(`loss of watch ${watch}`, (event) =>
        event.type === 'watchLost' && event.watch === watch ? event : undefined,
      );
    client.store.openWatch(1, 1n);
    await client.opened(1);
    await etcd.kill();
    await lost(1);
    client.store.openWatch(2, 1n);
    await lost(2);
    await etcd.restart();
    client.store.openWatch(3, 1n);
    await client.opened(3);
    const stoppedAt = performance.now();
    etcd.stop();
    await lost(3);
    t.diagnostic(`a watch on a stopped etcd was given up after ${Math.round(performance.now() - stoppedAt)} ms`);
    etcd.resume();
    client.store.openWatch(4, 1n);
    await client.opened(4);
    client.store.closeWatch(4);
    client.store.openWatch(5, 1n);
    const revision = await client.write(put('/xylem/v1/a', '1'));
    await client.until('the event', (event) =>
      event.type === 'watchAdvanced' && event.watch === 5 && event.revision === revision ? event : undefined,
    );
    assert.deepEqual(client.told(4), []);
  },
);

test('an idle watch stays open', { timeout: 30_000 }, async (t) => {
  const { client } = await connected(t);
  client.store.openWatch(1, 1n);
  await client.opened(1);
  const quiet = Promise.withResolvers<void>();
  setTimeout(quiet.resolve, 4_500);
  await quiet.promise;
  assert.deepEqual(
    client.events.map(({ type }) => type),
    ['watchOpened'],
  );
});

test('watching goes on over changes of the leader, two in a row, without a gap', { timeout: 90_000 }, async (t) => {
  const cluster = await startEtcdCluster(3);
  const client = new Recorder(cluster.endpoints);
  t.after(async () => {
    client.store.close();
    await cluster.dispose();
  });
  const follower = follow(client);
  let written = 0;
  const write = async (): Promise<void> => {
    const key = `/xylem/v1/n${written + 1}`;
    const guarded = {
      type: 'txn',
      compares: [{ key, target: 'create', equals: 0n }],
      success: [put(key, 'x')],
      failure: [],
    } as const;
    for (;;) {
      const outcome = await client.store.run(guarded, 1_000);
      if (outcome.status === 'done') break;
    }
    written += 1;
  };
  const lost = (watch: number): Promise<unknown> =>
    client.until(`loss of watch ${watch}`, (event) =>
      event.type === 'watchLost' && event.watch === watch ? event : undefined,
    );
  const [first, second] = cluster.members;
  await write();
  first?.stop();
  await write();
  await lost(1);
  for (let count = 0; count < 5; count += 1) await write();
  first?.resume();
  await second?.kill();
  await lost(2);
  for (let count = 0; count < 5; count += 1) await write();
  await second?.restart();
  await first?.kill();
  for (let count = 0; count < 5; count += 1) await write();
  await client.until('every key', () => {
    follower.read();
    return follower.keys.size === written ? true : undefined;
  });
  assert.deepEqual(
    [...follower.keys],
    Array.from({ length: written }, (_, index) => `/xylem/v1/n${index + 1}`),
    'in order, each once',
  );
  t.diagnostic(`${follower.watches} watches for ${written} keys`);
});

/** The rule of going on: from the last event's revision + 1, however often the watch is lost. */
function follow(client: Recorder): { readonly keys: Set<string>; watches: number; read(): void } {
  const state = { keys: new Set<string>(), watches: 1, read };
  let next = 1n;
  let seen = 0;
  function read(): void {
    for (; seen < client.events.length; seen += 1) {
      const event = client.events[seen];
      if (event?.type === 'watchAdvanced' && event.watch === state.watches) {
        assert.ok(event.revision >= next, 'revisions rise');
        next = event.revision + 1n;
        for (const change of event.events) {
          if (change.type !== 'put') continue;
          assert.ok(!state.keys.has(change.kv.key), 'nothing is told twice');
          state.keys.add(change.kv.key);
        }
      } else if (event?.type === 'watchLost' && event.watch === state.watches) {
        state.watches += 1;
        client.store.openWatch(state.watches, next);
      }
    }
  }
  client.store.openWatch(1, next);
  const timer = setInterval(read, 20);
  timer.unref();
  return state;
}
