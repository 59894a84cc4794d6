import assert from 'node:assert/strict';
import { createConnection as createTcpConnection, createServer as createTcpServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { createServer as createTlsServer } from 'node:tls';
import { ChannelError, createChannel, handleStream, handleUnary, StatusError } from './index.ts';
import type { ChannelOptions } from './index.ts';
import { makeAuthority, sourceOf } from './testing/certificates.ts';
import { within } from './testing/deadline.ts';
import { Echo } from './testing/echo.ts';
import { connectTo, makeWorld, SERVER_NAME, startServer } from './testing/pair.ts';

const world = await makeWorld();

const echo = handleStream(Echo.stream, async (stream) => {
  for await (const message of stream) {
    stream.send(message);
    await stream.drained();
  }
});

/** A TCP server that treats each connection in its own way. */
async function tcpServer(t: TestContext, onConnection: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    onConnection(socket);
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, '127.0.0.1', resolve);
  await promise;
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return `127.0.0.1:${portOf(server.address())}`;
}

function portOf(address: AddressInfo | string | null): number {
  assert.ok(typeof address === 'object' && address !== null);
  return address.port;
}

async function failureOf(options: Partial<ChannelOptions> & Pick<ChannelOptions, 'address'>): Promise<ChannelError> {
  const channel = createChannel({ tls: world.clientTls, serverName: SERVER_NAME, ...options });
  try {
    await within(channel.connect(), 'the answer of connect');
  } catch (error) {
    assert.ok(error instanceof ChannelError, String(error));
    return error;
  } finally {
    channel.close();
  }
  throw new Error('connected');
}

test('echoes over mTLS, and ends on both sides', async (t) => {
  const { address } = await startServer(t, { tls: world.serverTls, services: [echo] });
  const channel = await connectTo(t, world, { address });
  assert.equal(channel.peer?.address, address);
  assert.deepEqual(channel.peer?.uris, ['spiffe://xylem.internal/proxy/a']);
  const stream = channel.stream(Echo.stream);
  stream.send(Buffer.from('hello'));
  for await (const message of stream) {
    assert.equal(message.toString(), 'hello');
    stream.end();
  }
  assert.deepEqual(await within(stream.closed, 'the end'), { kind: 'ended' });
});

test('connects at the first call without connect()', async (t) => {
  const { address } = await startServer(t, {
    tls: world.serverTls,
    services: [handleUnary(Echo.unary, async (request) => request)],
  });
  const channel = createChannel({ address, tls: world.clientTls, serverName: SERVER_NAME });
  t.after(() => channel.close());
  assert.equal((await channel.unary(Echo.unary, Buffer.from('x'), 2_000)).toString(), 'x');
  await channel.connect();
});

test('says how far a connection came: nobody listens', async (t) => {
  const address = await tcpServer(t, () => undefined);
  t.mock.method(console, 'error', () => undefined);
  const closed = address.replace(/\d+$/, '1');
  const error = await failureOf({ address: closed });
  assert.equal(error.stage, 'tcp');
  assert.equal(error.message, `cannot connect to ${closed}: connection refused; is the server running there? (tcp)`);
});

test('asks the resolver it is given, and tries each address in turn', async (t) => {
  const { address, port } = await startServer(t, { tls: world.serverTls, services: [echo] });
  const asked: string[] = [];
  const resolve = async (host: string): Promise<readonly string[]> => {
    asked.push(host);
    return ['127.0.0.2', '127.0.0.1'];
  };
  t.mock.method(console, 'error', () => undefined);
  const channel = await connectTo(t, world, { address: `proxy.example:${port}`, resolve });
  assert.deepEqual(asked, ['proxy.example']);
  assert.equal(channel.peer?.address, address);
  const slow = createChannel({
    address: 'proxy.example:1',
    tls: world.clientTls,
    connectTimeoutMs: 50,
    resolve: (_host, signal) =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(new Error('given up')))),
  });
  await assert.rejects(slow.connect(), { stage: 'deadline' });
});

test('says how far a connection came: unknown host', async () => {
  const error = await failureOf({ address: 'nowhere.invalid:7200' });
  assert.equal(error.stage, 'resolve');
  assert.match(error.message, /cannot connect to nowhere\.invalid:7200: the host name/);
});

test('says how far a connection came: the peer closes or speaks no TLS', async (t) => {
  const closing = await failureOf({ address: await tcpServer(t, (socket) => socket.destroy()) });
  assert.equal(closing.stage, 'tls');
  const talking = await failureOf({ address: await tcpServer(t, (socket) => socket.end('SSH-2.0-OpenSSH_9\r\n')) });
  assert.equal(talking.stage, 'tls');
});

test('says how far a connection came: a certificate of another CA, or with another name', async (t) => {
  const stranger = sourceOf(await (await makeAuthority()).issue({ dns: [SERVER_NAME] }));
  const other = await startServer(t, { tls: stranger, services: [echo] });
  const untrusted = await failureOf({ address: other.address });
  assert.equal(untrusted.stage, 'tls');
  assert.match(untrusted.message, /certificate is not signed by a trusted CA/);
  const { address } = await startServer(t, { tls: world.serverTls, services: [echo] });
  const misnamed = await failureOf({ address, serverName: 'b.xylem.internal' });
  assert.equal(misnamed.stage, 'tls');
  assert.match(misnamed.message, /b\.xylem\.internal/);
});

