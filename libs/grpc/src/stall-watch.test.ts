import { test } from 'node:test';
import { createChannel, handleDuplex } from './index.ts';
import { occurs, within } from './testing/deadline.ts';
import { Echo } from './testing/echo.ts';
import { makeWorld, SERVER_NAME, startServer } from './testing/pair.ts';
import { slowLink } from './testing/slow-link.ts';

const world = await makeWorld();
const BLOCK = Buffer.alloc(60_000);

test('a client that is lost while the server is stuck in a write ends its streams within a second', async (t) => {
  for (let round = 0; round < 4; round += 1) {
    const open = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<unknown>();
    const { port } = await startServer(t, {
      tls: world.serverTls,
      services: [
        handleDuplex(Echo.stream, (call) => {
          void occurs(call, 'cancelled').then(ended.resolve);
          call.on('data', () => undefined);
          // More than windows and kernel hold, so that a write stays unfinished.
          for (let block = 0; block < 200; block += 1) call.write(BLOCK);
          open.resolve();
        }),
      ],
    });
    const link = await slowLink(t, port);
    const channel = createChannel({ address: link.address, tls: world.clientTls, serverName: SERVER_NAME });
    t.after(() => channel.close());
    await channel.connect();
    channel.duplex(Echo.stream);
    await within(open.promise, 'the call');
    link.stop();
    await link.toClient.quiet(50);
    link.reset();
    await within(ended.promise, 'the end at the server', 1_000);
  }
});
