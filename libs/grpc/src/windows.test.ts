import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import type { ClientDuplexStream, ServerDuplexStream } from '@grpc/grpc-js';
import { addHttp2Options, http2ServerOf, http2StreamOf } from './grpc-internals.ts';
import { createChannel, handleDuplex, handleUnary } from './index.ts';
import type { GrpcChannel } from './index.ts';
import { Echo } from './testing/echo.ts';
import { nextWindow, WINDOW_POLICY } from './stream-windows.ts';
import { startServer } from './testing/pair.ts';
import { slowLink } from './testing/slow-link.ts';
import type { LinkDirection } from './testing/slow-link.ts';

const MIB = 1024 * 1024;
const BLOCK = Buffer.alloc(64 * 1024);
/** HTTP/2 and gRPC framing on top of what the window counts. */
const FRAMING = 1.01;

async function plainChannel(t: TestContext, address: string, streamWindowBytes?: number): Promise<GrpcChannel> {
  const options = { address, tls: undefined, maxMessageBytes: MIB };
  const channel = createChannel(streamWindowBytes === undefined ? options : { ...options, streamWindowBytes });
  t.after(() => channel.close());
  await channel.connect();
  return channel;
}

/** Sends more than any window holds. */
function flood(call: ClientDuplexStream<Buffer, Buffer> | ServerDuplexStream<Buffer, Buffer>, bytes: number): void {
  for (let sent = 0; sent < bytes; sent += BLOCK.length) call.write(BLOCK);
}

const ARRIVAL_DEADLINE_MS = 20_000;

/** What enters `forward` while nothing comes back: the windows that the other side has granted. */
async function inFlight(
  forward: LinkDirection,
  back: LinkDirection,
  expected: number,
  send: () => void,
): Promise<number> {
  back.hold();
  const before = forward.bytes;
  const deadline = performance.now() + ARRIVAL_DEADLINE_MS;
  send();
  // A busy machine pauses between bytes: silence counts once what is expected has come.
  do await forward.quiet();
  while (forward.bytes - before < expected && performance.now() < deadline);
  return forward.bytes - before;
}

/** Both sides open, settings exchanged. */
async function ready(channel: GrpcChannel): Promise<ClientDuplexStream<Buffer, Buffer>> {
  const call = channel.duplex(Echo.stream);
  call.write(Buffer.from('start'));
  await once(call, 'data');
  return call;
}

const greet = handleDuplex(Echo.stream, (call) => {
  call.once('data', () => call.write(Buffer.from('welcome')));
  call.on('data', () => undefined);
});

test('a server grants each stream the window it was configured with, and all of them at once', async (t) => {
  const { port } = await startServer(t, { tls: undefined, services: [greet], streamWindowBytes: MIB });
  const link = await slowLink(t, port);
  const channel = await plainChannel(t, link.address);
  const calls = [await ready(channel), await ready(channel), await ready(channel)];
  const bytes = await inFlight(link.toServer, link.toClient, 2.9 * MIB, () =>
    calls.forEach((call) => flood(call, 2 * MIB)),
  );
  assert.ok(bytes > 2.9 * MIB && bytes < 3 * MIB * FRAMING, `${bytes} bytes in flight on three streams`);
});

test('a client grants each stream the window it was configured with, and all of them at once', async (t) => {
  const calls: ServerDuplexStream<Buffer, Buffer>[] = [];
  const answer = handleDuplex(Echo.stream, (call) => {
    calls.push(call);
    call.on('data', () => call.write(Buffer.from('welcome')));
  });
  const { port } = await startServer(t, { tls: undefined, services: [answer], maxMessageBytes: MIB });
  const link = await slowLink(t, port);
  const channel = await plainChannel(t, link.address, MIB);
  for (let open = 0; open < 3; open += 1) await ready(channel);
  const bytes = await inFlight(link.toClient, link.toServer, 2.9 * MIB, () =>
    calls.forEach((call) => flood(call, 2 * MIB)),
  );
  assert.ok(bytes > 2.9 * MIB && bytes < 3 * MIB * FRAMING, `${bytes} bytes in flight on three streams`);
});

