import assert from 'node:assert/strict';
import { after, before, suite, test } from 'node:test';
import { etcd } from '@xylem/wire';
import type { mvcc } from '@xylem/wire';
import { EtcdClient, bytes, must } from './client.ts';
import type { Reply } from './client.ts';

/** A server of etcd's API that starts empty. */
export interface ServerUnderTest {
  /** host:port. */
  readonly address: string;
  stop(): Promise<void>;
}

const FROM_KEY = bytes('\0');
const INVALID_ARGUMENT = 3;
const NOT_FOUND = 5;
const FAILED_PRECONDITION = 9;
const OUT_OF_RANGE = 11;

/** What etcd promises and the product builds on. Holds for every server that `start` starts. */
export function contract(name: string, start: () => Promise<ServerUnderTest>): void {
  suite(`${name} keeps etcd's contract`, { timeout: 60_000 }, () => {
    let server: ServerUnderTest;
    let client: EtcdClient;
    before(async () => {
      server = await start();
      client = new EtcdClient(server.address);
    });
    after(async () => {
      client.close();
      await server.stop();
    });
    const given = (): EtcdClient => client;
    keyContract(given);
    txnContract(given);
    historyContract(given);
    leaseContract(given);
    watchContract(given);
  });
}

function refuses(reply: Reply<unknown>, code: number, details: string): void {
  assert.deepEqual('ok' in reply ? 'was done' : { code: reply.code, details: reply.details }, { code, details });
}

function textOf(kv: mvcc.KeyValue | undefined): string {
  return kv === undefined ? 'nothing' : `${kv.key.toString('latin1')}=${kv.value.toString('latin1')}`;
}

function wordsOf(events: readonly mvcc.Event[]): readonly string[] {
  return events.map(({ type, kv }) => (type === 0 ? `put ${textOf(kv)}` : `delete ${kv?.key.toString('latin1')}`));
}

async function put(client: EtcdClient, key: string, value: string, lease = 0n): Promise<bigint> {
  const { header } = must(await client.put({ key: bytes(key), value: bytes(value), lease }));
  return header?.revision ?? 0n;
}

async function keysOf(client: EtcdClient, request: Partial<etcd.RangeRequest>): Promise<readonly string[]> {
  return must(await client.range(request)).kvs.map(({ key }) => key.toString('latin1'));
}

type Given = () => EtcdClient;

