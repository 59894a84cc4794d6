import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { startEtcdServer } from '@xylem/etcd-server';
import { createAuthority } from '@xylem/identity';
import { registry as wire } from '@xylem/wire';
import { folder, makeWorld } from './testing/world.ts';

const world = await makeWorld();

/** A store that demands client certificates, and the files of one that it accepts. */
async function securedStore(
  t: TestContext,
): Promise<{ readonly endpoint: string; readonly files: Record<'ca' | 'cert' | 'key', string> }> {
  // A root proxy's certificate of this domain happens to be one for the name localhost.
  const authority = await createAuthority({ domain: 'localhost' });
  const server = await authority.issue({ kind: 'proxy', proxy: 'store' }, 3_600_000);
  const client = await authority.issue({ kind: 'registry', registry: 'r1' }, 3_600_000);
  const tls = { ca: server.ca, cert: server.cert, key: server.key.reveal() };
  const store = await startEtcdServer({ dataDir: undefined, listen: '127.0.0.1:0', tls });
  t.after(() => store.close());
  const directory = await folder(t);
  const files = { ca: join(directory, 'ca.pem'), cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem') };
  await writeFile(files.ca, client.ca);
  await writeFile(files.cert, client.cert);
  await writeFile(files.key, client.key.reveal(), { mode: 0o600 });
  return { endpoint: `https://localhost:${new URL(store.endpoint).port}`, files };
}

test('the store is reached over TLS with a client certificate', { timeout: 30_000 }, async (t) => {
  const { endpoint, files } = await securedStore(t);
  const registry = await world.registry(t, 'r1', { kind: 'etcd', endpoints: [endpoint], tls: files });
  await registry.ready();
  const proxy = await world.proxy(t, registry, 'p1', 'one');
  await proxy.welcome();
  assert.equal((await proxy.acquire('berlin', 'a1')).code, wire.AcquireCode.ACQUIRE_CODE_GRANTED);
  const sequence = proxy.heartbeat();
  await proxy.next('heartbeatAck', (ack) => ack.sequence === sequence && ack.leaseValidMs > 0);
});

test(
  'a store whose certificate is not trusted is never ready, and the log says why',
  { timeout: 30_000 },
  async (t) => {
    const { endpoint, files } = await securedStore(t);
    const other = await createAuthority({ domain: 'localhost' });
    const ca = join(await folder(t), 'other.pem');
    await writeFile(ca, other.ca);
    const registry = await world.registry(t, 'r1', { kind: 'etcd', endpoints: [endpoint], tls: { ...files, ca } });
    const proxy = await world.proxy(t, registry, 'p1', 'one');
    assert.equal((await proxy.next('refused')).code, wire.RefusalCode.REFUSAL_CODE_STORE_UNAVAILABLE);
    assert.match(
      registry.lines.find((line) => line.includes('"store.unreachable"')) ?? '',
      /https:\/\/localhost:\d+: .*(self-signed certificate|unable to verify|certificate)/,
    );
  },
);
