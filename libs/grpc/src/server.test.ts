import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { createConnection, createServer as createTcpServer } from 'node:net';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as tlsConnect } from 'node:tls';
import {
  ChannelError,
  createChannel,
  createServer,
  handleDuplex,
  handleStream,
  handleUnary,
  StatusError,
} from './index.ts';
import type { StreamPeer } from './index.ts';
import { makeAuthority, sourceOf } from './testing/certificates.ts';
import { within } from './testing/deadline.ts';
import { Echo } from './testing/echo.ts';
import { AGENT_URI, connectTo, makeWorld, SERVER_NAME, startServer } from './testing/pair.ts';

const world = await makeWorld();

const echo = handleUnary(Echo.unary, async (request) => request);

/** Who the handler sees. */
function whoami(seen: StreamPeer[]): ReturnType<typeof handleUnary> {
  return handleUnary(Echo.unary, async (request, { peer }) => {
    seen.push(peer);
    return request;
  });
}

const NO_PROC = existsSync('/proc/net/tcp') ? false : 'only Linux shows the timers of its TCP connections';

/** Timers of both ends of each established connection with a port, as proc_net_tcp.txt numbers them. */
function timersOf(port: number): string[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local = '', remote = '', state]) => state === '01' && [local, remote].some((at) => at.endsWith(suffix)))
    .map(([, , , , , timer = '']) => timer.slice(0, 2));
}

for (const [what, secure] of [
  ['TLS', true],
  ['plaintext', false],
] as const) {
  test(`a peer that vanished is noticed by the kernel on both sides of ${what}`, { skip: NO_PROC }, async (t) => {
    const { port, address } = await startServer(t, { tls: secure ? world.serverTls : undefined, services: [echo] });
    await connectTo(t, world, { address, ...(secure ? {} : { tls: undefined }) });
    const keepalive = '02';
    const deadline = performance.now() + 5_000;
    // Another timer shows while something sent is not acknowledged yet.
    while (timersOf(port).some((timer) => timer !== keepalive) && performance.now() < deadline) await sleep(20);
    assert.deepEqual(timersOf(port), [keepalive, keepalive]);
  });
}

test('refuses a client without a certificate in the handshake, and calls no handler', async (t) => {
  const seen: StreamPeer[] = [];
  const { port, faults } = await startServer(t, { tls: world.serverTls, services: [whoami(seen)] });
  const socket = tlsConnect({
    port,
    host: '127.0.0.1',
    ca: world.authority.pem,
    servername: SERVER_NAME,
    ALPNProtocols: ['h2'],
  });
  // TLS 1.3 clients finish first; the refusal arrives as an alert when they read.
  const error = Promise.withResolvers<Error>();
  socket.once('error', error.resolve);
  assert.match((await within(error.promise, 'the refusal')).message, /certificate required/i);
  assert.equal(seen.length, 0);
  assert.equal(faults[0]?.kind, 'handshake');
});

test('refuses certificates of another CA, expired ones and TLS 1.2', async (t) => {
  const seen: StreamPeer[] = [];
  const { address, port, faults } = await startServer(t, { tls: world.serverTls, services: [whoami(seen)] });
  const stranger = await (await makeAuthority()).issue({ uris: [AGENT_URI] });
  const expired = await world.authority.issue({ uris: [AGENT_URI], validTo: new Date(Date.now() - 1_000) });
  for (const material of [{ ...stranger, ca: world.authority.pem }, expired]) {
    const channel = createChannel({ address, tls: sourceOf(material), serverName: SERVER_NAME });
    await assert.rejects(within(channel.connect(), 'the refusal'), ChannelError);
  }
  const { ca, cert, key } = world.clientTls.current();
  const old = tlsConnect({ port, host: '127.0.0.1', ca, cert, key, servername: SERVER_NAME, maxVersion: 'TLSv1.2' });
  await within(once(old, 'error'), 'the refusal of TLS 1.2');
  assert.equal(seen.length, 0);
  assert.deepEqual(
    faults.map(({ kind }) => kind),
    ['handshake', 'handshake', 'handshake'],
  );
});