function keyContract(given: Given): void {
  test('a put makes a key, counts its versions and answers what was there', async () => {
    const client = given();
    const first = await put(client, 'k/a', '1');
    const second = must(await client.put({ key: bytes('k/a'), value: bytes('2'), prevKv: true }));
    assert.equal(second.header?.revision, first + 1n);
    assert.equal(textOf(second.prevKv), 'k/a=1');
    const [kv] = must(await client.range({ key: bytes('k/a') })).kvs;
    const { createRevision, modRevision, version, lease } = kv ?? {};
    assert.deepEqual(
      { createRevision, modRevision, version, lease },
      {
        createRevision: first,
        modRevision: first + 1n,
        version: 2n,
        lease: 0n,
      },
    );
  });

  test('keys are ordered byte by byte, whatever the bytes', async () => {
    const client = given();
    const names = ['b/\x00', 'b/\x7f', 'b/\x80', 'b/\xff', 'b/\xff\x00', 'b/', 'b/é'];
    for (const name of names) await put(client, name, '');
    assert.deepEqual(await keysOf(client, { key: bytes('b/'), rangeEnd: bytes('b0') }), [
      'b/',
      'b/\x00',
      'b/\x7f',
      'b/\x80',
      'b/é',
      'b/\xff',
      'b/\xff\x00',
    ]);
  });

  test('a range is sorted, limited and counted as asked', async () => {
    const client = given();
    for (const [key, value] of [
      ['r/1', 'c'],
      ['r/2', 'a'],
      ['r/3', 'b'],
    ] as const)
      await put(client, key, value);
    const range = { key: bytes('r/'), rangeEnd: bytes('r0') };
    const { VALUE, KEY } = etcd.RangeRequest_SortTarget;
    const { ASCEND, DESCEND } = etcd.RangeRequest_SortOrder;
    assert.deepEqual(await keysOf(client, { ...range, sortTarget: VALUE, sortOrder: ASCEND }), ['r/2', 'r/3', 'r/1']);
    assert.deepEqual(await keysOf(client, { ...range, sortTarget: KEY, sortOrder: DESCEND }), ['r/3', 'r/2', 'r/1']);
    const limited = must(await client.range({ ...range, limit: 2n, keysOnly: true }));
    assert.deepEqual(limited.kvs.map(textOf), ['r/1=', 'r/2=']);
    assert.deepEqual([limited.more, limited.count], [true, 3n]);
    const counted = must(await client.range({ ...range, countOnly: true }));
    assert.deepEqual([counted.kvs.length, counted.count], [0, 3n]);
  });

  test('a delete answers what it removed; the key starts anew afterwards', async () => {
    const client = given();
    await put(client, 'd/1', 'x');
    await put(client, 'd/2', 'y');
    const gone = must(await client.deleteRange({ key: bytes('d/'), rangeEnd: bytes('d0'), prevKv: true }));
    assert.equal(gone.deleted, 2n);
    assert.deepEqual(gone.prevKvs.map(textOf), ['d/1=x', 'd/2=y']);
    const none = must(await client.deleteRange({ key: bytes('d/'), rangeEnd: bytes('d0') }));
    assert.deepEqual([none.deleted, none.header?.revision], [0n, gone.header?.revision]);
    const revision = await put(client, 'd/1', 'z');
    const [kv] = must(await client.range({ key: bytes('d/1') })).kvs;
    assert.deepEqual([kv?.createRevision, kv?.version], [revision, 1n]);
  });

  test("requests that make no sense are refused in etcd's words", async () => {
    const client = given();
    refuses(await client.put({}), INVALID_ARGUMENT, 'etcdserver: key is not provided');
    refuses(await client.range({}), INVALID_ARGUMENT, 'etcdserver: key is not provided');
    refuses(await client.deleteRange({}), INVALID_ARGUMENT, 'etcdserver: key is not provided');
    const key = bytes('none');
    refuses(await client.put({ key, ignoreValue: true }), INVALID_ARGUMENT, 'etcdserver: key not found');
    refuses(
      await client.put({ key, value: key, ignoreValue: true }),
      INVALID_ARGUMENT,
      'etcdserver: value is provided',
    );
    refuses(await client.put({ key, lease: 1n, ignoreLease: true }), INVALID_ARGUMENT, 'etcdserver: lease is provided');
    refuses(await client.put({ key, lease: 4_711n }), NOT_FOUND, 'etcdserver: requested lease not found');
    refuses(
      await client.put({ key, value: Buffer.alloc(1_600_000) }),
      INVALID_ARGUMENT,
      'etcdserver: request is too large',
    );
  });
}

const rangeOp = (key: string): etcd.RequestOp => ({
  request: { $case: 'requestRange', value: { ...etcd.RangeRequest.create(), key: bytes(key) } },
});
const putOp = (key: string, value: string): etcd.RequestOp => ({
  request: {
    $case: 'requestPut',
    value: { ...etcd.PutRequest.create(), key: bytes(key), value: bytes(value) },
  },
});
const deleteOp = (key: string): etcd.RequestOp => ({
  request: { $case: 'requestDeleteRange', value: { ...etcd.DeleteRangeRequest.create(), key: bytes(key) } },
});
const txnOp = (request: Partial<etcd.TxnRequest>): etcd.RequestOp => ({
  request: { $case: 'requestTxn', value: { ...etcd.TxnRequest.create(), ...request } },
});
const createIs = (key: string, revision: bigint): etcd.Compare => ({
  ...etcd.Compare.create(),
  key: bytes(key),
  target: etcd.Compare_CompareTarget.CREATE,
  result: etcd.Compare_CompareResult.EQUAL,
  targetUnion: { $case: 'createRevision', value: revision },
});

