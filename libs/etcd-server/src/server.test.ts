import assert from 'node:assert/strict';
import { connect } from 'node:tls';
import { test } from 'node:test';
import { Etcd3 } from 'etcd3';
import { startEtcdServer } from './server.ts';
import type { EtcdServerOptions } from './server.ts';
import { selfSigned } from './testing/certificate.ts';
import { EtcdClient, bytes, must } from './testing/client.ts';

const EVERY_KEY = { key: bytes('\0'), rangeEnd: bytes('\0') };

/** Runs `action` with a server of its own, in memory. */
async function served(
  options: Partial<EtcdServerOptions>,
  action: (client: EtcdClient, address: string) => Promise<void>,
): Promise<void> {
  const server = await startEtcdServer({ dataDir: undefined, listen: '127.0.0.1:0', ...options });
  const client = new EtcdClient(server.address);
  try {
    await action(client, server.address);
  } finally {
    client.close();
    await server.close();
  }
}

test('a watcher that does not read is not buffered for: it is cancelled when history has gone on without it', async () => {
  await served({ keepRevisions: 100 }, async (client) => {
    const watch = client.watchStream();
    const { watchId } = await watch.create(EVERY_KEY);
    watch.stream.pause();
    const value = Buffer.alloc(64 * 1024, 1);
    const writes = 600;
    for (let index = 0; index < writes; index += 1) must(await client.put({ key: bytes(`k${index % 7}`), value }));
    watch.stream.resume();
    let events = 0;
    let end = await watch.nextOf(watchId);
    for (; !end.canceled; end = await watch.nextOf(watchId)) events += end.events.length;
    assert.ok(end.compactRevision > 100n);
    assert.ok(events < 250, `${events} events of 64 KiB waited for the reader`);
    watch.cancel();
  });
});

test('one stopped watcher does not delay another on its own connection', async () => {
  await served({}, async (client, address) => {
    const stopped = new EtcdClient(address);
    const still = stopped.watchStream();
    await still.create(EVERY_KEY);
    still.stream.pause();
    const watch = client.watchStream();
    const { watchId } = await watch.create(EVERY_KEY);
    const value = Buffer.alloc(64 * 1024, 1);
    let last = 0n;
    for (let index = 0; index < 200; index += 1) {
      last = must(await client.put({ key: bytes('k'), value })).header?.revision ?? 0n;
    }
    assert.equal((await watch.eventsUpTo(watchId, last)).length, 200);
    watch.cancel();
    still.cancel();
    stopped.close();
  });
});

test('closing ends watches and keepalives as unavailable, which clients take for "again"', async () => {
  const server = await startEtcdServer({ dataDir: undefined, listen: '127.0.0.1:0' });
  const client = new EtcdClient(server.address);
  const watch = client.watchStream();
  const { watchId } = await watch.create(EVERY_KEY);
  const keepAlive = client.keepAliveStream();
  const { ID } = must(await client.leaseGrant(60n));
  keepAlive.stream.write({ ID });
  await keepAlive.next();
  const ends = Promise.allSettled([watch.nextOf(watchId), keepAlive.next()]);
  await Promise.all([server.close(), server.close()]);
  for (const end of await ends) {
    assert.ok(end.status === 'rejected');
    assert.match(String(end.reason), /14 UNAVAILABLE: etcdserver: server stopped/);
  }
  client.close();
});

test('a watch that asked for it hears of progress while nothing happens', async () => {
  await served({ progressIntervalMs: 30 }, async (client) => {
    const watch = client.watchStream();
    const asked = await watch.create({ key: bytes('quiet'), progressNotify: true });
    const { header } = must(await client.put({ key: bytes('elsewhere') }));
    let told = await watch.nextOf(asked.watchId);
    while ((told.header?.revision ?? 0n) < (header?.revision ?? 0n)) told = await watch.nextOf(asked.watchId);
    assert.deepEqual(told.events, []);
    watch.cancel();
  });
});