test('shows every URI of the certificate, so that a second one cannot hide', async (t) => {
  const seen: StreamPeer[] = [];
  const { address } = await startServer(t, { tls: world.serverTls, services: [whoami(seen)] });
  const uris = [AGENT_URI, 'spiffe://xylem.internal/proxy/p1'];
  const material = await world.authority.issue({ uris, dns: ['x.example'] });
  const channel = await connectTo(t, world, { address, tls: sourceOf(material) });
  await channel.unary(Echo.unary, Buffer.alloc(0), 1_000);
  assert.deepEqual(seen[0]?.uris, uris);
});

test('reads a URI with a comma and quotes as the one URI it is', async (t) => {
  const seen: StreamPeer[] = [];
  const { address } = await startServer(t, { tls: world.serverTls, services: [whoami(seen)] });
  const uris = [
    'spiffe://evil/x, URI:spiffe://xylem.internal/proxy/p1',
    'spiffe://evil/"y", URI:"spiffe://xylem.internal/proxy/p2',
    "spiffe://evil/\\'z\\\\",
  ];
  const channel = await connectTo(t, world, { address, tls: sourceOf(await world.authority.issue({ uris })) });
  await channel.unary(Echo.unary, Buffer.alloc(0), 1_000);
  assert.deepEqual(seen[0]?.uris, uris);
});

test('without a demanded certificate, an unverified one gives no identity', async (t) => {
  const seen: StreamPeer[] = [];
  const { address } = await startServer(t, {
    tls: world.serverTls,
    requireClientCertificate: false,
    services: [whoami(seen)],
  });
  const stranger = await (await makeAuthority()).issue({ uris: [AGENT_URI] });
  const channel = await connectTo(t, world, { address, tls: sourceOf({ ...stranger, ca: world.authority.pem }) });
  await channel.unary(Echo.unary, Buffer.alloc(0), 1_000);
  assert.deepEqual(seen[0]?.uris, []);
});

test('new connections use renewed credentials on both sides, open ones go on', async (t) => {
  const seen: StreamPeer[] = [];
  const serverTls = sourceOf(await world.authority.issue({ dns: [SERVER_NAME], uris: ['spiffe://x/proxy/old'] }));
  const clientTls = sourceOf(await world.authority.issue({ uris: ['spiffe://x/user/old'] }));
  const { address } = await startServer(t, { tls: serverTls, services: [whoami(seen)] });
  const before = await connectTo(t, world, { address, tls: clientTls });
  serverTls.renew(await world.authority.issue({ dns: [SERVER_NAME], uris: ['spiffe://x/proxy/new'] }));
  clientTls.renew(await world.authority.issue({ uris: ['spiffe://x/user/new'] }));
  const after = await connectTo(t, world, { address, tls: clientTls });
  await before.unary(Echo.unary, Buffer.alloc(0), 1_000);
  await after.unary(Echo.unary, Buffer.alloc(0), 1_000);
  assert.deepEqual(before.peer?.uris, ['spiffe://x/proxy/old']);
  assert.deepEqual(after.peer?.uris, ['spiffe://x/proxy/new']);
  assert.deepEqual(
    seen.map(({ uris }) => uris),
    [['spiffe://x/user/old'], ['spiffe://x/user/new']],
  );
});

test('a CA that is no longer trusted is refused after renewal', async (t) => {
  const serverTls = sourceOf(world.serverTls.current());
  const { address } = await startServer(t, { tls: serverTls, services: [echo] });
  serverTls.renew({ ...world.serverTls.current(), ca: (await makeAuthority('next CA')).pem });
  const channel = createChannel({ address, tls: world.clientTls, serverName: SERVER_NAME });
  await assert.rejects(within(channel.connect(), 'the refusal'), ChannelError);
});

