import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { makeWorld } from './testing/world.ts';
import type { World } from './testing/world.ts';

const LIMIT = { timeout: 20_000 };

function sha(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Everything a socket brings until its FIN. Rejects on a reset. */
async function readAll(socket: Socket): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of socket) parts.push(part);
  return Buffer.concat(parts);
}

/** How a socket ends when nothing more is expected of it: 'end' for a FIN, else the error's code. */
function ending(socket: Socket): Promise<string> {
  return new Promise((resolve) => {
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'error'));
    socket.once('end', () => resolve('end'));
    socket.resume();
  });
}

async function write(socket: Socket, chunks: readonly Uint8Array[]): Promise<void> {
  for (const chunk of chunks) if (!socket.write(chunk)) await once(socket, 'drain');
}

for (const hops of [0, 1] as const) {
  describe(`carried over ${hops} extra hops`, LIMIT, () => {
    let world: World;
    before(async () => {
      world = await makeWorld({ hops });
    });
    after(() => world.close());

    test('delivers any chunking of any bytes, both ways at once', async () => {
      const chunks = fc.array(fc.integer({ min: 1, max: 200_000 }), { maxLength: 12 });
      await fc.assert(
        fc.asyncProperty(chunks, chunks, async (up, down) => {
          const upChunks = up.map((size) => randomBytes(size));
          const downChunks = down.map((size) => randomBytes(size));
          const { user, node, ends, hop } = await world.dial();
          const send = async (socket: Socket, parts: readonly Buffer[]): Promise<void> => {
            await write(socket, parts);
            socket.end();
          };
          const [atNode, atUser] = await Promise.all([
            readAll(node),
            readAll(user),
            send(user, upChunks),
            send(node, downChunks),
          ]);
          assert.equal(sha(atNode), sha(Buffer.concat(upChunks)));
          assert.equal(sha(atUser), sha(Buffer.concat(downChunks)));
          const [proxyEnd, agentEnd] = await ends;
          assert.deepEqual([proxyEnd?.kind, agentEnd?.kind], ['clean', 'clean']);
          assert.equal(agentEnd?.sentBytes, atUser.length);
          assert.equal(proxyEnd?.sentBytes, atNode.length);
          if (hop !== undefined)
            assert.deepEqual(await hop, {
              kind: 'clean',
              reason: undefined,
              detail: '',
              upBytes: atNode.length,
              downBytes: atUser.length,
            });
        }),
        { numRuns: 15 },
      );
    });

    test('keeps a half-close: a user that ended first still receives 10 MB', async () => {
      const { user, node, ends } = await world.dial();
      user.end('question');
      assert.equal((await readAll(node)).toString(), 'question');
      const answer = randomBytes(10_000_000);
      const received = readAll(user);
      await write(node, [answer]);
      node.end();
      assert.equal(sha(await received), sha(answer));
      assert.deepEqual(
        (await ends).map((end) => end.kind),
        ['clean', 'clean'],
      );
    });

    test('keeps a half-close: a node that ended first still receives 10 MB', async () => {
      const { user, node, ends } = await world.dial();
      node.end('banner');
      assert.equal((await readAll(user)).toString(), 'banner');
      const upload = randomBytes(10_000_000);
      const received = readAll(node);
      await write(user, [upload]);
      user.end();
      assert.equal(sha(await received), sha(upload));
      assert.deepEqual(
        (await ends).map((end) => end.kind),
        ['clean', 'clean'],
      );
    });

    test('turns a reset of the node into a reset of the user', async () => {
      const { user, node, ends } = await world.dial();
      user.write('hello');
      await once(node, 'data');
      const ended = ending(user);
      node.resetAndDestroy();
      assert.equal(await ended, 'ECONNRESET');
      assert.deepEqual(
        (await ends).map((end) => [end.kind, end.reason]),
        [
          ['reset', 'peer-reset'],
          ['reset', 'peer-reset'],
        ],
      );
    });

    test('turns a reset of the user into a reset of the node', async () => {
      const { user, node, ends } = await world.dial();
      user.write('hello');
      await once(node, 'data');
      const ended = ending(node);
      user.resetAndDestroy();
      assert.equal(await ended, 'ECONNRESET');
      assert.deepEqual(
        (await ends).map((end) => end.reason),
        ['peer-reset', 'peer-reset'],
      );
    });

    test('resets both ends when the connection is given up, with the reason', async () => {
      const { user, node, atProxy, ends } = await world.dial();
      const both = Promise.all([ending(user), ending(node)]);
      atProxy.abort('drain-deadline', 'this root proxy stops');
      assert.deepEqual(await both, ['ECONNRESET', 'ECONNRESET']);
      assert.deepEqual(
        (await ends).map((end) => end.reason),
        ['drain-deadline', 'drain-deadline'],
      );
    });

    test('resets a half-closed connection whose open direction fails', async () => {
      const { user, node, ends } = await world.dial();
      user.end('request');
      assert.equal((await readAll(node)).toString(), 'request');
      const ended = ending(user);
      node.resetAndDestroy();
      assert.equal(await ended, 'ECONNRESET');
      assert.deepEqual(
        (await ends).map((end) => end.kind),
        ['reset', 'reset'],
      );
    });
  });
}

describe('a tunnel that is lost', LIMIT, () => {
  test('A26: resets the user, never a clean end', async () => {
    const world = await makeWorld({ relayed: true });
    const { user, node, ends } = await world.dial();
    node.write('part of an answer');
    await once(user, 'data');
    const both = Promise.all([ending(user), ending(node)]);
    world.cutTunnel();
    assert.deepEqual(await both, ['ECONNRESET', 'ECONNRESET']);
    assert.deepEqual(
      (await ends).map((end) => end.reason),
      ['tunnel-lost', 'tunnel-lost'],
    );
    await world.close();
  });

  test('A26: resets the user when bytes went missing', async () => {
    let frames = 0;
    const world = await makeWorld({
      tamper: (bytes) => {
        frames += 1;
        // The second data frame after the outcome is replaced by one that is a byte shorter.
        return frames === 2 ? Buffer.from([0x0a, 0x01, 0x41]) : bytes;
      },
    });
    const { user, node, ends } = await world.dial();
    const ended = ending(user);
    node.end('AB');
    assert.equal(await ended, 'ECONNRESET');
    assert.deepEqual(
      (await ends).map((end) => end.reason),
      ['data-loss', 'data-loss'],
    );
    await world.close();
  });

  test('A7: resets both ends on a frame that is none', async () => {
    let frames = 0;
    const world = await makeWorld({
      tamper: (bytes) => {
        frames += 1;
        return frames === 2 ? Buffer.from([0xff, 0xff, 0xff]) : bytes;
      },
    });
    const { user, node, ends } = await world.dial();
    const both = Promise.all([ending(user), ending(node)]);
    node.write('x');
    assert.deepEqual(await both, ['ECONNRESET', 'ECONNRESET']);
    assert.deepEqual(
      (await ends).map((end) => end.reason),
      ['protocol-error', 'protocol-error'],
    );
    await world.close();
  });
});
