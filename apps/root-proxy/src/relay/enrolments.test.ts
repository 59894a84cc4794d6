import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, describe, it } from 'node:test';
import { Enrolments } from './enrolments.ts';
import type { EnrolmentEnd } from './enrolments.ts';

const KIB = 1_024;
/** Nobody listens there. */
const CLOSED = '127.0.0.1:1';

describe('enrolment relay', { timeout: 20_000 }, () => {
  const servers: Server[] = [];
  const sockets: Socket[] = [];
  const ends: { readonly address: string; readonly end: EnrolmentEnd }[] = [];
  const enrolments = new Enrolments({ ended: (_source, address, end) => ends.push({ address, end }) });

  const listen = async (serve: (socket: Socket) => void): Promise<string> => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => undefined);
      sockets.push(socket);
      serve(socket);
    });
    servers.push(server.listen(0, '127.0.0.1'));
    await once(server, 'listening');
    return `127.0.0.1:${(server.address() as AddressInfo).port}`;
  };
  /** A client whose connection is relayed to the addresses. */
  const client = async (addresses: readonly string[]): Promise<{ socket: Socket; relayed: Promise<void> }> => {
    const accepted = Promise.withResolvers<Socket>();
    const [host = '', port = ''] = (await listen(accepted.resolve)).split(':');
    const socket = connect({ host, port: Number(port), allowHalfOpen: true });
    socket.on('error', () => undefined);
    sockets.push(socket);
    return { socket, relayed: enrolments.relay(await accepted.promise, addresses, 'somebody') };
  };

  afterEach(() => {
    for (const server of servers.splice(0)) server.close();
    for (const socket of sockets.splice(0)) socket.destroy();
    ends.length = 0;
    assert.equal(enrolments.size, 0);
  });

  it('carries a request and its answer, half-closes included, to the first registry that can be reached', async () => {
    const registry = await listen((socket) => void text(socket).then((asked) => socket.end(`answer to ${asked}`)));
    const { socket, relayed } = await client([CLOSED, registry]);
    socket.end('join');
    assert.equal(await text(socket), 'answer to join');
    await relayed;
    assert.deepEqual(ends, [{ address: registry, end: 'done' }]);
  });

  it('closes when no registry can be reached', async () => {
    const { socket, relayed } = await client([CLOSED]);
    assert.equal(await text(socket), '');
    await relayed;
    assert.deepEqual(ends, [{ address: '', end: 'unreachable' }]);
  });

  it('cuts whoever sends, or answers, more than an enrolment takes', async () => {
    const silent = await listen((socket) => socket.resume());
    const greedy = await client([silent]);
    greedy.socket.write(Buffer.alloc(65 * KIB));
    await greedy.relayed;
    const talkative = await listen((socket) => socket.write(Buffer.alloc(300 * KIB)));
    const listener = await client([talkative]);
    listener.socket.resume();
    await listener.relayed;
    assert.deepEqual(
      ends.map(({ end }) => end),
      ['limit', 'limit'],
    );
  });

  it('ends both connections when one is reset, and all of them on demand', async () => {
    const opened = Promise.withResolvers<Socket>();
    const registry = await listen((socket) => void socket.once('data', () => opened.resolve(socket)));
    const first = await client([registry]);
    first.socket.write('x');
    (await opened.promise).resetAndDestroy();
    await first.relayed;
    const second = await client([await listen((socket) => socket.resume())]);
    second.socket.write('x');
    enrolments.abortAll();
    await second.relayed;
    assert.deepEqual(
      ends.map(({ end }) => end),
      ['reset', 'left'],
    );
  });
});