test('cuts a handshake that takes too long, and a session that never speaks HTTP/2', async (t) => {
  const { port, faults } = await startServer(t, { tls: world.serverTls, handshakeTimeoutMs: 80, services: [echo] });
  const silent = createConnection(port, '127.0.0.1');
  silent.on('error', () => undefined);
  await within(once(silent, 'close'), 'the end of the silent connection');
  const { ca, cert, key } = world.clientTls.current();
  const idle = tlsConnect({ port, host: '127.0.0.1', ca, cert, key, servername: SERVER_NAME, ALPNProtocols: ['h2'] });
  idle.on('error', () => undefined);
  idle.resume();
  await within(once(idle, 'close'), 'the end of the idle session');
  assert.deepEqual(
    faults.map(({ kind }) => kind),
    ['handshake', 'session'],
  );
});

test('survives peers that vanish at any moment of the handshake', async (t) => {
  const { port, address } = await startServer(t, { tls: world.serverTls, services: [echo] });
  const { ca, cert, key } = world.clientTls.current();
  for (const event of ['connect', 'secureConnect'] as const) {
    const raw = createConnection(port, '127.0.0.1');
    const socket = tlsConnect({ socket: raw, ca, cert, key, servername: SERVER_NAME, ALPNProtocols: ['h2'] });
    socket.on('error', () => undefined);
    await within(once(event === 'connect' ? raw : socket, event), event);
    raw.resetAndDestroy();
  }
  const channel = await connectTo(t, world, { address });
  assert.equal((await channel.unary(Echo.unary, Buffer.from('alive'), 1_000)).toString(), 'alive');
});

test('says which address is taken and what to do', async (t) => {
  const { port } = await startServer(t, { tls: undefined, services: [] });
  const second = createServer({ tls: undefined, services: [] });
  await assert.rejects(second.listen(`127.0.0.1:${port}`), {
    message: `cannot listen on 127.0.0.1:${port}: the port is taken; stop the process that uses it or choose another port`,
  });
  await assert.rejects(
    second.listen('192.0.2.1:0'),
    /cannot listen on 192\.0\.2\.1:0: this machine has no such address/,
  );
  await assert.rejects(second.listen('7200'), /"7200" is no address; write host:port/);
  await second.close(0);
});

test('takes over a socket whose first bytes were read and put back', async (t) => {
  const seen: StreamPeer[] = [];
  const { server } = await startServer(t, { tls: world.serverTls, services: [whoami(seen)] });
  const front = createTcpServer((socket) => {
    socket.once('data', (chunk) => {
      socket.pause();
      socket.unshift(chunk);
      server.inject(socket);
    });
  });
  front.listen(0, '127.0.0.1');
  await once(front, 'listening');
  t.after(() => front.close());
  const bound = front.address();
  assert.ok(typeof bound === 'object' && bound !== null);
  const channel = await connectTo(t, world, { address: `127.0.0.1:${bound.port}` });
  await channel.unary(Echo.unary, Buffer.alloc(0), 1_000);
  assert.deepEqual(seen[0]?.uris, [AGENT_URI]);
  assert.match(seen[0]?.address ?? '', /^127\.0\.0\.1:\d+$/);
});

/** A connection without a socket, like the bytes of a relayed tunnel. */
function overDuplex(socket: Socket): Duplex {
  const duplex = new Duplex({
    read: () => void socket.resume(),
    write: (chunk: Buffer, _encoding, done) => void socket.write(chunk, done),
    final: (done) => void socket.end(done),
    destroy: (error, done) => {
      socket.destroy();
      done(error);
    },
  });
  socket.on('data', (chunk) => {
    if (!duplex.push(chunk)) socket.pause();
  });
  socket.on('end', () => duplex.push(null));
  socket.on('error', (error) => duplex.destroy(error));
  socket.on('close', () => duplex.destroy());
  return duplex;
}

