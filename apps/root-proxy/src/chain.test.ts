import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import { DOMAIN } from './testing/credentials.ts';
import { RawClient } from './testing/raw-client.ts';
import { claimedBy, connectThrough, eventually, World } from './testing/world.ts';
import type { WorldProxy } from './testing/world.ts';

let world: World;
let proxy: WorldProxy;
let closed: WorldProxy;

before(async () => {
  world = await World.create();
  await world.echoNode('web');
  await world.node('counter', (socket) => {
    let bytes = 0;
    socket.on('data', (chunk: Buffer) => (bytes += chunk.length));
    socket.on('end', () => socket.end(`counted ${bytes}`));
  });
  await world.node('rude', (socket) => socket.once('data', () => socket.resetAndDestroy()));
  const dead = await world.node('dead', () => undefined);
  dead.close();
  proxy = await world.proxy('p1');
  closed = await world.proxy('p2', { frontDoor: { anonymous: 'never' } });
  await world.agent('berlin', 'a1');
  await eventually('both proxies are claimed', () => claimedBy(proxy, 'a1') && claimedBy(closed, 'a1'));
});
after(() => world.close());

test('carries a user through front door, tunnel and agent to the node and back', async () => {
  const { client, head } = await connectThrough(proxy.ports.frontDoor, 'web.berlin:80');
  assert.match(head, /^HTTP\/1\.1 200 /);
  assert.match(head, /\r\nXylem-Via: p1, a1\r\n/);
  client.say('hello');
  await client.hears('hello');
  client.socket.end();
  assert.ok((await client.closes()).endsWith('hello'));
});

test('keeps half-close: the node answers after the user has ended', async () => {
  const { client } = await connectThrough(proxy.ports.frontDoor, 'counter.berlin:80');
  client.say('x'.repeat(200_000));
  client.socket.end();
  assert.ok((await client.closes()).endsWith('counted 200000'));
});

test('forwards what was pipelined behind the head once the node has answered', async () => {
  const client = await RawClient.connect(proxy.ports.frontDoor);
  client.say('CONNECT web.berlin:80 HTTP/1.1\r\nHost: web.berlin:80\r\n\r\nearly');
  assert.match(await client.hears('early'), /^HTTP\/1\.1 200 .*\r\n\r\nearly$/s);
  client.socket.destroy();
});

for (const through of ['plaintext', 'TLS'] as const) {
  test(`keeps the end of a user who ends right behind the request head, through ${through}`, async () => {
    const raw = await RawClient.connect(proxy.ports.frontDoor);
    const { ca } = world.credentials.authority;
    const client = through === 'TLS' ? new RawClient(tlsConnect({ socket: raw.socket, ca, servername: DOMAIN })) : raw;
    client.socket.end('CONNECT counter.berlin:80 HTTP/1.1\r\nHost: counter.berlin:80\r\n\r\n');
    await client.hears('counted 0');
    client.socket.destroy();
  });
}

test("passes the node's reset on as a reset", async () => {
  const { client } = await connectThrough(proxy.ports.frontDoor, 'rude.berlin:80');
  const failed = once(client.socket, 'error', { signal: AbortSignal.timeout(5_000) });
  client.say('x');
  const [error] = await failed;
  assert.equal(error.code, 'ECONNRESET');
});

for (const [authority, status, outcome] of [
  ['dead.berlin:80', 502, 'refused'],
  ['none.berlin:80', 404, 'no-such-node'],
  ['web.berlin:81', 404, 'no-such-node'],
  ['web.paris:80', 404, 'no-such-leaf'],
] as const) {
  test(`answers ${status} ${outcome} for ${authority}, with one line of reason`, async () => {
    const { client, head } = await connectThrough(proxy.ports.frontDoor, authority);
    assert.match(head, new RegExp(`^HTTP/1\\.1 ${status} `));
    assert.match(head, new RegExp(`\\r\\nXylem-Outcome: ${outcome}\\r\\n`));
    const heard = await client.closes();
    assert.match(heard.slice(heard.indexOf('\r\n\r\n') + 4), /^[^\n]+\n$/);
  });
}

test('demands a user certificate where anonymous users are not served, and takes one over TLS', async () => {
  const { head } = await connectThrough(closed.ports.frontDoor, 'web.berlin:80');
  assert.match(head, /^HTTP\/1\.1 407 .*\r\nProxy-Authenticate: /s);
  const user = await world.credentials.material({ kind: 'user', user: 'ada' });
  const socket = tlsConnect({ port: closed.ports.frontDoor, host: '127.0.0.1', ...user, servername: DOMAIN });
  const client = new RawClient(socket);
  client.say('CONNECT web.berlin:80 HTTP/1.1\r\nHost: web.berlin:80\r\n\r\nhello');
  assert.match(await client.hears('hello'), /^HTTP\/1\.1 200 /);
  assert.ok(closed.log.some((line) => line.event === 'connection.opened' && line['user'] === 'ada'));
  socket.destroy();
});

test('refuses the certificate of an agent at the front door', async () => {
  const agent = await world.credentials.material({ kind: 'agent', leaf: 'berlin', agent: 'a1' });
  const socket = tlsConnect({ port: closed.ports.frontDoor, host: '127.0.0.1', ...agent, servername: DOMAIN });
  const client = new RawClient(socket);
  client.say('CONNECT web.berlin:80 HTTP/1.1\r\nHost: web.berlin:80\r\n\r\n');
  assert.match(await client.closes(), /^HTTP\/1\.1 403 .*agent berlin\/a1/s);
});

test('frees the connection when the user hangs up', async () => {
  const { client } = await connectThrough(proxy.ports.frontDoor, 'web.berlin:80');
  await eventually('the connection is open', () => proxy.status().dials.openConnections > 0);
  client.socket.resetAndDestroy();
  await eventually('the connection is closed', () => proxy.status().dials.openConnections === 0);
});
