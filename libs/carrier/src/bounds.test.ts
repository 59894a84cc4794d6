import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { describe, test } from 'node:test';
import { limitReadAhead } from './read-ahead.ts';
import { http2StreamOf } from './server-stream.ts';
import { makeWorld } from './testing/world.ts';

const MIB = 1_048_576;

/** Writes until the way is full and nothing moves any more; answers with the bytes that went in. */
async function fill(socket: Socket): Promise<number> {
  const chunk = Buffer.alloc(65_536);
  let last = -1;
  for (;;) {
    while (socket.write(chunk));
    const drained = await Promise.race([
      once(socket, 'drain').then(() => true),
      new Promise<false>((resolve) => setTimeout(resolve, 300, false)),
    ]);
    const written = socket.bytesWritten - socket.writableLength;
    if (!drained && written === last) return written;
    last = written;
  }
}

describe('a reader that stops', { timeout: 60_000 }, () => {
  for (const hops of [0, 1] as const) {
    test(`holds bounded memory over ${hops} extra hops and does not slow its neighbour`, async () => {
      const world = await makeWorld({ hops, windowBytes: 262_144 });
      const stopped = await world.dial();
      const taken = await fill(stopped.node);
      // Kernel buffers of the sockets on the way hold most of it; each hop adds its window, its queue and one read.
      assert.ok(taken < (12 + hops) * MIB, `${taken} bytes were taken`);
      const neighbour = await world.dial();
      let received = 0;
      neighbour.user.on('data', (bytes: Buffer) => {
        received += bytes.length;
      });
      const started = performance.now();
      neighbour.node.end(Buffer.alloc(20 * MIB));
      await once(neighbour.user, 'end');
      assert.equal(received, 20 * MIB);
      assert.ok(performance.now() - started < 10_000, 'the neighbour is not held up');
      // The stopped reader reads on: nothing was lost.
      const before = stopped.node.bytesWritten;
      let caughtUp = 0;
      stopped.user.on('data', (bytes: Buffer) => {
        caughtUp += bytes.length;
      });
      stopped.node.end();
      await once(stopped.user, 'end');
      assert.equal(caughtUp, before);
      await world.close();
    });
  }

  test('is reset promptly when the connection is given up', async () => {
    const world = await makeWorld({ windowBytes: 262_144 });
    const { node, atAgent, ends } = await world.dial();
    await fill(node);
    const reset = once(node, 'error');
    atAgent.abort('drain-deadline', 'test');
    await reset;
    assert.deepEqual(
      (await ends).map((end) => end.kind),
      ['reset', 'reset'],
    );
    await world.close();
  });

  test('is reset promptly when the server side gives up, whose status would wait behind the data', async () => {
    const world = await makeWorld({ windowBytes: 65_535 });
    const { user, atProxy, ends } = await world.dial();
    await fill(user);
    const reset = once(user, 'error');
    const started = performance.now();
    atProxy.abort('shutdown', 'test');
    await reset;
    assert.deepEqual(
      (await ends).map((end) => end.kind),
      ['reset', 'reset'],
    );
    assert.ok(performance.now() - started < 4_000);
    await world.close();
  });
});

test('1,000 quick connections leave nothing behind', { timeout: 60_000 }, async () => {
  const world = await makeWorld();
  const dialOnce = async (): Promise<void> => {
    const { user, node, ends } = await world.dial();
    user.end('ping');
    node.on('data', () => node.end('pong'));
    user.resume();
    await Promise.all([ends, once(user, 'close'), once(node, 'close')]);
  };
  const resources = (): string => process.getActiveResourcesInfo().sort().join(' ');
  await dialOnce();
  const before = resources();
  for (let round = 0; round < 50; round += 1) await Promise.all(Array.from({ length: 20 }, dialOnce));
  // Sockets close in their own turn.
  for (let turn = 0; turn < 20 && resources() !== before; turn += 1)
    await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(resources(), before);
  await world.close();
});

test('the fields of Node and grpc-js that are reached into are where they were', async () => {
  const readable = new Readable({ objectMode: true, read() {} });
  limitReadAhead(readable);
  assert.equal(readable.readableHighWaterMark, 1);
  const world = await makeWorld();
  const { user, node, ends } = await world.dial();
  assert.equal(world.serverCalls.length, 1);
  for (const call of world.serverCalls) assert.notEqual(http2StreamOf(call), undefined);
  user.destroy();
  node.destroy();
  await ends;
  await world.close();
});
