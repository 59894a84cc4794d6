import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import type { StoreOutcome } from '@xylem/membership';
import { etcdctl, startEtcd, startEtcdCluster } from '@xylem/testkit';
import { parseEndpoints } from './endpoints.ts';
import { failureOf } from './outcome.ts';
import { doneOf, put, Recorder, resultOf } from './testing/recorder.ts';

const A = '/xylem/v1/a';
const ALL = { type: 'range', key: '/xylem/v1/', end: '/xylem/v10', revision: 0n, limit: 100 } as const;

function recorder(t: TestContext, endpoints: readonly string[]): Recorder {
  const made = new Recorder(endpoints);
  t.after(() => made.store.close());
  return made;
}

test('transactions compare, write and read in one revision', { timeout: 30_000 }, async (t) => {
  const etcd = await startEtcd();
  t.after(() => etcd.dispose());
  const { store } = recorder(t, [etcd.endpoint]);
  const acquire = (value: string): Promise<StoreOutcome> =>
    store.run(
      {
        type: 'txn',
        compares: [{ key: A, target: 'create', equals: 0n }],
        success: [put(A, value)],
        failure: [{ type: 'get', key: A }],
      },
      2_000,
    );
  const first = doneOf(await acquire('one'));
  const second = resultOf(await acquire('two'), 'txn');
  assert.equal(second.succeeded, false);
  assert.deepEqual(second.steps[0], {
    key: A,
    value: 'one',
    createRevision: first.header.revision,
    modRevision: first.header.revision,
    lease: 0n,
  });
  const byValue = {
    type: 'txn',
    compares: [{ key: A, target: 'value', equals: 'one' }],
    success: [{ type: 'delete', key: A }],
    failure: [],
  } as const;
  assert.equal(resultOf(await store.run(byValue, 2_000), 'txn').succeeded, true);
  assert.deepEqual(resultOf(await store.run(ALL, 2_000), 'range').kvs, []);
});

test('lists come in pages as of one revision', { timeout: 30_000 }, async (t) => {
  const etcd = await startEtcd();
  t.after(() => etcd.dispose());
  const client = recorder(t, [etcd.endpoint]);
  await client.write(put('/xylem/v1/a', '1'), put('/xylem/v1/b', '2'), put('/xylem/v1/c', '3'));
  const first = doneOf(await client.store.run({ ...ALL, limit: 2 }, 2_000));
  await client.write(put('/xylem/v1/d', 'later'));
  const page = { ...ALL, key: '/xylem/v1/b\0', revision: first.header.revision, limit: 2 };
  const rest = resultOf(await client.store.run(page, 2_000), 'range');
  assert.deepEqual(
    [first.result.type === 'range' && first.result.more, rest.more, rest.kvs.map(({ key }) => key)],
    [true, false, ['/xylem/v1/c']],
  );
  await etcdctl(etcd.endpoint, ['compact', `${first.header.revision + 1n}`]);
  const gone = await client.store.run(page, 2_000);
  assert.deepEqual(gone.status === 'failed' && gone.cause, 'compacted');
});

test(
  'a lease takes its keys with it, and a key cannot be put under one that is gone',
  { timeout: 30_000 },
  async (t) => {
    const etcd = await startEtcd();
    t.after(() => etcd.dispose());
    const client = recorder(t, [etcd.endpoint]);
    const granted = resultOf(await client.store.run({ type: 'leaseGrant', ttlMs: 10_000 }, 2_000), 'leaseGrant');
    assert.equal(granted.ttlMs, 10_000);
    await client.write(put(A, 'x', granted.lease), put('/xylem/v1/b', 'y', granted.lease));
    resultOf(await client.store.run({ type: 'leaseRevoke', lease: granted.lease }, 2_000), 'leaseRevoke');
    assert.deepEqual(resultOf(await client.store.run(ALL, 2_000), 'range').kvs, []);
    const again = await client.store.run({ type: 'leaseRevoke', lease: granted.lease }, 2_000);
    const late = await client.store.run(
      { type: 'txn', compares: [], success: [put(A, 'x', granted.lease)], failure: [] },
      2_000,
    );
    for (const outcome of [again, late]) assert.equal(outcome.status === 'failed' && outcome.cause, 'lease-not-found');
  },
);

