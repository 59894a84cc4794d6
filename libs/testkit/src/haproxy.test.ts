import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, test } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import { startHaproxy } from './haproxy.ts';
import type { HaproxyMode, HaproxyProcess, HaproxyServer } from './haproxy.ts';

const LIMIT = { timeout: 30_000 };
const DOMAIN = 'xylem.test';
const open: Server[] = [];
after(() => {
  for (const server of open) server.close();
});

/** Says its name to whoever connects, and to a TLS client by closing; HAProxy's checks are connections, too. */
async function backend(
  name: string,
  serve: (socket: Socket) => void = (socket) => socket.end(name),
): Promise<HaproxyServer> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    serve(socket);
  });
  open.push(server.listen(0, '127.0.0.1'));
  await once(server, 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  return { name, address: `127.0.0.1:${address.port}` };
}

function dial({ address }: HaproxyProcess): Socket {
  const [host = '', port = ''] = address.split(':');
  return connect({ host, port: Number(port) });
}

async function hits(mode: HaproxyMode, count: number): Promise<readonly string[]> {
  const servers = [await backend('p1'), await backend('p2'), await backend('p3')];
  const haproxy = await startHaproxy({ mode, servers });
  try {
    const seen: string[] = [];
    for (let index = 0; index < count; index += 1) seen.push(await text(dial(haproxy)));
    const sessions = await haproxy.sessions();
    for (const { name } of servers) assert.equal(sessions.get(name), seen.filter((hit) => hit === name).length);
    return seen;
  } finally {
    await haproxy.dispose();
  }
}

test('round robin, source hash and first spread connections as they are known to', LIMIT, async () => {
  assert.deepEqual((await hits('roundrobin', 6)).toSorted(), ['p1', 'p1', 'p2', 'p2', 'p3', 'p3']);
  assert.equal(new Set(await hits('source', 6)).size, 1);
  assert.deepEqual(await hits('first', 3), ['p1', 'p1', 'p1']);
});

test('in sni mode a connection reaches the server that it names, any other name whichever is next', LIMIT, async () => {
  const seen: string[] = [];
  const named = (name: string): Promise<HaproxyServer> =>
    backend(name, (socket) => {
      socket.once('data', () => {
        seen.push(name);
        socket.destroy();
      });
    });
  const haproxy = await startHaproxy({ mode: 'sni', domain: DOMAIN, servers: [await named('p1'), await named('p2')] });
  try {
    const [host = '', port = ''] = haproxy.address.split(':');
    for (const servername of [`p2.${DOMAIN}`, `P2.${DOMAIN}`, `p1.${DOMAIN}`, `p2.${DOMAIN}`, DOMAIN, DOMAIN]) {
      const socket = tlsConnect({ host, port: Number(port), servername });
      // Neither end of a handshake that is cut has anything else to say.
      await new Promise<void>((resolve) => socket.on('error', () => undefined).once('close', () => resolve()));
    }
    assert.deepEqual(seen.slice(0, 4), ['p2', 'p2', 'p1', 'p2']);
    assert.deepEqual(seen.slice(4).toSorted(), ['p1', 'p2']);
  } finally {
    await haproxy.dispose();
  }
});

test('a reload sends new connections to the new servers and leaves open ones alone', LIMIT, async () => {
  const echo = await backend('old', (socket) => socket.pipe(socket));
  const haproxy = await startHaproxy({ mode: 'roundrobin', servers: [echo] });
  try {
    const kept = dial(haproxy);
    kept.write('a');
    await once(kept, 'data');
    await haproxy.setServers([await backend('new')]);
    assert.equal(await text(dial(haproxy)), 'new');
    kept.write('b');
    const [answer]: unknown[] = await once(kept, 'data', { signal: AbortSignal.timeout(5_000) });
    assert.equal(String(answer), 'b');
    const closed = new Promise<void>((resolve) => kept.on('error', () => undefined).once('close', () => resolve()));
    await haproxy.dispose();
    await closed;
  } finally {
    await haproxy.dispose();
  }
});

test('servers that it cannot use are refused with what HAProxy says', LIMIT, async () => {
  const servers = [{ name: 'p1', address: '127.0.0.1:port' }];
  await assert.rejects(startHaproxy({ mode: 'roundrobin', servers }), /HAProxy ended; end of its log:[^]*port/);
});
