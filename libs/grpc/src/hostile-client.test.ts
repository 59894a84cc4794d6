import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { handleDuplex, handleUnary } from './index.ts';
import { within } from './testing/deadline.ts';
import { Echo } from './testing/echo.ts';
import { connectTo, makeWorld, SERVER_NAME, startServer } from './testing/pair.ts';
import type { ServerUnderTest } from './testing/pair.ts';
import { callHeaders, END_HEADERS, END_STREAM, FRAME, frame, RawHttp2 } from './testing/raw-http2.ts';

/**
 * An authenticated peer that never resets a stream itself, and makes the server do so again and again (CVE-2025-8671), or that takes
 * nothing of what it asks for. The connection ends in time, and others go on.
 */

const world = await makeWorld();
const ENDS_WITHIN_MS = 2_000;
/** A slow machine may take longer to send the attack; the end comes so soon after the bound was reached. */
const SLACK_MS = 8_000;
const ANSWER_BYTES = 100_000;
let answered = 0;
const services = [
  handleUnary(Echo.unary, async () => {
    answered += 1;
    return Promise.resolve(Buffer.alloc(ANSWER_BYTES));
  }),
  handleDuplex(Echo.stream, (call) => {
    call.on('data', (chunk: Buffer) => void call.write(chunk));
    call.on('end', () => call.end());
  }),
];

async function attack(t: TestContext): Promise<{ readonly raw: RawHttp2; readonly target: ServerUnderTest }> {
  const target = await startServer(t, { tls: world.serverTls, services });
  const raw = await RawHttp2.open(t, target.port, world.clientTls.current(), SERVER_NAME);
  return { raw, target };
}

async function alive(t: TestContext, { address }: ServerUnderTest): Promise<void> {
  const channel = await connectTo(t, world, { address });
  assert.equal((await channel.unary(Echo.unary, Buffer.from('alive'), 5_000)).length, ANSWER_BYTES);
}

const many = (count: number, one: () => Buffer): Buffer => Buffer.concat(Array.from({ length: count }, one));

/** What follows the headers of each stream. */
const PROVOCATIONS: readonly (readonly [what: string, after: (stream: number) => Buffer])[] = [
  [
    'data after the end of a stream',
    (stream) => Buffer.concat([frame(FRAME.data, END_STREAM, stream), frame(FRAME.data, 0, stream, Buffer.alloc(10))]),
  ],
  [
    'headers after the end of a stream',
    (stream) =>
      Buffer.concat([
        frame(FRAME.data, END_STREAM, stream),
        frame(FRAME.headers, END_HEADERS, stream, callHeaders(Echo.stream.path)),
      ]),
  ],
  ['a PRIORITY frame of four bytes', (stream) => frame(FRAME.priority, 0, stream, Buffer.alloc(4))],
  ['a RST_STREAM frame of three bytes', (stream) => frame(FRAME.reset, 0, stream, Buffer.alloc(3))],
];
for (const [what, after] of PROVOCATIONS) {
  test(`A10: a flood of streams with ${what} ends the connection in time`, async (t) => {
    const { raw, target } = await attack(t);
    raw.greet();
    let open = true;
    void raw.closed.then(() => {
      open = false;
    });
    const startedAt = performance.now();
    for (let stream = 1; open && stream < 20_000; stream += 100) {
      const batch = Array.from({ length: 50 }, (_none, index) => stream + 2 * index).map((id) =>
        Buffer.concat([frame(FRAME.headers, END_HEADERS, id, callHeaders(Echo.stream.path)), after(id)]),
      );
      raw.write(...batch);
      await new Promise((resolve) => void setImmediate(resolve));
    }
    await within(raw.closed, 'the end of the connection');
    assert.ok(performance.now() - startedAt < ENDS_WITHIN_MS + SLACK_MS);
    await alive(t, target);
  });
}

test('A11: a peer that takes no byte of its answers has no more of them than it may have calls, and others go on', async (t) => {
  const { raw, target } = await attack(t);
  const before = answered;
  const settings = Buffer.alloc(6);
  // SETTINGS_INITIAL_WINDOW_SIZE: 0.
  settings.writeUInt16BE(0x4, 0);
  raw.greet().write(frame(FRAME.settings, 0, 0, settings));
  const memory = process.memoryUsage().arrayBuffers;
  const message = Buffer.from([0, 0, 0, 0, 1, 0x78]);
  const call = (stream: number): Buffer =>
    Buffer.concat([
      frame(FRAME.headers, END_HEADERS, stream, callHeaders(Echo.unary.path)),
      frame(FRAME.data, END_STREAM, stream, message),
    ]);
  let stream = -1;
  for (let batch = 0; batch < 60; batch += 1) {
    raw.write(
      many(50, () => {
        stream += 2;
        return call(stream);
      }),
    );
    await new Promise((resolve) => void setImmediate(resolve));
  }
  await alive(t, target);
  assert.ok(answered - before <= 1_001, `${answered - before} calls were answered`);
  assert.ok(process.memoryUsage().arrayBuffers - memory < 1_100 * ANSWER_BYTES);
});
