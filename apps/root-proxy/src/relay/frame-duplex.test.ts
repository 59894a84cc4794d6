import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer as createTcpServer } from 'node:net';
import type { Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { carry, FramePort } from '@xylem/carrier';
import { createChannel, createServer, handleDuplex } from '@xylem/grpc';
import type { GrpcChannel, GrpcServer } from '@xylem/grpc';
import type { ConnectionEnd } from '@xylem/tunnel';
import { encodeDataFrame, encodeFrame, RawFrameMethods } from '@xylem/wire';
import { FrameDuplex } from './frame-duplex.ts';

let server: GrpcServer;
let channel: GrpcChannel;
let arrived: (duplex: FrameDuplex) => void = () => undefined;

before(async () => {
  const relay = handleDuplex(RawFrameMethods.relay, (call) => {
    const duplex = new FrameDuplex(new FramePort(call));
    duplex.on('error', () => undefined);
    arrived(duplex);
  });
  server = createServer({ tls: undefined, services: [relay] });
  channel = createChannel({ address: `127.0.0.1:${await server.listen('127.0.0.1:0')}`, tls: undefined });
  await channel.connect();
});
after(async () => {
  channel.close();
  await server.close(0);
});

/** An agent's socket, relayed; and the duplex at the other end. */
async function relayed(): Promise<{
  readonly agent: Socket;
  readonly duplex: FrameDuplex;
  /** How the relay ended, at the proxy in the middle. */
  readonly carried: Promise<ConnectionEnd>;
}> {
  const target = new Promise<FrameDuplex>((resolve) => {
    arrived = resolve;
  });
  const ended = Promise.withResolvers<ConnectionEnd>();
  const port = createTcpServer({ allowHalfOpen: true }, (socket) => {
    port.close();
    const frames = new FramePort(channel.duplex(RawFrameMethods.relay));
    void carry({ socket, frames, role: 'requester', outcome: 'connected' }).closed.then(ended.resolve);
  });
  await new Promise<void>((resolve) => port.listen(0, '127.0.0.1', resolve));
  const address = port.address();
  assert.ok(typeof address === 'object' && address !== null);
  const agent = connect({ port: address.port, host: '127.0.0.1', allowHalfOpen: true });
  agent.on('error', () => undefined);
  return { agent, duplex: await target, carried: ended.promise };
}

test('carries bytes both ways and keeps half-close', async () => {
  const { agent, duplex } = await relayed();
  const sent = Buffer.alloc(3_000_000, 'abcdefg');
  agent.end(sent);
  const chunks: Buffer[] = [];
  for await (const chunk of duplex) chunks.push(chunk);
  assert.ok(Buffer.concat(chunks).equals(sent));
  duplex.end('answer');
  const [answer] = await once(agent, 'data');
  assert.equal(String(answer), 'answer');
  await once(agent, 'end');
});

test('a writer waits for a reader that does not read', async () => {
  const { agent, duplex } = await relayed();
  agent.pause();
  const chunk = Buffer.alloc(65_536);
  const full = 64_000_000;
  let written = 0;
  let drained: Promise<unknown> = Promise.resolve();
  for (let flowing = true; flowing && written < full;) {
    while (duplex.write(chunk)) written += chunk.length;
    drained = once(duplex, 'drain');
    flowing = await Promise.race([drained.then(() => true), sleep(200, false)]);
  }
  assert.ok(written < full, 'the queues of the way have an end');
  agent.resume();
  await drained;
  agent.destroy();
});

test('destroying it resets the agent', async () => {
  const { agent, duplex } = await relayed();
  const failed = once(agent, 'error');
  duplex.destroy();
  assert.equal((await failed)[0].code, 'ECONNRESET');
});

test('destroying it ends the relay also when the agent reads nothing', async () => {
  const { agent, carried, duplex } = await relayed();
  agent.pause();
  const chunk = Buffer.alloc(65_536);
  for (let flowing = true; flowing;) {
    while (duplex.write(chunk));
    flowing = await Promise.race([once(duplex, 'drain').then(() => true), sleep(200, false)]);
  }
  duplex.destroy();
  const end = await Promise.race([carried, sleep(5_000, undefined, { ref: false })]);
  assert.equal(end?.kind, 'reset');
  agent.destroy();
});

test("the agent's reset destroys it", async () => {
  const { agent, duplex } = await relayed();
  const failed = once(duplex, 'error');
  agent.resetAndDestroy();
  await failed;
  assert.ok(duplex.destroyed);
});

for (const [what, frames] of [
  [
    'an end that claims more bytes than came',
    [encodeDataFrame(Buffer.from('x')), encodeFrame({ kind: { $case: 'end', value: { totalBytes: 2n } } })],
  ],
  [
    'data behind its end',
    [encodeFrame({ kind: { $case: 'end', value: { totalBytes: 0n } } }), encodeDataFrame(Buffer.from('x'))],
  ],
  [
    'a frame that has no place in it',
    [encodeFrame({ kind: { $case: 'outcome', value: { code: 1, detail: '', via: [] } } })],
  ],
  ['bytes that are no frame', [Buffer.from([0x0a, 0x7f])]],
] as const) {
  test(`fails on ${what}`, async () => {
    const target = new Promise<FrameDuplex>((resolve) => {
      arrived = resolve;
    });
    const stream = channel.duplex(RawFrameMethods.relay);
    for (const frame of frames) stream.write(frame);
    const duplex = await target;
    const failed = once(duplex, 'error');
    duplex.resume();
    await failed;
    stream.cancel();
  });
}

test('the loss of the connection between the proxies is an error, not an end', async () => {
  const { duplex } = await relayed();
  const failed = once(duplex, 'error');
  channel.close();
  await failed;
});