function txnContract(given: Given): void {
  test('a transaction claims a key once and tells the loser who holds it', async () => {
    const client = given();
    const claim = (agent: string): Partial<etcd.TxnRequest> => ({
      compare: [createIs('t/claim', 0n)],
      success: [putOp('t/claim', agent)],
      failure: [rangeOp('t/claim')],
    });
    const won = must(await client.txn(claim('one')));
    const lost = must(await client.txn(claim('two')));
    assert.deepEqual([won.succeeded, lost.succeeded], [true, false]);
    assert.equal(lost.header?.revision, won.header?.revision);
    const [response] = lost.responses;
    assert.equal(response?.response?.$case, 'responseRange');
    if (response?.response?.$case === 'responseRange') {
      const [holder] = response.response.value.kvs;
      assert.deepEqual([textOf(holder), holder?.createRevision], ['t/claim=one', won.header?.revision]);
    }
  });

  test('all writes of a transaction are one revision, and its reads see them', async () => {
    const client = given();
    const request = { success: [putOp('t/1', 'a'), putOp('t/2', 'b'), rangeOp('t/1')] };
    const { header, responses } = must(await client.txn(request));
    const kvs = must(await client.range({ key: bytes('t/1'), rangeEnd: bytes('t/3') })).kvs;
    assert.deepEqual(
      kvs.map((kv) => kv.modRevision),
      [header?.revision, header?.revision],
    );
    const read = responses[2]?.response;
    assert.equal(read?.$case === 'responseRange' && textOf(read.value.kvs[0]), 't/1=a');
  });

  test('conditions of nested transactions are decided before anything is written', async () => {
    const client = given();
    const inner = txnOp({
      compare: [createIs('t/nested', 0n)],
      success: [putOp('t/inner', 'was absent')],
      failure: [putOp('t/inner', 'was present')],
    });
    must(await client.txn({ success: [putOp('t/nested', 'x'), inner] }));
    const [kv] = must(await client.range({ key: bytes('t/inner') })).kvs;
    assert.equal(kv?.value.toString(), 'was absent');
  });

  test('a transaction that cannot be done leaves nothing behind', async () => {
    const client = given();
    const revision = await put(client, 't/before', '');
    const leased = { ...etcd.PutRequest.create(), key: bytes('t/y'), lease: 99n };
    const refused = await client.txn({
      success: [putOp('t/x', ''), { request: { $case: 'requestPut', value: leased } }],
    });
    refuses(refused, NOT_FOUND, 'etcdserver: requested lease not found');
    const duplicate = 'etcdserver: duplicate key given in txn request';
    refuses(await client.txn({ success: [putOp('t/x', ''), putOp('t/x', '')] }), INVALID_ARGUMENT, duplicate);
    refuses(await client.txn({ success: [putOp('t/x', ''), deleteOp('t/x')] }), INVALID_ARGUMENT, duplicate);
    const many = Array.from({ length: 129 }, (_, index) => putOp(`t/many/${index}`, ''));
    refuses(await client.txn({ success: many }), INVALID_ARGUMENT, 'etcdserver: too many operations in txn request');
    const read = must(await client.range({ key: bytes('t/x') }));
    assert.deepEqual([read.kvs.length, read.header?.revision], [0, revision]);
  });
}

function historyContract(given: Given): void {
  test('the past can be read until it is compacted', async () => {
    const client = given();
    const first = await put(client, 'h', '1');
    const second = await put(client, 'h', '2');
    const past = must(await client.range({ key: bytes('h'), revision: first }));
    assert.equal(textOf(past.kvs[0]), 'h=1');
    must(await client.compact(second));
    refuses(
      await client.range({ key: bytes('h'), revision: first }),
      OUT_OF_RANGE,
      'etcdserver: mvcc: required revision has been compacted',
    );
    assert.equal(textOf(must(await client.range({ key: bytes('h'), revision: second })).kvs[0]), 'h=2');
    const future = 'etcdserver: mvcc: required revision is a future revision';
    refuses(await client.compact(second + 10n), OUT_OF_RANGE, future);
    refuses(await client.range({ key: bytes('h'), revision: second + 10n }), OUT_OF_RANGE, future);
    refuses(await client.compact(second), OUT_OF_RANGE, 'etcdserver: mvcc: required revision has been compacted');
  });
}

