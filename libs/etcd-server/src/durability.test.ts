import assert from 'node:assert/strict';
import { test } from 'node:test';
import { etcd } from '@xylem/wire';
import { EtcdClient, bytes, must } from './testing/client.ts';
import { temporaryFolder } from './testing/folder.ts';
import { startServerProcess } from './testing/process.ts';

const ROUNDS = 6;
const WRITERS = 8;
/** Acknowledged writes of a round after which the server is killed, in the middle of others. */
const ACKNOWLEDGED = 150;

interface Acknowledged {
  readonly revision: bigint;
  readonly value: string;
}

const putOp = (key: string, value: string): etcd.RequestOp => ({
  request: { $case: 'requestPut', value: { ...etcd.PutRequest.create(), key: bytes(key), value: bytes(value) } },
});

/** Writes pairs of keys, each pair in one transaction, until the server is gone; notes what was acknowledged. */
async function write(
  client: EtcdClient,
  name: string,
  kept: Map<string, Acknowledged>,
  onWrite: () => void,
): Promise<void> {
  for (let index = 0; ; index += 1) {
    const value = `${name}.${index}`;
    const pair = `${name}/${index % 20}`;
    const reply = await client.txn({ success: [putOp(`${pair}/left`, value), putOp(`${pair}/right`, value)] });
    if (!('ok' in reply)) return;
    kept.set(pair, { revision: reply.ok.header?.revision ?? 0n, value });
    onWrite();
  }
}

/** What is acknowledged is there; what is not is there as a whole or not at all. */
async function check(client: EtcdClient, kept: ReadonlyMap<string, Acknowledged>): Promise<void> {
  const { kvs, header } = must(await client.range({ key: bytes('\0'), rangeEnd: bytes('\0') }));
  const stored = new Map(kvs.map((kv) => [kv.key.toString(), kv]));
  let newest = 0n;
  for (const [pair, { revision, value }] of kept) {
    const left = stored.get(`${pair}/left`);
    const right = stored.get(`${pair}/right`);
    assert.ok(left !== undefined && right !== undefined, `${pair} is lost`);
    assert.ok(left.modRevision >= revision, `${pair} went back from ${revision} to ${left.modRevision}`);
    if (left.modRevision === revision) assert.equal(left.value.toString(), value);
    assert.deepEqual([right.modRevision, right.value], [left.modRevision, left.value], `${pair} is torn`);
    if (revision > newest) newest = revision;
  }
  assert.ok((header?.revision ?? 0n) >= newest);
}

test(
  'nothing acknowledged is lost when the server is killed while it writes',
  { timeout: 120_000 },
  async (context) => {
    const folder = await temporaryFolder();
    const kept = new Map<string, Acknowledged>();
    let acknowledged = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      const server = await startServerProcess(folder.path);
      const client = new EtcdClient(server.address);
      await check(client, kept);
      const lease = must(await client.leaseGrant(500n, BigInt(round + 1)));
      assert.equal(must(await client.leases()).leases.length, round + 1, `${lease.ID} and those before it`);
      const enough = Promise.withResolvers<void>();
      let written = 0;
      const writers = Array.from({ length: WRITERS }, (_, writer) =>
        write(client, `r${round}w${writer}`, kept, () => {
          written += 1;
          if (written === ACKNOWLEDGED) enough.resolve();
        }),
      );
      await enough.promise;
      await server.kill();
      await Promise.all(writers);
      client.close();
      acknowledged += written;
    }
    const server = await startServerProcess(folder.path);
    const client = new EtcdClient(server.address);
    await check(client, kept);
    client.close();
    await server.kill();
    await folder.remove();
    context.diagnostic(`${acknowledged} acknowledged transactions over ${ROUNDS} kills, none lost`);
  },
);

test('an acknowledged compaction holds after the server is killed', async () => {
  const folder = await temporaryFolder();
  const server = await startServerProcess(folder.path);
  const client = new EtcdClient(server.address);
  for (let index = 0; index < 10; index += 1) must(await client.put({ key: bytes('k'), value: bytes(`${index}`) }));
  must(await client.compact(8n));
  await server.kill();
  client.close();
  const again = await startServerProcess(folder.path);
  const reader = new EtcdClient(again.address);
  const past = await reader.range({ key: bytes('k'), revision: 7n });
  assert.equal('details' in past && past.details, 'etcdserver: mvcc: required revision has been compacted');
  assert.equal(must(await reader.range({ key: bytes('k'), revision: 8n })).kvs[0]?.version, 7n);
  reader.close();
  await again.kill();
  await folder.remove();
});

test('leases do not end while the server is stopped', { timeout: 30_000 }, async () => {
  const folder = await temporaryFolder();
  const server = await startServerProcess(folder.path);
  const client = new EtcdClient(server.address);
  const { ID, TTL } = must(await client.leaseGrant(2n));
  assert.equal(TTL, 2n);
  must(await client.put({ key: bytes('k'), lease: ID }));
  server.signal('SIGSTOP');
  await new Promise((resolve) => setTimeout(resolve, 2_600));
  server.signal('SIGCONT');
  assert.equal(must(await client.range({ key: bytes('k') })).count, 1n);
  const watch = client.watchStream();
  const { watchId } = await watch.create({ key: bytes('k') });
  assert.equal((await watch.nextOf(watchId)).events[0]?.type, 1);
  watch.cancel();
  client.close();
  await server.kill();
  await folder.remove();
});