test(
  'nobody listening is a certain failure, a store that stands still an unknown outcome, both in time',
  { timeout: 30_000 },
  async (t) => {
    const etcd = await startEtcd();
    t.after(() => etcd.dispose());
    const { store } = recorder(t, [etcd.endpoint]);
    const write = { type: 'txn', compares: [], success: [put(A, 'x')], failure: [] } as const;
    doneOf(await store.run(write, 2_000));

    etcd.stop();
    const startedAt = performance.now();
    const stopped = await store.run(write, 500);
    assert.equal(stopped.status, 'unknown');
    assert.ok(performance.now() - startedAt < 3_000, `${performance.now() - startedAt} ms`);
    etcd.resume();
    doneOf(await store.run(write, 2_000));

    await etcd.kill();
    const killed = await store.run(write, 1_000);
    const refused = await store.run(write, 1_000);
    assert.notEqual(killed.status, 'done');
    assert.deepEqual(refused.status === 'failed' && refused.cause, 'unavailable');
    assert.match(
      refused.status === 'failed' ? refused.detail : '',
      new RegExp(`^${etcd.endpoint}: connect ECONNREFUSED 127.0.0.1:${etcd.port}$`),
    );
    await etcd.restart();
    doneOf(await store.run(write, 2_000));
  },
);

test('a host that answers nothing at all was never sent anything', { timeout: 30_000 }, async (t) => {
  const sockets = new Set<Socket>();
  const silent = createServer((socket) => void sockets.add(socket));
  const { promise, resolve } = Promise.withResolvers<void>();
  silent.listen(0, '127.0.0.1', resolve);
  await promise;
  t.after(() => {
    silent.close();
    for (const socket of sockets) socket.destroy();
  });
  const { port } = silent.address() as AddressInfo;
  const { store } = recorder(t, [`http://127.0.0.1:${port}`]);
  const outcome = await store.run({ type: 'leaseGrant', ttlMs: 5_000 }, 500);
  assert.equal(outcome.status, 'failed', JSON.stringify(outcome));
});

test('goes on with the next member when one is killed or stands still', { timeout: 60_000 }, async (t) => {
  const cluster = await startEtcdCluster(3);
  t.after(() => cluster.dispose());
  const [first, second] = cluster.members;
  const { store } = recorder(t, cluster.endpoints);
  const write = { type: 'txn', compares: [], success: [put(A, 'x')], failure: [] } as const;
  doneOf(await store.run(write, 2_000));
  first?.stop();
  const answered = async (withinMs: number): Promise<number> => {
    const startedAt = performance.now();
    while ((await store.run(write, 1_000)).status !== 'done')
      assert.ok(performance.now() - startedAt < withinMs, 'no member answered in time');
    return performance.now() - startedAt;
  };
  t.diagnostic(`answered ${Math.round(await answered(8_000))} ms after a member was stopped`);
  first?.resume();
  await second?.kill();
  t.diagnostic(`answered ${Math.round(await answered(8_000))} ms after a member was killed`);
});

test('what is no endpoint is named', () => {
  assert.throws(() => parseEndpoints([]), /no etcd endpoint/);
  assert.throws(() => parseEndpoints(['etcd:2379']), /"etcd:2379": http:\/\/host:port or https:\/\/host:port wanted/);
  assert.throws(() => parseEndpoints(['http://a:1', 'https://b:2']), /all http or all https/);
  assert.deepEqual(parseEndpoints(['https://[::1]:2379/']), [{ url: 'https://[::1]:2379/', target: '[::1]:2379' }]);
});

test('only what etcd certainly did not do counts as failed', () => {
  const kind = (message: string): string => {
    const failure = failureOf(new Error(message), 'e1');
    return failure.status === 'failed' ? failure.cause : failure.status;
  };
  assert.equal(kind('14 UNAVAILABLE: No connection established. Last error: connect ECONNREFUSED'), 'unavailable');
  assert.equal(kind('14 UNAVAILABLE: read ECONNRESET'), 'unknown');
  assert.equal(kind('14 UNAVAILABLE: etcdserver: request timed out'), 'unknown');
  assert.equal(kind('14 UNAVAILABLE: etcdserver: leader changed'), 'unknown');
  assert.equal(
    kind('4 DEADLINE_EXCEEDED: Deadline exceeded after 0.5s,LB pick: 0.001s,remote_addr=127.0.0.1:1'),
    'unknown',
  );
  assert.equal(kind('4 DEADLINE_EXCEEDED: Deadline exceeded after 0.5s,Waiting for LB pick'), 'unavailable');
  assert.equal(kind('8 RESOURCE_EXHAUSTED: etcdserver: mvcc: database space exceeded'), 'no-space');
  assert.equal(kind('8 RESOURCE_EXHAUSTED: etcdserver: too many requests'), 'unavailable');
  assert.equal(kind('5 NOT_FOUND: etcdserver: requested lease not found'), 'lease-not-found');
  assert.equal(kind('11 OUT_OF_RANGE: etcdserver: mvcc: required revision has been compacted'), 'compacted');
  assert.equal(kind('3 INVALID_ARGUMENT: etcdserver: duplicate key given in txn request'), 'refused');
  assert.equal(kind('1 CANCELLED: Cancelled on client'), 'unknown');
  assert.equal(kind('who knows'), 'unknown');
});
