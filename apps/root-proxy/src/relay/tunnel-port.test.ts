import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as tlsConnect } from 'node:tls';
import { createChannel } from '@xylem/grpc';
import { TunnelService } from '@xylem/wire';
import { Credentials, DOMAIN } from '../testing/credentials.ts';
import { RawClient } from '../testing/raw-client.ts';
import { claimedBy, eventually, World } from '../testing/world.ts';
import type { WorldProxy } from '../testing/world.ts';

let world: World;
let proxy: WorldProxy;

before(async () => {
  world = await World.create();
  proxy = await world.proxy('p1', { overrides: { attachTimeoutMs: 300 } });
});
after(() => world.close());

for (const [what, bytes, cause] of [
  ['plaintext HTTP', 'GET / HTTP/1.1\r\n\r\n', 'malformed'],
  ['an HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'malformed'],
  ['a record of a wrong version', '\x16\x09\x01\x00\x05hello', 'malformed'],
  ['an endless ClientHello', `\x16\x03\x01\x3f\xf0\x01\x00\x3f\xec${'x'.repeat(20_000)}`, 'malformed'],
] as const) {
  test(`closes a connection that starts with ${what}, with a log line and a metric`, async () => {
    const seen = proxy.log.length;
    const client = await RawClient.connect(proxy.ports.tunnel);
    client.say(bytes);
    assert.equal(await client.closes(), '');
    await eventually('it was logged', () =>
      proxy.log.slice(seen).some((line) => line.event === 'handshake.failed' && line['cause'] === cause),
    );
  });
}

test('A1: refuses a client without a certificate, one of another authority, and one that is too slow to attach', async () => {
  const others = await Credentials.create();
  const stranger = await others.material({ kind: 'agent', leaf: 'berlin', agent: 'a1' });
  const { ca } = world.credentials.authority;
  for (const material of [{}, { cert: stranger.cert, key: stranger.key }]) {
    const socket = tlsConnect({
      port: proxy.ports.tunnel,
      host: '127.0.0.1',
      ca,
      ...material,
      servername: `p1.${DOMAIN}`,
      ALPNProtocols: ['h2'],
    });
    socket.on('error', () => undefined).resume();
    await new Promise((resolve) => socket.once('close', resolve));
  }
  assert.ok(proxy.log.some((line) => line.event === 'handshake.failed' && line['cause'] === 'handshake'));
  const agent = await world.credentials.material({ kind: 'agent', leaf: 'berlin', agent: 'a1' });
  const silent = tlsConnect({
    port: proxy.ports.tunnel,
    host: '127.0.0.1',
    ...agent,
    servername: `p1.${DOMAIN}`,
    ALPNProtocols: ['h2'],
  });
  silent.on('error', () => undefined).resume();
  await once(silent, 'close', { signal: AbortSignal.timeout(5_000) });
  assert.ok(proxy.log.some((line) => line['cause'] === 'no-attach'));
});

test('an Attach that begins with anything but a hello ends its connection, too', async () => {
  const channel = createChannel({
    address: `127.0.0.1:${proxy.ports.tunnel}`,
    tls: await world.credentials.source({ kind: 'agent', leaf: 'berlin', agent: 'a2' }),
    serverName: `p1.${DOMAIN}`,
  });
  await channel.connect();
  const stream = channel.stream(TunnelService.attach);
  stream.send({ kind: { $case: 'ping', value: { nonce: 1n } } });
  assert.equal((await stream.closed).kind, 'failed');
  const open = Symbol('still open');
  const loss = await Promise.race([channel.lost, sleep(5_000, open, { ref: false })]);
  channel.close();
  assert.notEqual(loss, open);
});

test('serves its own certificate for a name that no member bears, so that the agent sees the mismatch', async () => {
  const agent = await world.credentials.material({ kind: 'agent', leaf: 'berlin', agent: 'a1' });
  const socket = tlsConnect({
    port: proxy.ports.tunnel,
    host: '127.0.0.1',
    ...agent,
    servername: `p9.${DOMAIN}`,
    ALPNProtocols: ['h2'],
  });
  const [error] = await once(socket, 'error', { signal: AbortSignal.timeout(5_000) });
  assert.equal(error.code, 'ERR_TLS_CERT_ALTNAME_INVALID');
});

test('an attached tunnel outlives the time for attaching', async () => {
  await world.agent('berlin', 'a1');
  await eventually('p1 is claimed', () => claimedBy(proxy, 'a1'));
  await new Promise((resolve) => setTimeout(resolve, 400));
  assert.ok(claimedBy(proxy, 'a1'));
});