test('a lone stream gets a large window, many streams get small ones', async (t) => {
  const { port } = await startServer(t, { tls: undefined, services: [greet] });
  const link = await slowLink(t, port);
  const channel = await plainChannel(t, link.address);
  const lone = await ready(channel);
  const alone = await inFlight(link.toServer, link.toClient, 3.9 * MIB, () => flood(lone, 6 * MIB));
  assert.ok(alone > 3.9 * MIB && alone < 4 * MIB * FRAMING, `${alone} bytes in flight on a lone stream`);
  link.toClient.release();
  await link.toServer.quiet();
  const many: ClientDuplexStream<Buffer, Buffer>[] = [];
  for (let open = 0; open < 80; open += 1) many.push(await ready(channel));
  const crowd = await inFlight(link.toServer, link.toClient, 19 * MIB, () => many.forEach((call) => flood(call, MIB)));
  assert.ok(crowd > 19 * MIB && crowd < 20 * MIB * FRAMING, `${crowd} bytes in flight on 80 streams`);
});

test('crowds of short streams, one after the other, are no flood of settings to the peer', async (t) => {
  const answer = handleUnary(Echo.unary, (request: Buffer) => Promise.resolve(request));
  const { port } = await startServer(t, { tls: undefined, services: [answer] });
  const channel = await plainChannel(t, `127.0.0.1:${port}`);
  for (let crowd = 0; crowd < 60; crowd += 1) {
    await Promise.all(Array.from({ length: 80 }, () => channel.unary(Echo.unary, BLOCK, 10_000)));
  }
});

test('the window follows the number of streams, with slack against streams that come and go', () => {
  const walk = (counts: readonly number[]): readonly number[] => {
    let window: number = WINDOW_POLICY.greatestBytes;
    return counts.map((streams) => (window = nextWindow(streams, window)) / 1024);
  };
  assert.deepEqual(
    walk([0, 1, 4, 5, 8, 9, 16, 17, 33, 1_000]),
    [4096, 4096, 4096, 2048, 2048, 1024, 1024, 512, 256, 256],
  );
  assert.deepEqual(
    walk([1_000, 33, 17, 16, 15, 9, 8, 5, 4, 2, 1]),
    [256, 256, 256, 512, 512, 512, 1024, 1024, 2048, 4096, 4096],
  );
  assert.deepEqual(walk([5, 4, 5, 4, 3, 4, 5]), [2048, 2048, 2048, 2048, 2048, 2048, 2048]);
});

test('an unpatched grpc-js server keeps 65,535 bytes for everything: a sixteenth of ours', async (t) => {
  const server = new Server();
  const { path, requestDeserialize, responseSerialize } = Echo.stream;
  const handler = (call: ServerDuplexStream<Buffer, Buffer>): void => {
    call.once('data', () => call.write(Buffer.from('welcome')));
    call.on('data', () => undefined);
  };
  server.register(path, handler, responseSerialize, requestDeserialize, 'bidi');
  const bound = Promise.withResolvers<number>();
  server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (_error, port) => bound.resolve(port));
  t.after(() => server.forceShutdown());
  const link = await slowLink(t, await bound.promise);
  const channel = await plainChannel(t, link.address);
  const calls = [await ready(channel), await ready(channel), await ready(channel)];
  const bytes = await inFlight(link.toServer, link.toClient, 0, () => calls.forEach((call) => flood(call, 2 * MIB)));
  assert.ok(bytes <= 65_535 * FRAMING, `${bytes} bytes in flight: upstream has changed, the patch may be superfluous`);
});

test('grpc-js is pinned to the version whose private fields we use', () => {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  const installed: unknown = createRequire(import.meta.url)('@grpc/grpc-js/package.json');
  assert.ok(typeof manifest === 'object' && manifest !== null && 'dependencies' in manifest);
  assert.ok(typeof installed === 'object' && installed !== null && 'version' in installed);
  assert.equal(installed.version, '1.14.7');
  assert.equal(Reflect.get(Object(manifest.dependencies), '@grpc/grpc-js'), '1.14.7');
});

test('says what moved when a private field of grpc-js is not where it was', () => {
  const changed = new Server();
  Reflect.deleteProperty(changed, 'commonServerOptions');
  assert.throws(() => addHttp2Options(changed, {}), /@grpc\/grpc-js has changed: Server\.commonServerOptions/);
  assert.throws(() => http2ServerOf(new Server()), /@grpc\/grpc-js has changed: Server\.http2Servers/);
  assert.throws(() => http2StreamOf({}), /@grpc\/grpc-js has changed: ServerDuplexStreamImpl/);
});
