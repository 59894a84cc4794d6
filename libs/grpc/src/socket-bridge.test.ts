import assert from 'node:assert/strict';
import { createServer as createTcpServer } from 'node:net';
import type { Socket } from 'node:net';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import type { ClientDuplexStream, ServerDuplexStream } from '@grpc/grpc-js';
import { handleDuplex } from './index.ts';
import { occurs, within } from './testing/deadline.ts';
import { Echo } from './testing/echo.ts';
import { connectTo, makeWorld, startServer } from './testing/pair.ts';

/** What Node's HTTP/2 does without the bridge: see socket-bridge.ts. */

const world = await makeWorld();
const BLOCK = Buffer.alloc(60_000);

type Call = ClientDuplexStream<Buffer, Buffer> | ServerDuplexStream<Buffer, Buffer>;

/** Sends as fast as it is taken, for as long as the call lasts. */
function pour(call: Call): void {
  let open = true;
  const more = (): void => {
    while (open && call.write(BLOCK));
    if (open) call.once('drain', more);
  };
  const stop = (): void => {
    open = false;
  };
  call.once('cancelled', stop);
  call.once('status', stop);
  more();
}

const pourBack = handleDuplex(Echo.stream, (call) => {
  call.on('data', () => undefined);
  pour(call);
});

for (const tls of [false, true]) {
  test(`twenty streams busy in both directions do not stop each other (${tls ? 'TLS' : 'plain'})`, async (t) => {
    const { address } = await startServer(t, { tls: tls ? world.serverTls : undefined, services: [pourBack] });
    const channel = await connectTo(t, world, tls ? { address } : { address, tls: undefined });
    const received = Array.from({ length: 20 }, async () => {
      const call = channel.duplex(Echo.stream);
      pour(call);
      let bytes = 0;
      const enough = Promise.withResolvers<void>();
      call.on('data', (message: Buffer) => {
        bytes += message.length;
        // More than the kernel and the windows hold together.
        if (bytes > 8_000_000) enough.resolve();
      });
      await enough.promise;
    });
    await within(Promise.all(received), 'the progress of every stream', 60_000);
  });
}

/** Raw connections go through here, so that they can be broken from below. */
async function front(
  t: TestContext,
  inject: (socket: Socket) => void,
): Promise<{ address: string; sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const server = createTcpServer((socket) => {
    sockets.push(socket);
    inject(socket);
  });
  server.listen(0, '127.0.0.1');
  await occurs(server, 'listening');
  t.after(() => server.close());
  const bound = server.address();
  assert.ok(bound !== null && typeof bound === 'object');
  return { address: `127.0.0.1:${bound.port}`, sockets };
}

for (const how of ['reset', 'closed'] as const) {
  test(`a connection that is ${how} while both ends have much to write is lost on both`, async (t) => {
    const atServer: Promise<unknown>[] = [];
    const { server } = await startServer(t, {
      tls: world.serverTls,
      services: [
        handleDuplex(Echo.stream, (call) => {
          atServer.push(occurs(call, 'cancelled'));
          call.on('data', () => undefined);
          pour(call);
        }),
      ],
    });
    const { address, sockets } = await front(t, (socket) => server.inject(socket));
    for (let round = 0; round < 5; round += 1) {
      const channel = await connectTo(t, world, { address });
      const calls = Array.from({ length: 10 }, () => channel.duplex(Echo.stream));
      const statuses = Promise.all(calls.map((call) => occurs(call, 'status')));
      const flowing = Promise.all(calls.map((call) => occurs(call, 'data')));
      calls.forEach(pour);
      // Every stream has received something, so both ends are at it.
      await within(flowing, 'the first message of every stream');
      const raw = sockets.at(-1);
      if (how === 'reset') raw?.resetAndDestroy();
      else raw?.destroy();
      assert.equal((await within(channel.lost, 'the loss')).kind, 'broken');
      await within(statuses, 'the end of every stream at the client');
      await within(Promise.all(atServer), 'the end of every stream at the server');
    }
  });
}
