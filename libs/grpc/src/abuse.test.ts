import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { gzipSync } from 'node:zlib';
import { handleDuplex, handleUnary } from './index.ts';
import { within } from './testing/deadline.ts';
import { Echo } from './testing/echo.ts';
import { connectTo, makeWorld, SERVER_NAME, startServer } from './testing/pair.ts';
import type { ServerUnderTest } from './testing/pair.ts';
import { callHeaders, END_HEADERS, END_STREAM, FRAME, frame, RawHttp2 } from './testing/raw-http2.ts';

/**
 * Authenticated peers that write HTTP/2 frames by hand. Each ends as its own connection only: the server answers another peer, and
 * tells what happened once.
 */

const world = await makeWorld();
let calls = 0;
const services = [
  handleUnary(Echo.unary, async (request) => {
    calls += 1;
    return Promise.resolve(request);
  }),
  handleDuplex(Echo.stream, (call) => {
    call.on('data', (chunk: Buffer) => void call.write(chunk));
    call.on('end', () => call.end());
  }),
];

async function attack(t: TestContext): Promise<{ readonly raw: RawHttp2; readonly target: ServerUnderTest }> {
  const target = await startServer(t, { tls: world.serverTls, services, maxMessageBytes: 64 * 1024 });
  const raw = await RawHttp2.open(t, target.port, world.clientTls.current(), SERVER_NAME);
  return { raw, target };
}

async function alive(t: TestContext, { address }: ServerUnderTest): Promise<void> {
  const channel = await connectTo(t, world, { address });
  assert.equal((await channel.unary(Echo.unary, Buffer.from('alive'), 2_000)).toString(), 'alive');
}

const many = (count: number, one: () => Buffer): Buffer => Buffer.concat(Array.from({ length: count }, one));
const window = (increment: number): Buffer => {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(increment);
  return payload;
};

const FLOODS: readonly (readonly [what: string, batch: () => Buffer])[] = [
  ['PING', () => many(1_000, () => frame(FRAME.ping, 0, 0, Buffer.alloc(8)))],
  ['SETTINGS', () => many(50, () => frame(FRAME.settings, 0, 0))],
  ['PRIORITY', () => many(200, () => frame(FRAME.priority, 0, 1, Buffer.alloc(5, 1)))],
  ['WINDOW_UPDATE', () => many(5_000, () => frame(FRAME.windowUpdate, 0, 0, window(1)))],
  ['unknown', () => many(50, () => frame(0xbb, 0, 0, Buffer.alloc(16)))],
];
for (const [what, batch] of FLOODS) {
  test(`A11: a flood of ${what} frames ends the connection, and is named`, async (t) => {
    const { raw, target } = await attack(t);
    await raw.greet().flood(batch, 400);
    const fault = await within(target.firstFault, 'the report');
    assert.equal(fault.kind, 'session');
    assert.match(String(fault.cause), new RegExp(`floods with ${what} frames`));
    await alive(t, target);
  });
}

test('A11: a flood of empty DATA frames on an open call ends the connection', async (t) => {
  const { raw, target } = await attack(t);
  raw.greet().write(frame(FRAME.headers, END_HEADERS, 1, callHeaders(Echo.stream.path)));
  await raw.flood(() => many(200, () => frame(FRAME.data, 0, 1)), 200);
  // Node's own bound on invalid frames is reached before ours.
  assert.match(String((await within(target.firstFault, 'the report')).cause), /empty DATA|TOO_MANY_INVALID_FRAMES/);
  await alive(t, target);
});

test('A11: a window that grows past its end is refused', async (t) => {
  const { raw, target } = await attack(t);
  raw.greet().write(frame(FRAME.windowUpdate, 0, 0, window(0x7fff_ffff)));
  await within(raw.closed, 'the end of the connection');
  await alive(t, target);
});

test('A11: GOAWAY upon GOAWAY ends the connection', async (t) => {
  const { raw, target } = await attack(t);
  await raw.greet().flood(() => many(5, () => frame(FRAME.goaway, 0, 0, Buffer.alloc(8))), 400);
  await alive(t, target);
});

test('A11: data after GOAWAY serves nobody and ends the connection', async (t) => {
  const { raw, target } = await attack(t);
  const before = calls;
  raw.greet().write(frame(FRAME.goaway, 0, 0, Buffer.alloc(8)), frame(FRAME.data, 0, 1, Buffer.alloc(100)));
  await within(raw.closed, 'the end of the connection');
  assert.equal(calls, before);
  await alive(t, target);
});

/** Each makes the server reset one of its own streams; the peer never sends RST_STREAM itself (CVE-2025-8671). */
const PROVOCATIONS: readonly (readonly [what: string, after: (stream: number) => Buffer])[] = [
  ['a window update of zero', (stream) => frame(FRAME.windowUpdate, 0, stream, window(0))],
  ['a window update past the end', (stream) => frame(FRAME.windowUpdate, 0, stream, window(0x7fff_ffff))],
  ['a stream that depends on itself', (stream) => frame(FRAME.priority, 0, stream, window(stream))],
];
for (const [what, after] of PROVOCATIONS) {
  test(`A10: resets provoked by ${what} are bounded`, async (t) => {
    const { raw, target } = await attack(t);
    raw.greet();
    let stream = -1;
    const batch = (): Buffer =>
      many(50, () => {
        stream += 2;
        const open = frame(FRAME.headers, END_HEADERS, stream, callHeaders(Echo.stream.path));
        return Buffer.concat([open, after(stream), after(stream)]);
      });
    await raw.flood(batch, 400);
    await alive(t, target);
  });
}