function leaseContract(given: Given): void {
  test('keys go with their lease, in one revision', async () => {
    const client = given();
    const { ID } = must(await client.leaseGrant(60n));
    await put(client, 'l/1', '', ID);
    await put(client, 'l/2', '', ID);
    const kept = await put(client, 'l/3', '', ID);
    await put(client, 'l/3', 'no lease any more');
    const { TTL, grantedTTL, keys } = must(await client.leaseTimeToLive(ID, true));
    assert.deepEqual(keys.map(String).sort(), ['l/1', 'l/2']);
    assert.ok(grantedTTL === 60n && TTL >= 58n && TTL <= 60n);
    const revoked = must(await client.leaseRevoke(ID));
    assert.equal(revoked.header?.revision, kept + 2n);
    assert.deepEqual(await keysOf(client, { key: bytes('l/'), rangeEnd: bytes('l0') }), ['l/3']);
    refuses(await client.leaseRevoke(ID), NOT_FOUND, 'etcdserver: requested lease not found');
    assert.equal(must(await client.leaseTimeToLive(ID)).TTL, -1n);
  });

  test('a lease that nobody keeps alive ends; one that is kept alive does not', async () => {
    const client = given();
    const watch = client.watchStream();
    const { watchId } = await watch.create({ key: bytes('l/dies') });
    const short = must(await client.leaseGrant(2n)).ID;
    const long = must(await client.leaseGrant(2n)).ID;
    await put(client, 'l/dies', '', short);
    await put(client, 'l/lives', '', long);
    const stream = client.keepAliveStream();
    const keep = setInterval(() => stream.stream.write({ ID: long }), 200);
    const events: string[] = [];
    while (events.length < 2) events.push(...wordsOf((await watch.nextOf(watchId)).events));
    assert.deepEqual(events, ['put l/dies=', 'delete l/dies']);
    assert.deepEqual(await keysOf(client, { key: bytes('l/lives') }), ['l/lives']);
    const { ID, TTL } = await stream.next();
    assert.deepEqual([ID, TTL], [long, 2n]);
    clearInterval(keep);
    stream.cancel();
    watch.cancel();
  });

  test('a keepalive of an unknown lease is answered with no time', async () => {
    const client = given();
    const stream = client.keepAliveStream();
    stream.stream.write({ ID: 12_345n });
    const { ID, TTL } = await stream.next();
    assert.deepEqual([ID, TTL], [12_345n, 0n]);
    stream.cancel();
  });

  test('a lease id can be chosen once', async () => {
    const client = given();
    assert.equal(must(await client.leaseGrant(60n, 77n)).ID, 77n);
    refuses(await client.leaseGrant(60n, 77n), FAILED_PRECONDITION, 'etcdserver: lease already exists');
    refuses(await client.leaseGrant(9_000_000_001n), OUT_OF_RANGE, 'etcdserver: too large lease TTL');
    assert.ok(must(await client.leases()).leases.some(({ ID }) => ID === 77n));
    must(await client.leaseRevoke(77n));
  });
}

