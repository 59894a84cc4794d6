import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createChannel, handleServerStream, handleStream } from './index.ts';
import type { GrpcChannel, MessageStream, ServerOptions, StreamEnd } from './index.ts';
import { within } from './testing/deadline.ts';
import { Echo } from './testing/echo.ts';
import { startServer } from './testing/pair.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const BLOCK = Buffer.alloc(32 * KIB);

type Bytes = MessageStream<Buffer, Buffer>;

/** A client and a server whose handler of Echo.stream is `handler`. */
async function plainPair(
  t: TestContext,
  handler: (stream: Bytes) => Promise<void>,
  options: Partial<ServerOptions> = {},
): Promise<GrpcChannel> {
  const { address } = await startServer(t, {
    tls: undefined,
    services: [handleStream(Echo.stream, handler)],
    ...options,
  });
  const channel = createChannel({ address, tls: undefined });
  t.after(() => channel.close());
  await channel.connect();
  return channel;
}

const echo = async (stream: Bytes): Promise<void> => {
  for await (const message of stream) {
    stream.send(message);
    await stream.drained();
  }
};

/** Sends until the other side has been stopped for a while. Answers with the bytes that were taken. */
async function fill(stream: Bytes): Promise<number> {
  let taken = 0;
  for (;;) {
    stream.send(BLOCK);
    taken += BLOCK.length;
    const full = Promise.withResolvers<'full'>();
    const timer = setTimeout(full.resolve, 100, 'full');
    const state = await Promise.race([stream.drained(), full.promise]);
    clearTimeout(timer);
    if (state === 'full') return taken;
  }
}

test('a reader that stops stops the sender: nothing piles up', async (t) => {
  const filled = Promise.withResolvers<number>();
  const channel = await plainPair(t, async (stream) => {
    filled.resolve(await fill(stream));
    await stream.closed;
  });
  const stream = channel.stream(Echo.stream);
  // The window of a lone stream, the queue's soft bound and what grpc-js takes on top.
  const bound = 5 * MIB;
  const up = await within(fill(stream), 'the stop upwards', 10_000);
  const down = await within(filled.promise, 'the stop downwards', 10_000);
  assert.ok(up < bound && down < bound, `${up} bytes taken upwards, ${down} downwards`);
});

test('a hundred stopped readers do not stop another stream on their connection', async (t) => {
  const channel = await plainPair(t, async (stream) => {
    if (stream.metadata('role') === 'stopped') await stream.closed;
    else await echo(stream);
  });
  const stopped = Array.from({ length: 100 }, () => channel.stream(Echo.stream, { role: 'stopped' }));
  await Promise.all(stopped.map(fill));
  const stream = channel.stream(Echo.stream);
  const total = 16 * MIB;
  const sending = (async (): Promise<void> => {
    for (let sent = 0; sent < total; sent += BLOCK.length) {
      stream.send(BLOCK);
      await stream.drained();
    }
    stream.end();
  })();
  let received = 0;
  for await (const message of stream) received += message.length;
  await sending;
  assert.equal(received, total);
  assert.deepEqual(await stream.closed, { kind: 'ended' });
});

test('a cancel ends every wait for the queue', async (t) => {
  const ends: StreamEnd[] = [];
  const cancelledByServer = Promise.withResolvers<void>();
  const channel = await plainPair(t, async (stream) => {
    await fill(stream);
    const waiting = stream.drained();
    if (stream.metadata('who') === 'server') stream.cancel('enough', 8);
    await within(waiting, 'the end of the wait at the server');
    ends.push(await within(stream.closed, 'the end at the server'));
    cancelledByServer.resolve();
  });
  const byServer = channel.stream(Echo.stream, { who: 'server' });
  const end = await within(byServer.closed, 'the end at the client', 10_000);
  assert.equal(end.kind, 'failed');
  await within(cancelledByServer.promise, 'the end of the handler');
  const byClient = channel.stream(Echo.stream);
  await fill(byClient);
  const waiting = byClient.drained();
  byClient.cancel('enough');
  byClient.cancel('again');
  await within(waiting, 'the end of the wait at the client');
  assert.deepEqual(await within(byClient.closed, 'the end'), { kind: 'cancelled', detail: 'enough' });
  assert.deepEqual(ends[0], { kind: 'cancelled', detail: 'enough' });
  assert.equal(byClient.send(BLOCK), false);
});

