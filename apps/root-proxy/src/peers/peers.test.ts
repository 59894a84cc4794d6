import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import type { FramePort } from '@xylem/carrier';
import { createServer, handleDuplex, handleUnary } from '@xylem/grpc';
import type { GrpcServer } from '@xylem/grpc';
import { MAX_ANSWER_BYTES, access, PeerService, RawFrameMethods } from '@xylem/wire';
import { Credentials, DOMAIN } from '../testing/credentials.ts';
import { eventually } from '../testing/world.ts';
import { Peers } from './peers.ts';

let credentials: Credentials;
let server: GrpcServer;
let port: number;
let peers: Peers;
const told: string[] = [];

beforeEach(async () => {
  credentials = await Credentials.create();
  await startServer(0);
  told.length = 0;
  peers = new Peers('p1', DOMAIN, await credentials.source({ kind: 'proxy', proxy: 'p1' }), {
    refusal: () => undefined,
    connected: (proxy) => void told.push(`connected ${proxy}`),
    lost: (proxy) => void told.push(`lost ${proxy}`),
  });
});
afterEach(async () => {
  peers.close();
  await server.close(0);
});

/** A peer that sends every frame back, and has much to say of itself. */
async function startServer(at: number): Promise<void> {
  const echo = handleDuplex(RawFrameMethods.forward, (call) => {
    call.on('data', (frame: Buffer) => call.write(frame));
  });
  const describe = handleUnary(PeerService.describe, () =>
    Promise.resolve({ status: access.ProxyStatus.fromPartial({ answered: true, detail: 'x'.repeat(2 ** 20) }) }),
  );
  server = createServer({
    tls: await credentials.source({ kind: 'proxy', proxy: 'p2' }),
    services: [echo, describe],
    maxMessageBytes: MAX_ANSWER_BYTES,
  });
  port = await server.listen(`127.0.0.1:${at}`);
}

async function echoes(frames: FramePort): Promise<boolean> {
  frames.send({ kind: { $case: 'data', value: Buffer.from('x') } });
  return (await frames.first(2_000)).kind === 'frame';
}

test('connects to members, itself excepted, and opens streams to them', async () => {
  peers.replace([
    { proxy: 'p1', address: '127.0.0.1:1' },
    { proxy: 'p2', address: `127.0.0.1:${port}` },
  ]);
  assert.deepEqual(peers.names(), ['p2']);
  const frames = await peers.get('p2')?.openForward(2_000);
  assert.ok(frames !== undefined && (await echoes(frames)));
  assert.deepEqual(told, ['connected p2']);
});

test('what runs over a connection goes on when its peer is no member any more, and nothing new is opened', async () => {
  peers.replace([{ proxy: 'p2', address: `127.0.0.1:${port}` }]);
  const frames = await peers.get('p2')?.openForward(2_000);
  assert.ok(frames !== undefined);
  peers.replace([]);
  assert.equal(peers.get('p2'), undefined);
  assert.ok(await echoes(frames));
  frames.cancel('done');
});

test('takes an answer to Describe as large as peers may give it', async () => {
  peers.replace([{ proxy: 'p2', address: `127.0.0.1:${port}` }]);
  const status = await peers.get('p2')?.describe(2_000);
  assert.equal(status?.detail.length, 2 ** 20);
});

test('does not dial a peer whose certificate names another root proxy', async () => {
  peers.replace([{ proxy: 'p3', address: `127.0.0.1:${port}` }]);
  assert.equal(await peers.get('p3')?.openForward(1_000), undefined);
  assert.deepEqual(told, ['lost p3']);
});

test('answers at once while a peer cannot be reached, and connects again when it is back', async () => {
  peers.replace([{ proxy: 'p2', address: `127.0.0.1:${port}` }]);
  await eventually('connected', () => told.includes('connected p2'));
  await server.close(0);
  await eventually('lost', () => told.includes('lost p2'));
  const startedAt = performance.now();
  assert.equal(await peers.get('p2')?.openForward(10_000), undefined);
  assert.ok(performance.now() - startedAt < 5_000);
  await startServer(port);
  await eventually('connected again', () => told.filter((line) => line === 'connected p2').length === 2);
});
