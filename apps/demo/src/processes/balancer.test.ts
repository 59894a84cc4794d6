import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, describe, it } from 'node:test';
import { Balancer } from './balancer.ts';

const LIMIT = { timeout: 10_000 };

describe('balancer', LIMIT, () => {
  const open: { close(): void }[] = [];
  const sockets: Socket[] = [];
  after(() => {
    for (const one of open) one.close();
    for (const socket of sockets) socket.destroy();
  });

  const backend = async (serve: (socket: Socket) => void): Promise<string> => {
    const server: Server = createServer({ allowHalfOpen: true }, serve);
    open.push(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    assert.ok(address !== null && typeof address === 'object');
    return `127.0.0.1:${address.port}`;
  };
  const front = async (...backends: string[]): Promise<{ balancer: Balancer; dial: () => Socket }> => {
    const balancer = new Balancer();
    open.push(balancer);
    const port = await balancer.listen('127.0.0.1:0');
    balancer.setBackends(backends);
    const dial = (): Socket => {
      const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
      sockets.push(socket);
      return socket;
    };
    return { balancer, dial };
  };

  it('sends connections to the backends in turn, and passes over one that is down', async () => {
    const [a, b] = [await backend((socket) => socket.end('a')), await backend((socket) => socket.end('b'))];
    const { balancer, dial } = await front(a, '127.0.0.1:1', b);
    const seen: string[] = [];
    for (let i = 0; i < 6; i += 1) seen.push(await text(dial()));
    assert.deepEqual(seen, ['a', 'b', 'b', 'a', 'b', 'b']);
    balancer.setBackends([a]);
    assert.equal(await text(dial()), 'a');
  });

  it('resets a connection when no backend answers', async () => {
    const { dial } = await front();
    const [error]: unknown[] = await once(dial(), 'error');
    assert.ok(error instanceof Error && 'code' in error && error.code === 'ECONNRESET');
  });

  it('keeps half-closes in both directions', async () => {
    const { dial } = await front(await backend((socket) => void text(socket).then((asked) => socket.end(`${asked}!`))));
    const socket = dial();
    socket.end('hello');
    assert.equal(await text(socket), 'hello!');
  });

  it('passes a reset on as a reset', async () => {
    const { dial } = await front(await backend((socket) => socket.once('data', () => socket.resetAndDestroy())));
    const socket = dial();
    socket.write('x');
    const [error]: unknown[] = await once(socket, 'error');
    assert.ok(error instanceof Error && 'code' in error && error.code === 'ECONNRESET');
  });
});