test('says how far a connection came: TLS without HTTP/2', async (t) => {
  const { ca, cert, key } = world.serverTls.current();
  const server = createTlsServer({ ca, cert, key, requestCert: true, ALPNProtocols: ['h2'] }, (socket) => socket.end());
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, '127.0.0.1', resolve);
  await promise;
  t.after(() => server.close());
  const error = await failureOf({ address: `127.0.0.1:${portOf(server.address())}` });
  assert.equal(error.stage, 'http2');
});

test('gives up a silent peer at the deadline', async (t) => {
  const error = await failureOf({ address: await tcpServer(t, () => undefined), connectTimeoutMs: 50 });
  assert.equal(error.stage, 'deadline');
  assert.match(error.message, /no answer within 50 ms, at stage tls/);
});

test('tries the addresses of a list in turn', async (t) => {
  const { address } = await startServer(t, { tls: world.serverTls, services: [echo] });
  const channel = await connectTo(t, world, { address: ['127.0.0.1:1', address] });
  assert.equal(channel.peer?.address, address);
});

test('makes exactly one TCP connection, also after it was lost', async (t) => {
  const { address } = await startServer(t, { tls: world.serverTls, services: [echo] });
  const target = { host: '127.0.0.1', port: Number(address.split(':')[1]) };
  const accepted: Socket[] = [];
  const proxy = await tcpServer(t, (socket) => {
    accepted.push(socket);
    const upstream = createTcpConnection(target).on('error', () => undefined);
    socket.pipe(upstream).pipe(socket);
    socket.once('close', () => upstream.destroy());
  });
  const channel = await connectTo(t, world, { address: proxy });
  const second = await connectTo(t, world, { address: proxy });
  assert.equal(accepted.length, 2, 'two channels never share a connection');
  const stream = channel.stream(Echo.stream);
  accepted[0]?.resetAndDestroy();
  const end = await within(stream.closed, 'the end of the stream');
  assert.equal(end.kind, 'failed');
  assert.equal((await within(channel.lost, 'the loss')).kind, 'broken');
  const late = await within(channel.stream(Echo.stream).closed, 'the end of a stream after the loss');
  assert.deepEqual(late, { kind: 'failed', code: 14, detail: 'the channel is closed' });
  assert.throws(() => channel.duplex(Echo.stream), StatusError);
  await assert.rejects(channel.unary(Echo.unary, Buffer.alloc(0), 100), StatusError);
  assert.equal(accepted.length, 2);
  second.close();
});

test('a channel that may reconnect dials again at the next call', async (t) => {
  const first = await startServer(t, { tls: world.serverTls, services: [echo] });
  const sockets: Socket[] = [];
  const proxy = await tcpServer(t, (socket) => {
    sockets.push(socket);
    const upstream = createTcpConnection({ host: '127.0.0.1', port: first.port }).on('error', () => undefined);
    socket.pipe(upstream).pipe(socket);
  });
  const channel = await connectTo(t, world, { address: proxy, reconnect: true });
  sockets[0]?.destroy();
  await within(channel.lost, 'the loss');
  const stream = channel.stream(Echo.stream);
  stream.send(Buffer.from('again'));
  for await (const message of stream) {
    assert.equal(message.toString(), 'again');
    break;
  }
  assert.equal(sockets.length, 2);
});

test('tells a server that takes no new streams from a loss, and lets open streams finish', async (t) => {
  const { server, address } = await startServer(t, { tls: world.serverTls, services: [echo] });
  const channel = await connectTo(t, world, { address });
  const stream = channel.stream(Echo.stream);
  const messages = stream[Symbol.asyncIterator]();
  stream.send(Buffer.from('1'));
  await messages.next();
  const closed = server.close(5_000);
  assert.equal((await within(channel.lost, 'the goaway')).kind, 'goaway');
  stream.send(Buffer.from('2'));
  assert.equal((await messages.next()).value?.toString(), '2');
  const refused = await within(channel.stream(Echo.stream).closed, 'the end of a late stream');
  assert.equal(refused.kind, 'failed');
  stream.end();
  assert.deepEqual(await within(stream.closed, 'the end'), { kind: 'ended' });
  await within(closed, 'the close of the server');
});

test('close() ends open streams as failed, and the channel as closed', async (t) => {
  const { address } = await startServer(t, { tls: world.serverTls, services: [echo] });
  const channel = await connectTo(t, world, { address });
  const stream = channel.stream(Echo.stream);
  channel.close();
  channel.close();
  assert.equal((await within(stream.closed, 'the end')).kind, 'failed');
  assert.equal((await channel.lost).kind, 'closed');
  await assert.rejects(channel.connect(), ChannelError);
});

test('close() ends a connect() that is still at work', async (t) => {
  const dialled = Promise.withResolvers<void>();
  const address = await tcpServer(t, () => dialled.resolve());
  const channel = createChannel({ address, tls: world.clientTls, serverName: SERVER_NAME });
  const connecting = channel.connect();
  await within(dialled.promise, 'the dial');
  channel.close();
  await assert.rejects(within(connecting, 'the end of connect'), ChannelError);
  const early = createChannel({ address, tls: world.clientTls, serverName: SERVER_NAME });
  const resolving = early.connect();
  early.close();
  await assert.rejects(within(resolving, 'the end of connect'), ChannelError);
});

test('refuses a malformed address with an example', () => {
  for (const address of ['localhost', 'localhost:99999', 'http://x:1', '', '::1:5']) {
    assert.throws(() => createChannel({ address, tls: undefined }), /is no address; write host:port/, address);
  }
});