function watchContract(given: Given): void {
  test('a watch from a past revision tells all that happened, then what happens', async () => {
    const client = given();
    const first = await put(client, 'w/1', 'a');
    await put(client, 'w/1', 'b');
    must(await client.deleteRange({ key: bytes('w/1') }));
    const watch = client.watchStream();
    const { watchId } = await watch.create({ key: bytes('w/'), rangeEnd: bytes('w0'), startRevision: first });
    const last = await put(client, 'w/2', 'c');
    const events = await watch.eventsUpTo(watchId, last);
    assert.deepEqual(wordsOf(events), ['put w/1=a', 'put w/1=b', 'delete w/1', 'put w/2=c']);
    watch.cancel();
  });

  test('the events of one transaction come together', async () => {
    const client = given();
    const watch = client.watchStream();
    const { watchId } = await watch.create({ key: bytes('wt/'), rangeEnd: FROM_KEY });
    must(await client.txn({ success: [putOp('wt/1', 'a'), putOp('wt/2', 'b'), putOp('wt/3', 'c')] }));
    const { events } = await watch.nextOf(watchId);
    assert.deepEqual(wordsOf(events), ['put wt/1=a', 'put wt/2=b', 'put wt/3=c']);
    watch.cancel();
  });

  test('filters leave out puts or deletes; prev_kv tells what was there', async () => {
    const client = given();
    const watch = client.watchStream();
    const { NOPUT, NODELETE } = etcd.WatchCreateRequest_FilterType;
    const deletes = await watch.create({ key: bytes('wf'), filters: [NOPUT], prevKv: true });
    const puts = await watch.create({ key: bytes('wf'), filters: [NODELETE], prevKv: true });
    assert.notEqual(deletes.watchId, puts.watchId);
    await put(client, 'wf', 'a');
    await put(client, 'wf', 'b');
    const gone = must(await client.deleteRange({ key: bytes('wf') }));
    const last = await put(client, 'wf', 'c');
    const removed = await watch.eventsUpTo(deletes.watchId, gone.header?.revision ?? 0n);
    assert.deepEqual(
      removed.map(({ prevKv }) => textOf(prevKv)),
      ['wf=b'],
    );
    const written = await watch.eventsUpTo(puts.watchId, last);
    assert.deepEqual(wordsOf(written), ['put wf=a', 'put wf=b', 'put wf=c']);
    assert.deepEqual(
      written.map(({ prevKv }) => textOf(prevKv)),
      ['nothing', 'wf=a', 'nothing'],
    );
    watch.cancel();
  });

  test('a watch of a compacted revision is cancelled and names the first that is left', async () => {
    const client = given();
    const old = await put(client, 'wc', '1');
    const kept = await put(client, 'wc', '2');
    must(await client.compact(kept));
    const watch = client.watchStream();
    const { watchId, canceled } = await watch.create({ key: bytes('wc'), startRevision: old });
    assert.equal(canceled, false);
    const end = await watch.nextOf(watchId);
    assert.deepEqual([end.canceled, end.compactRevision], [true, kept]);
    watch.cancel();
  });

  test('a watch that starts in the future waits for it', async () => {
    const client = given();
    const now = await put(client, 'wn', 'now');
    const watch = client.watchStream();
    const { watchId } = await watch.create({ key: bytes('wn'), startRevision: now + 2n });
    await put(client, 'wn', 'too early');
    const last = await put(client, 'wn', 'in time');
    assert.deepEqual(wordsOf(await watch.eventsUpTo(watchId, last)), ['put wn=in time']);
    watch.cancel();
  });

  test('cancelling a watch ends it and leaves the others of its stream', async () => {
    const client = given();
    const watch = client.watchStream();
    const gone = await watch.create({ key: bytes('wx') });
    const kept = await watch.create({ key: bytes('wx'), watchId: 42n });
    assert.equal(kept.watchId, 42n);
    const twice = await watch.create({ key: bytes('wx'), watchId: 42n });
    assert.deepEqual([twice.watchId, twice.canceled], [-1n, true]);
    watch.drop(gone.watchId);
    assert.equal((await watch.nextOf(gone.watchId)).canceled, true);
    const last = await put(client, 'wx', 'a');
    assert.deepEqual(wordsOf(await watch.eventsUpTo(42n, last)), ['put wx=a']);
    watch.cancel();
  });

  test('progress is told on demand', async () => {
    const client = given();
    const watch = client.watchStream();
    await watch.create({ key: bytes('wp') });
    const revision = await put(client, 'elsewhere', '');
    watch.askProgress();
    const progress = await watch.nextOf(-1n);
    assert.ok((progress.header?.revision ?? 0n) >= revision);
    assert.deepEqual(progress.events, []);
    watch.cancel();
  });

  test('a large revision comes in parts to a watch that allows it', async () => {
    const client = given();
    const range = { key: bytes('wl/'), rangeEnd: bytes('wl0') };
    const value = 'x'.repeat(500_000);
    const names = ['1', '2', '3', '4', '5', '6'];
    for (const name of names) await put(client, `wl/${name}`, value);
    const watch = client.watchStream();
    const { watchId } = await watch.create({ ...range, fragment: true, prevKv: true });
    must(await client.deleteRange(range));
    const parts: etcd.WatchResponse[] = [];
    do parts.push(await watch.nextOf(watchId));
    while (parts.at(-1)?.fragment === true);
    assert.ok(parts.length > 1, 'it came in one part');
    assert.deepEqual(
      wordsOf(parts.flatMap(({ events }) => events)),
      names.map((name) => `delete wl/${name}`),
    );
    watch.cancel();
  });
}