test('a peer that never reads costs the queue limit, then the stream', async (t) => {
  const seen = Promise.withResolvers<StreamEnd>();
  const channel = await plainPair(t, async (stream) => seen.resolve(await stream.closed));
  const stream = channel.stream(Echo.stream);
  let sent = 0;
  for (let alive = true; alive && sent < 64 * MIB; sent += BLOCK.length) {
    alive = stream.send(BLOCK) || sent < 2 * MIB;
  }
  const end = await within(stream.closed, 'the end');
  assert.equal(end.kind, 'cancelled');
  assert.match(end.kind === 'cancelled' ? end.detail : '', /the peer does not read: \d+ bytes are queued/);
  assert.equal((await within(seen.promise, 'the end at the server')).kind, 'failed');
});

test('a stream that is cancelled in the turn it was opened ends at the server too', async (t) => {
  const seen = Promise.withResolvers<StreamEnd>();
  const channel = await plainPair(t, async (stream) => seen.resolve(await stream.closed));
  const stream = channel.stream(Echo.stream);
  stream.cancel('never mind');
  assert.equal((await within(stream.closed, 'the end')).kind, 'cancelled');
  // Either the server never hears of it, or it hears of the end.
  const marker = channel.stream(Echo.stream);
  marker.send(BLOCK);
  const first = await within(Promise.race([seen.promise, marker.closed]), 'the end at the server');
  assert.equal(first.kind, 'failed');
});

test('a cancel at the server gives the client its code and detail', async (t) => {
  const channel = await plainPair(t, async (stream) => stream.cancel('policy forbids it', 7));
  const end = await within(channel.stream(Echo.stream).closed, 'the end');
  assert.deepEqual(end, { kind: 'failed', code: 7, detail: 'policy forbids it' });
});

test('the other direction stays open after one has ended', async (t) => {
  const channel = await plainPair(t, async (stream) => {
    let bytes = 0;
    for await (const message of stream) bytes += message.length;
    for (let part = 0; part < 3; part += 1) stream.send(Buffer.from(`${bytes}/${part}`));
  });
  const stream = channel.stream(Echo.stream);
  stream.send(Buffer.from('abc'));
  stream.end();
  stream.end();
  const answers: string[] = [];
  for await (const message of stream) answers.push(message.toString());
  assert.deepEqual(answers, ['3/0', '3/1', '3/2']);
  assert.deepEqual(await stream.closed, { kind: 'ended' });
});

test('everything sent before a clean end arrives, however late it is read', async (t) => {
  const ended = Promise.withResolvers<StreamEnd>();
  const channel = await plainPair(t, async (stream) => {
    for (let part = 0; part < 200; part += 1) stream.send(Buffer.from(String(part)));
    void stream.closed.then(ended.resolve);
  });
  const stream = channel.stream(Echo.stream);
  stream.end();
  await within(ended.promise, 'the end at the server');
  const parts: string[] = [];
  for await (const message of stream) parts.push(message.toString());
  assert.equal(parts.length, 200);
  assert.deepEqual(await stream.closed, { kind: 'ended' });
});

test('a handler that returns ends the stream though the client has not ended', async (t) => {
  const ended = Promise.withResolvers<StreamEnd>();
  const channel = await plainPair(t, async (stream) => void stream.closed.then(ended.resolve));
  const stream = channel.stream(Echo.stream);
  assert.deepEqual(await within(stream.closed, 'the end'), { kind: 'ended' });
  assert.deepEqual(await within(ended.promise, 'the end at the server'), { kind: 'ended' });
});