test('a full store says so, raises the alarm, and takes writes again when there is room', async () => {
  await served({ quotaBytes: 100_000 }, async (client) => {
    const value = Buffer.alloc(9_000);
    let keys = 0;
    let reply = await client.put({ key: bytes('k'), value });
    for (; 'ok' in reply; keys += 1) reply = await client.put({ key: bytes(`k${keys}`), value });
    assert.deepEqual(reply, { code: 8, details: 'etcdserver: mvcc: database space exceeded' });
    assert.deepEqual(
      must(await client.alarms()).alarms.map(({ alarm }) => alarm),
      [1],
    );
    const { header } = must(await client.deleteRange(EVERY_KEY));
    const revision = header?.revision ?? 0n;
    if ('code' in (await client.put({ key: bytes('k'), value }))) must(await client.compact(revision));
    must(await client.put({ key: bytes('k'), value }));
    assert.deepEqual(must(await client.alarms()).alarms, []);
  });
});

test('a client that speaks no etcd is turned away, and the others go on', async () => {
  await served({}, async (client, address) => {
    const response = await fetch(`http://${address}/v3/kv/range`, { signal: AbortSignal.timeout(2_000) }).catch(
      (error: unknown) => error,
    );
    assert.ok(response instanceof Error);
    must(await client.put({ key: bytes('k') }));
  });
});

test('with TLS only clients with a certificate of the authority get in', async () => {
  const ours = await selfSigned();
  const stranger = await selfSigned();
  const server = await startEtcdServer({ dataDir: undefined, listen: '127.0.0.1:0', tls: ours });
  assert.match(server.endpoint, /^https:/);
  const client = new Etcd3({
    hosts: server.endpoint,
    credentials: {
      rootCertificate: Buffer.from(ours.ca),
      privateKey: Buffer.from(ours.key),
      certChain: Buffer.from(ours.cert),
    },
  });
  await client.put('k').value('v');
  assert.equal(await client.get('k').string(), 'v');
  client.close();
  for (const credentials of [{}, { cert: stranger.cert, key: stranger.key }]) {
    assert.equal(await handshake(server.address, ours.ca, credentials), 'refused');
  }
  assert.equal(await handshake(server.address, ours.ca, ours), 'accepted');
  await server.close();
});

/** In TLS 1.3 the server's refusal comes after the client is done: what tells is whether the connection stays. */
function handshake(address: string, ca: string, credentials: object): Promise<'accepted' | 'refused'> {
  const [host = '', port = ''] = address.split(':');
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(port), ca, ALPNProtocols: ['h2'], ...credentials });
    const settle = (outcome: 'accepted' | 'refused'): void => {
      socket.destroy();
      resolve(outcome);
    };
    socket.once('error', () => settle('refused'));
    socket.once('close', () => settle('refused'));
    socket.once('data', () => settle('accepted')); // the server's HTTP/2 settings
  });
}

test('etcd3, the client that the registry uses, works against it', async () => {
  await served({}, async (_client, address) => {
    const client = new Etcd3({ hosts: `http://${address}` });
    const watcher = await client.watch().prefix('claims/').create();
    const put = new Promise((resolve) => watcher.once('put', resolve));
    const lease = client.lease(5);
    await lease.grant();
    const claim = client
      .if('claims/a', 'Create', '==', 0)
      .then(
        client
          .put('claims/a')
          .value('one')
          .lease(await lease.grant()),
      )
      .else(client.get('claims/a'));
    assert.equal((await claim.commit()).succeeded, true);
    await put;
    const gone = new Promise((resolve) => watcher.once('delete', resolve));
    await lease.revoke();
    await gone;
    assert.deepEqual(await client.getAll().prefix('claims/').strings(), {});
    await watcher.cancel();
    client.close();
  });
});

test('many watches on one stream each hear of their own key', async () => {
  await served({}, async (client) => {
    const watch = client.watchStream();
    const count = 500;
    const ids = new Map<string, bigint>();
    for (let index = 0; index < count; index += 1) {
      ids.set(`k${index}`, (await watch.create({ key: bytes(`k${index}`) })).watchId);
    }
    await Promise.all([...ids.keys()].map((key) => client.put({ key: bytes(key) })));
    for (const [key, id] of ids) {
      const { events } = await watch.nextOf(id);
      assert.deepEqual(
        events.map(({ kv }) => kv?.key.toString()),
        [key],
      );
    }
    watch.cancel();
  });
});