const NONSENSE: readonly (readonly [what: string, send: (raw: RawHttp2) => void])[] = [
  ['a bad preface', (raw) => raw.write(Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'))],
  ['random bytes', (raw) => raw.write(randomBytes(4_096))],
  ['an invalid header block', (raw) => raw.greet().write(frame(FRAME.headers, END_HEADERS, 1, Buffer.alloc(64, 0xff)))],
  ['a frame longer than agreed', (raw) => raw.greet().write(frame(FRAME.data, 0, 1, Buffer.alloc(2 ** 20)))],
  ['headers on stream 0', (raw) => raw.greet().write(frame(FRAME.headers, END_HEADERS, 0, callHeaders('/x')))],
  [
    'data in the middle of a header block',
    (raw) => raw.greet().write(frame(FRAME.headers, 0, 1, callHeaders('/x')), frame(FRAME.data, 0, 1, Buffer.alloc(1))),
  ],
  ['a pushed stream', (raw) => raw.greet().write(frame(FRAME.push, END_HEADERS, 1, Buffer.alloc(8)))],
];
for (const [what, send] of NONSENSE) {
  test(`A9: ${what} ends the connection`, async (t) => {
    const { raw, target } = await attack(t);
    const before = calls;
    send(raw);
    await within(raw.closed, 'the end of the connection');
    assert.equal(calls, before, 'no handler was called');
    await alive(t, target);
  });
}

test('A9: a header block of a mebibyte in CONTINUATION frames ends the connection', async (t) => {
  const { raw, target } = await attack(t);
  raw.greet().write(frame(FRAME.headers, 0, 1, callHeaders('/x')));
  await raw.flood(() => frame(FRAME.continuation, 0, 1, Buffer.alloc(16_000)), 70);
  await alive(t, target);
});

test('A9: a connection closed inside a header block leaves nothing behind', async (t) => {
  const { raw, target } = await attack(t);
  raw.greet().write(frame(FRAME.headers, 0, 1, callHeaders('/x')), frame(FRAME.continuation, 0, 1, Buffer.alloc(8)));
  raw.socket.destroy();
  await raw.closed;
  await alive(t, target);
});

function message(flag: number, body: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(flag, 0);
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, body]);
}

const MESSAGES: readonly (readonly [what: string, encoding: string, bytes: () => Buffer])[] = [
  ['above the limit', 'identity', () => message(0, Buffer.alloc(65 * 1024))],
  ['compressed from 32 MiB of zeros', 'gzip', () => message(1, gzipSync(Buffer.alloc(32 * 2 ** 20)))],
  ['that says it is compressed and is not', 'gzip', () => message(1, Buffer.alloc(1_000, 0x61))],
  ['compressed in a way nobody knows', 'br', () => message(1, Buffer.alloc(1_000, 0x61))],
];
for (const [what, encoding, bytes] of MESSAGES) {
  test(`A8: a message ${what} never reaches the handler`, async (t) => {
    const { raw, target } = await attack(t);
    const before = calls;
    const body = bytes();
    const memory = process.memoryUsage().arrayBuffers;
    const headers = callHeaders(Echo.unary.path, { 'grpc-encoding': encoding });
    const pieces: Buffer[] = [];
    for (let at = 0; at < body.length; at += 16_000) {
      const last = at + 16_000 >= body.length;
      pieces.push(frame(FRAME.data, last ? END_STREAM : 0, 1, body.subarray(at, at + 16_000)));
    }
    raw.greet().write(frame(FRAME.headers, END_HEADERS, 1, headers), ...pieces);
    await alive(t, target);
    assert.equal(calls, before + 1, 'only the other peer was served');
    assert.ok(process.memoryUsage().arrayBuffers - memory < 16 * 2 ** 20);
  });
}

for (const path of [
  'echo.Echo/Unary',
  `/${Echo.unary.path}`,
  Echo.unary.path.replace('/', '/%2f'),
  Echo.unary.path.toUpperCase(),
  `${Echo.unary.path}x`,
  Echo.unary.path.slice(0, -1),
  `${Echo.unary.path}/`,
  '/',
  '*',
]) {
  test(`A20: the path ${path} is no method`, async (t) => {
    const { raw, target } = await attack(t);
    const before = calls;
    raw
      .greet()
      .write(
        frame(FRAME.headers, END_HEADERS, 1, callHeaders(path)),
        frame(FRAME.data, END_STREAM, 1, message(0, Buffer.from('x'))),
      );
    await alive(t, target);
    assert.equal(calls, before + 1, 'only the other peer was served');
  });
}