test('a message that cannot be decoded fails the stream as INVALID_ARGUMENT', async (t) => {
  const ended = Promise.withResolvers<StreamEnd>();
  const strict = {
    ...Echo.stream,
    requestDeserialize: (): Buffer => {
      throw new Error('no such field');
    },
  };
  const handler = handleStream(strict, async (stream) => {
    for await (const _ of stream) assert.fail('a malformed message was delivered');
    ended.resolve(await stream.closed);
  });
  const channel = await plainPair(t, echo, { services: [handler] });
  const stream = channel.stream(Echo.stream);
  stream.send(BLOCK);
  const end = await within(stream.closed, 'the end');
  assert.deepEqual(end, { kind: 'failed', code: 3, detail: 'malformed message: no such field' });
  assert.deepEqual(await ended.promise, { kind: 'cancelled', detail: 'malformed message: no such field' });
});

test('a message over the limit fails its stream on either side, and no other', async (t) => {
  const channel = await plainPair(t, echo, { maxMessageBytes: 1_000 });
  const good = channel.stream(Echo.stream);
  const bad = channel.stream(Echo.stream);
  bad.send(BLOCK);
  const end = await within(bad.closed, 'the end');
  assert.equal(end.kind === 'failed' ? end.code : end.kind, 8);
  const own = channel.stream(Echo.stream);
  own.send(Buffer.alloc(200 * KIB));
  assert.equal((await within(own.closed, 'the end')).kind, 'cancelled');
  good.send(Buffer.from('x'));
  for await (const message of good) {
    assert.equal(message.toString(), 'x');
    good.end();
  }
});

test('a server stream without a request message is refused', async (t) => {
  const binding = handleServerStream(Echo.stream, async (request, stream) => void stream.send(request));
  const channel = await plainPair(t, echo, { services: [binding] });
  const empty = channel.stream(Echo.stream);
  empty.end();
  const end = await within(empty.closed, 'the end');
  assert.deepEqual(end, { kind: 'failed', code: 3, detail: 'a request message is missing' });
});

/** A killed process must not outlive the test. */
function child(t: TestContext, ...args: readonly string[]): { process: ChildProcess; firstLine: Promise<string> } {
  const path = fileURLToPath(new URL('./testing/child.ts', import.meta.url));
  const started = spawn(process.execPath, [path, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => started.kill('SIGKILL'));
  assert.ok(started.stdout !== null);
  const lines = createInterface({ input: started.stdout });
  return { process: started, firstLine: once(lines, 'line').then(([line]) => String(line)) };
}

test('a server that is killed fails the stream, it does not end it', async (t) => {
  const { process: server, firstLine } = child(t, 'serve');
  const channel = createChannel({ address: `127.0.0.1:${await firstLine}`, tls: undefined });
  t.after(() => channel.close());
  await channel.connect();
  const stream = channel.stream(Echo.stream);
  stream.send(Buffer.from('x'));
  await stream[Symbol.asyncIterator]().next();
  server.kill('SIGKILL');
  assert.equal((await within(stream.closed, 'the end')).kind, 'failed');
  assert.equal((await within(channel.lost, 'the loss')).kind, 'broken');
});

test('a client that is killed fails the stream at the server, it does not end it', async (t) => {
  const seen = Promise.withResolvers<StreamEnd>();
  const handler = handleStream(Echo.stream, async (stream) => {
    void stream.closed.then(seen.resolve);
    for await (const message of stream) stream.send(message);
    // Returning ends the stream with OK, as a handler does that takes the end of its input for a clean one.
  });
  const { port } = await startServer(t, { tls: undefined, services: [handler] });
  const { process: client, firstLine } = child(t, 'dial', String(port));
  assert.equal(await firstLine, 'alive');
  client.kill('SIGKILL');
  const end = await within(seen.promise, 'the end');
  assert.equal(end.kind, 'failed', JSON.stringify(end));
});