test('takes over a connection that is no socket, and reports the address it is given', async (t) => {
  const seen: StreamPeer[] = [];
  const { server } = await startServer(t, {
    tls: world.serverTls,
    services: [
      whoami(seen),
      handleStream(Echo.stream, async (stream) => {
        for await (const message of stream) {
          stream.send(message);
          await stream.drained();
        }
      }),
    ],
  });
  const raws: Socket[] = [];
  const front = createTcpServer((socket) => {
    raws.push(socket);
    server.inject(overDuplex(socket), '192.0.2.7:4711');
  });
  front.listen(0, '127.0.0.1');
  await once(front, 'listening');
  t.after(() => front.close());
  const bound = front.address();
  assert.ok(typeof bound === 'object' && bound !== null);
  const address = `127.0.0.1:${bound.port}`;
  const channel = await connectTo(t, world, { address });
  await channel.unary(Echo.unary, Buffer.alloc(0), 1_000);
  assert.deepEqual(
    seen.map(({ address: source, uris }) => ({ source, uris })),
    [{ source: '192.0.2.7:4711', uris: [AGENT_URI] }],
  );
  const stream = channel.stream(Echo.stream);
  const block = Buffer.alloc(60_000, 3);
  const sender = (async (): Promise<void> => {
    for (let sent = 0; sent < 50; sent += 1) {
      stream.send(block);
      await stream.drained();
    }
    stream.end();
  })();
  let received = 0;
  for await (const message of stream) received += message.length;
  await sender;
  assert.equal(received, 50 * block.length);
  // The relay is cut in the middle of a stream: it ends, the server goes on.
  const cut = channel.stream(Echo.stream);
  cut.send(block);
  raws[0]?.resetAndDestroy();
  assert.equal((await within(cut.closed, 'the end of the cut stream')).kind, 'failed');
  const again = await connectTo(t, world, { address });
  await again.unary(Echo.unary, Buffer.alloc(0), 1_000);
});

test('hides what a handler threw, and keeps a StatusError', async (t) => {
  const { address, faults } = await startServer(t, {
    tls: world.serverTls,
    services: [
      handleUnary(Echo.unary, async () => {
        throw new Error('secret');
      }),
      handleStream(Echo.stream, async () => {
        throw new StatusError(9, 'not now');
      }),
      handleDuplex(Echo.other, () => {
        throw new TypeError('secret');
      }),
    ],
  });
  const channel = await connectTo(t, world, { address });
  await assert.rejects(channel.unary(Echo.unary, Buffer.alloc(0), 1_000), { code: 13, detail: 'internal error' });
  const stream = channel.stream(Echo.stream);
  assert.deepEqual(await within(stream.closed, 'the end'), { kind: 'failed', code: 9, detail: 'not now' });
  const other = channel.stream(Echo.other);
  assert.deepEqual(await within(other.closed, 'the end'), { kind: 'failed', code: 13, detail: 'internal error' });
  assert.deepEqual(
    faults.map(({ kind, where, cause }) => [kind, where, cause instanceof Error ? cause.message : cause]),
    [
      ['handler', '/test.Echo/Unary', 'secret'],
      ['handler', '/test.Echo/Other', 'secret'],
    ],
  );
});

test('refuses two handlers for one method', () => {
  assert.throws(() => createServer({ tls: undefined, services: [echo, echo] }), /two handlers for \/test\.Echo\/Unary/);
});

test('answers UNIMPLEMENTED for a method without handler, whatever the path', async (t) => {
  const { address } = await startServer(t, { tls: world.serverTls, services: [echo] });
  const channel = await connectTo(t, world, { address });
  for (const path of [
    '/test.Echo/Stream',
    '/test.Echo/Unary/',
    '//test.Echo/Unary',
    '/TEST.ECHO/UNARY',
    '/test.Echo/Unary%2f',
  ]) {
    await assert.rejects(channel.unary({ ...Echo.unary, path }, Buffer.alloc(0), 1_000), { code: 12 }, path);
  }
});

test('closing a server ends what is open at the limit, and refuses new connections', async (t) => {
  const { server, address } = await startServer(t, {
    tls: world.serverTls,
    services: [handleStream(Echo.stream, async (stream) => void (await stream.closed))],
  });
  const channel = await connectTo(t, world, { address });
  const stream = channel.stream(Echo.stream);
  const closing = server.close(50);
  assert.equal((await within(stream.closed, 'the end of the stream')).kind, 'failed');
  await within(closing, 'the close');
  const late = createChannel({ address, tls: world.clientTls, serverName: SERVER_NAME });
  await assert.rejects(late.connect(), { stage: 'tcp' });
});
