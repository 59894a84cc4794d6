import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client, credentials } from '@grpc/grpc-js';
import { startEtcdServer } from '@xylem/etcd-server';
import { createAuthority } from '@xylem/identity';
import type { Identity } from '@xylem/identity';
import { etcd } from '@xylem/wire';
import { folder } from './testing/world.ts';

/**
 * A store with an authority of its own (docs/OPERATIONS.md, "The store"), reached with what the deployment's authority has issued: no
 * certificate of it opens the store, whoever it names.
 */

const HOUR_MS = 3_600_000;
const CALL_MS = 3_000;
const asBytes = (bytes: Buffer): Buffer => bytes;

interface Shown {
  readonly ca: string;
  readonly cert?: string;
  readonly key?: string;
}

/** What a Range of the first key comes to: `answered`, or the gRPC status. */
function ask(address: string, { ca, cert, key }: Shown): Promise<string> {
  const pair = [key, cert].map((pem) => (pem === undefined ? null : Buffer.from(pem)));
  const client = new Client(address, credentials.createSsl(Buffer.from(ca), pair[0], pair[1]), {
    'grpc.use_local_subchannel_pool': 1,
  });
  const request = Buffer.from(
    etcd.RangeRequest.encode({ ...etcd.RangeRequest.create(), key: Buffer.from('k') }).finish(),
  );
  return new Promise((resolve) => {
    const { path } = etcd.KVService.range;
    client.makeUnaryRequest(path, asBytes, asBytes, request, { deadline: Date.now() + CALL_MS }, (error) => {
      client.close();
      resolve(error === null ? 'answered' : `status ${error.code}`);
    });
  });
}

test(
  'A27: a store with an authority of its own answers the registry, and no other certificate of the deployment',
  { timeout: 60_000 },
  async (t) => {
    const stores = await createAuthority({ domain: 'localhost' });
    const deployment = await createAuthority({ domain: 'xylem.internal' });
    // A root proxy's certificate of this domain happens to be one for the name localhost.
    const server = await stores.issue({ kind: 'proxy', proxy: 'store' }, HOUR_MS);
    const tls = { ca: server.ca, cert: server.cert, key: server.key.reveal() };
    const store = await startEtcdServer({ dataDir: await folder(t), listen: '127.0.0.1:0', tls });
    t.after(() => store.close());
    const address = `localhost:${new URL(store.endpoint).port}`;
    const own = await stores.issue({ kind: 'registry', registry: 'r1' }, HOUR_MS);
    assert.equal(await ask(address, { ca: server.ca, cert: own.cert, key: own.key.reveal() }), 'answered');
    const others: readonly Identity[] = [
      { kind: 'agent', leaf: 'berlin', agent: 'a1' },
      { kind: 'proxy', proxy: 'p1' },
      { kind: 'user', user: 'admin@r1' },
      { kind: 'registry', registry: 'r1' },
    ];
    for (const identity of others) {
      const { cert, key } = await deployment.issue(identity, HOUR_MS);
      assert.match(await ask(address, { ca: server.ca, cert, key: key.reveal() }), /^status (14|4)$/, identity.kind);
    }
    assert.match(await ask(address, { ca: server.ca }), /^status (14|4)$/, 'no certificate');
  },
);
