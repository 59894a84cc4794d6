import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { before, test } from 'node:test';
import { Client, credentials } from '@grpc/grpc-js';
import type { MethodDefinition } from '@grpc/grpc-js';
import { createChannel } from '@xylem/grpc';
import type { GrpcChannel } from '@xylem/grpc';
import { startEtcdServer } from '@xylem/etcd-server';
import { makePrivateKey, requestFor } from '@xylem/identity';
import { HOSTILE_MESSAGES, mutated } from '@xylem/testkit';
import { RegistryService, etcd, registry as wire } from '@xylem/wire';
import { makeToken } from './testing/enrolment.ts';
import { post, sendRaw } from './testing/raw-enrolment.ts';
import { authorityRegistry, embedded, folder, makeWorld } from './testing/world.ts';

/** Rubbish on what a registry listens to: sessions of root proxies, enrolment, and the embedded store's API. */

const world = await makeWorld();
const ANSWER_MS = 5_000;
const ROUNDS = 120;
const asBytes = (bytes: Buffer): Buffer => bytes;

type Definition = Pick<MethodDefinition<never, never>, 'path' | 'requestStream' | 'responseStream'>;

function raw({ path, requestStream, responseStream }: Definition): MethodDefinition<Buffer, Buffer> {
  const codec = { requestSerialize: asBytes, requestDeserialize: asBytes };
  return { path, requestStream, responseStream, ...codec, responseSerialize: asBytes, responseDeserialize: asBytes };
}

let request = '';
before(async () => {
  request = (await requestFor(await makePrivateKey())).request;
});

const hello: wire.ProxyHello = {
  minVersion: 1,
  maxVersion: 1,
  proxy: 'p9',
  instanceNonce: 'fuzz',
  peerAddress: '127.0.0.1:7201',
  tunnelAddress: '127.0.0.1:7200',
  generation: 0,
  software: 'fuzz',
  incarnation: 0n,
  lease: 0n,
  newestStamp: undefined,
};

async function session(channel: GrpcChannel, ...messages: readonly Buffer[]): Promise<void> {
  const stream = channel.stream(raw(RegistryService.session));
  for (const message of messages) stream.send(message);
  stream.end();
  const late = setTimeout(() => stream.cancel('no end in time'), ANSWER_MS);
  await stream.closed;
  clearTimeout(late);
}

test(
  'A7: sessions with rubbish behind an honest hello, or a hello that is nearly right, end as their own',
  { timeout: 60_000 },
  async (t) => {
    const registry = await world.registry(t, 'r1', await embedded(t));
    await registry.ready();
    const honest = await world.proxy(t, registry, 'p1', 'one');
    await honest.welcome();
    const tls = await world.tls({ kind: 'proxy', proxy: 'p9' });
    const address = `127.0.0.1:${registry.port}`;
    const channel = createChannel({ address, tls, serverName: 'registry.xylem.internal', reconnect: true });
    t.after(() => channel.close());
    const first = Buffer.from(wire.SessionRequest.encode({ kind: { $case: 'hello', value: hello } }).finish());
    for (const { bytes } of HOSTILE_MESSAGES) {
      await Promise.all([
        session(channel, bytes),
        session(channel, first, bytes),
        session(channel, mutated(first), bytes),
      ]);
    }
    assert.equal((await honest.acquire('berlin', 'a1')).code, wire.AcquireCode.ACQUIRE_CODE_GRANTED);
    assert.deepEqual(
      registry.lines.filter((line) => line.includes('"internal.error"')),
      [],
    );
  },
);

test(
  'A7: enrolment answers bodies that are nearly right, and bytes at random, without an error of its own',
  { timeout: 60_000 },
  async (t) => {
    const registry = await authorityRegistry(t, 'r1', await embedded(t));
    const token = await makeToken(registry);
    const fields = { secret: token.secret.reveal(), role: 'agent', leaf: 'berlin', name: 'a1', request };
    const honest = Buffer.from(JSON.stringify(fields));
    const paths = ['/v1/join', '/v1/renew', '/v1/intermediate', '/v1/login', '/v1/login/oidc'];
    for (let round = 0; round < ROUNDS; round += 1) {
      const path = paths[round % paths.length] ?? '';
      const spoilt = mutated(Buffer.from(honest.toString().replace(fields.secret, 'x'.repeat(43))));
      const bytes = round % 4 === 0 ? randomBytes(round + 1) : post(path, spoilt);
      const { status } = await sendRaw(registry, bytes, { from: `127.0.1.${(round % 200) + 1}` });
      assert.ok([0, 400, 401, 403, 404, 405, 408, 413, 415, 429, 431].includes(status), `${path}: ${status}`);
    }
    for (const line of registry.lines) assert.doesNotThrow(() => JSON.parse(line), line);
    assert.deepEqual(
      registry.lines.filter((line) => line.includes('"internal.error"')),
      [],
    );
    assert.equal((await sendRaw(registry, post('/v1/join', honest))).status, 200, 'the token is still good');
  },
);

test("A7: rubbish on every method of the embedded store's API changes nothing", { timeout: 60_000 }, async (t) => {
  const store = await startEtcdServer({ dataDir: await folder(t), listen: '127.0.0.1:0' });
  t.after(() => store.close());
  const client = new Client(store.address, credentials.createInsecure());
  t.after(() => client.close());
  const call = (definition: Definition, bytes: Buffer): Promise<void> =>
    new Promise((resolve) => {
      const deadline = Date.now() + ANSWER_MS;
      const { path } = definition;
      if (!definition.requestStream) {
        client.makeUnaryRequest(path, asBytes, asBytes, bytes, { deadline }, () => resolve());
        return;
      }
      const stream = client.makeBidiStreamRequest(path, asBytes, asBytes, { deadline });
      stream.on('error', () => resolve()).on('end', () => resolve());
      stream.resume();
      stream.write(bytes);
      stream.end();
    });
  const services: readonly Readonly<Record<string, Definition>>[] = [
    etcd.KVService,
    etcd.WatchService,
    etcd.LeaseService,
  ];
  for (const definition of services.flatMap((service) => Object.values(service))) {
    const bytes = [
      ...HOSTILE_MESSAGES.map((message) => message.bytes),
      ...Array.from({ length: 20 }, () => randomBytes(60)),
    ];
    await Promise.all(bytes.map((each) => call(definition, each)));
  }
  const put = Buffer.from(etcd.PutRequest.encode({ ...etcd.PutRequest.create(), key: Buffer.from('k') }).finish());
  await new Promise<void>((resolve, reject) => {
    const { path } = etcd.KVService.put;
    client.makeUnaryRequest(path, asBytes, asBytes, put, { deadline: Date.now() + ANSWER_MS }, (error) =>
      error === null ? resolve() : reject(error),
    );
  });
});
