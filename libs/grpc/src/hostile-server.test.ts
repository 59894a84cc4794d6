import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { createServer } from 'node:tls';
import type { TLSSocket } from 'node:tls';
import { createChannel } from './index.ts';
import { occurs, within } from './testing/deadline.ts';
import { Echo } from './testing/echo.ts';
import { connectTo, makeWorld, SERVER_NAME, startServer } from './testing/pair.ts';
import { END_HEADERS, FRAME, frame } from './testing/raw-http2.ts';

/** A server with a certificate that is trusted, and bad manners: the channel is lost, the process and other channels are not. */

const world = await makeWorld();
const many = (count: number, one: () => Buffer): Buffer => Buffer.concat(Array.from({ length: count }, one));

/** A server that greets and then writes batch after batch until it is cut off. */
async function hostileServer(t: TestContext, batch: () => Buffer): Promise<string> {
  const { ca, cert, key } = world.serverTls.current();
  const sockets = new Set<TLSSocket>();
  const server = createServer({ ca, cert, key, requestCert: true, ALPNProtocols: ['h2'] }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.resume();
    socket.write(frame(FRAME.settings, 0, 0));
    void flood(socket, batch);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return `127.0.0.1:${port}`;
}

async function flood(socket: TLSSocket, batch: () => Buffer): Promise<void> {
  const closed = occurs(socket, 'close');
  for (let count = 0; count < 2_000 && !socket.destroyed; count += 1) {
    if (!socket.write(batch())) await Promise.race([occurs(socket, 'drain'), closed]);
    await new Promise((resolve) => void setImmediate(resolve));
  }
}

const FLOODS: readonly (readonly [what: string, batch: () => Buffer])[] = [
  ['PING frames', () => many(1_000, () => frame(FRAME.ping, 0, 0, Buffer.alloc(8)))],
  ['SETTINGS frames', () => many(20, () => frame(FRAME.settings, 0, 0))],
  ['frames of no kind, as ORIGIN was', () => many(20, () => frame(0x0c, 0, 0, Buffer.alloc(64)))],
  ['pushed streams', () => frame(FRAME.push, END_HEADERS, 1, Buffer.alloc(8))],
  ['headers without end', () => frame(FRAME.headers, 0, 1, Buffer.alloc(8))],
  ['CONTINUATION frames', () => many(50, () => frame(FRAME.continuation, 0, 1, Buffer.alloc(64)))],
  ['random bytes', () => Buffer.alloc(4_096, 0xa5)],
];
for (const [what, batch] of FLOODS) {
  test(`A12: a root proxy that sends ${what} is dropped, and other channels go on`, async (t) => {
    const honest = await startServer(t, { tls: world.serverTls, services: [] });
    const other = await connectTo(t, world, { address: honest.address });
    const address = await hostileServer(t, batch);
    const channel = createChannel({ address, tls: world.clientTls, serverName: SERVER_NAME });
    t.after(() => channel.close());
    const connected = await channel.connect().then(
      () => true,
      () => false,
    );
    if (connected) {
      channel.stream(Echo.stream);
      assert.equal((await within(channel.lost, 'the loss')).kind, 'broken');
    }
    assert.notEqual(other.peer, undefined);
    assert.equal(await Promise.race([other.lost, Promise.resolve('kept')]), 'kept');
  });
}
