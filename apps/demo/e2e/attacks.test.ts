/**
 * Attacks on a deployment of real processes, from the outside and with the certificate of a leaf cluster. While each lasts, another
 * leaf cluster's connection must go on without an error.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, readdirSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { after, before, test } from 'node:test';
import type { TestContext } from 'node:test';
import { createChannel } from '@xylem/grpc';
import { fileTlsSource } from '@xylem/identity';
import { EVENT } from '@xylem/telemetry';
import { TunnelService } from '@xylem/wire';
import { ConnectRefused, openConnect } from '../src/check/connect.ts';
import { EchoConnection } from '../src/check/echo.ts';
import type { ProxyPart } from '../src/deployment.ts';
import { DOMAIN, ECHO_PORT } from '../src/layout.ts';
import type { Service } from '../src/processes/service.ts';
import { unharmed } from './support/probe.ts';
import { Rig } from './support/rig.ts';

const DEADLINE_MS = 20_000;
/** Attackers come from an address of their own, as they do. */
const ATTACKER = '127.0.0.66';
const VICTIM = `echo.berlin:${ECHO_PORT}`;

let rig: Rig;
let p1: ProxyPart;
const services: Service[] = [];

before(async () => {
  rig = await Rig.create({ logLevel: 'debug' });
  services.push(await rig.startRegistry());
  p1 = await rig.startProxy('p1');
  services.push(p1.service);
  for (const leaf of ['berlin', 'mallory']) {
    services.push(await rig.startAgent(leaf, 'a1', { root: p1.addresses.tunnel }));
    const recorded = (): true | undefined =>
      rig.recorder.events(EVENT.claimRecorded, `${leaf}/a1`).length > 0 ? true : undefined;
    await rig.recorder.until(`${leaf} has its claim`, recorded, DEADLINE_MS);
  }
});
after(() => rig.close());

/** Runs an attack beside the probe, which must notice next to nothing, and afterwards looks whether a newcomer is served. */
async function survives(t: TestContext, attack: () => Promise<void>): Promise<void> {
  t.diagnostic(await unharmed(p1.addresses.frontDoor, VICTIM, attack));
  await newcomerIsServed();
}

async function newcomerIsServed(): Promise<void> {
  const newcomer = await EchoConnection.open(p1.addresses.frontDoor, VICTIM);
  await newcomer.exchange();
  await newcomer.end();
  assert.deepEqual(rig.recorder.events(EVENT.internalError), []);
}

function attackerSocket(address: string): Socket {
  const colon = address.lastIndexOf(':');
  const port = Number(address.slice(colon + 1));
  const socket = connect({ host: address.slice(0, colon), port, localAddress: ATTACKER });
  socket.on('error', () => undefined);
  return socket.resume();
}

const closes = (socket: Socket): Promise<unknown> => new Promise((resolve) => void socket.once('close', resolve));

const PORTS = ['tunnel', 'peer', 'access', 'frontDoor'] as const;

test('A13: a thousand silent connections to each port are bounded and closed in time', async (t) => {
  await survives(t, async () => {
    const sockets = PORTS.flatMap((port) => Array.from({ length: 1_000 }, () => attackerSocket(p1.addresses[port])));
    await Promise.all(sockets.map(closes));
  });
});

test('A13: a handshake of one byte a second is not waited for at any port', async (t) => {
  await survives(t, async () => {
    const sockets = PORTS.flatMap((port) => Array.from({ length: 50 }, () => attackerSocket(p1.addresses[port])));
    const record = Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03, 0x00, 0x00, 0x00]);
    let sent = 0;
    const drip = setInterval(() => {
      for (const socket of sockets) socket.write(record.subarray(sent, sent + 1));
      sent += 1;
    }, 1_000);
    await Promise.all(sockets.map(closes));
    clearInterval(drip);
  });
});

test('A13: a thousand handshakes in a second, begun and left alone, delay nobody', async (t) => {
  await survives(t, async () => {
    const hello = await clientHello(`p1.${DOMAIN}`);
    const sockets: Socket[] = [];
    for (let batch = 0; batch < 50; batch += 1) {
      for (let count = 0; count < 20; count += 1) {
        const socket = attackerSocket(p1.addresses.tunnel);
        socket.write(hello);
        sockets.push(socket);
      }
      await new Promise((resolve) => void setTimeout(resolve, 20));
    }
    for (const socket of sockets) socket.destroy();
  });
});

/** The first bytes of a TLS client, as they are. */
async function clientHello(servername: string): Promise<Buffer> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const accepted = once(server, 'connection');
  const client = connectTls({ host: '127.0.0.1', port, servername, ALPNProtocols: ['h2'] });
  client.on('error', () => undefined);
  const [peer] = (await accepted) as [Socket];
  const [hello] = (await once(peer, 'data')) as [Buffer];
  client.destroy();
  peer.destroy();
  server.close();
  return hello;
}

test('A14: an agent that attaches again and again is told to wait, and writes in the store stay bounded', async (t) => {
  const folder = await rig.credentials('flood', { kind: 'agent', leaf: 'mallory', agent: 'flood' });
  const tls = fileTlsSource(folder.tls, { onProblem: () => undefined, onReload: () => undefined });
  t.after(() => tls.close());
  const since = performance.now();
  const answers: string[] = [];
  await survives(t, async () => {
    for (let round = 0; round < 100; round += 1) answers.push(await attachOnce(tls, round));
  });
  assert.ok(answers.includes('refused'), answers.join(' '));
  const refused = rig.recorder.events(EVENT.tunnelRefused, 'p1', since);
  assert.ok(refused.some(({ fields }) => /attaches too often/.test(String(fields['detail']))));
});

async function attachOnce(tls: Parameters<typeof createChannel>[0]['tls'], round: number): Promise<string> {
  const channel = createChannel({ address: p1.addresses.tunnel, tls, serverName: `p1.${DOMAIN}` });
  try {
    await channel.connect();
    const stream = channel.stream(TunnelService.attach);
    const hello = {
      minVersion: 1,
      maxVersion: 1,
      leaf: 'mallory',
      agent: 'flood',
      instanceNonce: 'n',
      tunnelId: `t${round}`,
      replacesTunnelId: '',
      wantedProxy: 'p1',
      nodes: [],
      software: 'flood',
      traceparent: '',
    };
    stream.send({ kind: { $case: 'hello', value: hello } });
    for await (const { kind } of stream) return kind?.$case ?? 'nothing';
    return 'ended';
  } finally {
    channel.close();
  }
}

test('A19: what a request claims about its sender changes nothing', async () => {
  const claims = ['X-Forwarded-For: 10.0.0.1', 'Forwarded: for=10.0.0.1', 'X-Leaf-Id: berlin', 'X-User: admin'];
  const since = performance.now();
  const socket = attackerSocket(p1.addresses.frontDoor);
  socket.write(`CONNECT ${VICTIM} HTTP/1.1\r\nHost: ${VICTIM}\r\n${claims.join('\r\n')}\r\n\r\n`);
  const [answer] = await once(socket, 'data', { signal: AbortSignal.timeout(DEADLINE_MS) });
  assert.match(String(answer), /^HTTP\/1\.1 200 /);
  socket.destroy();
  const opened = rig.recorder.events(EVENT.connectionOpened, 'p1', since).at(-1);
  assert.equal(opened?.fields['user'], '');
  const lines = rig.recorder.lines.filter(({ service, at }) => service === 'p1' && at >= since);
  assert.ok(lines.every(({ fields }) => !JSON.stringify(fields).includes('10.0.0.1')));
});

for (const [version, preface] of [
  ['1', Buffer.from('PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n')],
  ['2', Buffer.from('0d0a0d0a000d0a515549540a2111000c0a0000010a00000200010002', 'hex')],
] as const) {
  test(`A19: a PROXY header of version ${version} is no part of any protocol here`, async () => {
    for (const port of ['frontDoor', 'tunnel', 'access'] as const) {
      const socket = attackerSocket(p1.addresses[port]);
      const heard: Buffer[] = [];
      socket.on('data', (chunk: Buffer) => heard.push(chunk));
      socket.write(Buffer.concat([preface, Buffer.from(`CONNECT ${VICTIM} HTTP/1.1\r\nHost: ${VICTIM}\r\n\r\n`)]));
      await closes(socket);
      assert.doesNotMatch(Buffer.concat(heard).toString('latin1'), /HTTP\/1\.1 200/);
    }
  });
}

test('A28: names, paths and server names at random add a bounded number of series to the metrics', async () => {
  const series = async (): Promise<number> => {
    const text = await (await fetch(`http://${p1.addresses.ops}/metrics`)).text();
    return text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length;
  };
  const strange = async (round: number): Promise<void> => {
    const name = `n${round}-${Math.random().toString(36).slice(2)}`;
    await openConnect(p1.addresses.frontDoor, `${name}.${name}:80`).catch(() => undefined);
    const hello = attackerSocket(p1.addresses.tunnel);
    hello.end(await clientHello(`${name}.${DOMAIN}`));
    const method = attackerSocket(p1.addresses.frontDoor);
    method.write(`${name.toUpperCase().replaceAll(/[^A-Z]/g, 'X')} /${name} HTTP/1.1\r\nHost: ${name}\r\n\r\n`);
    await Promise.all([closes(hello), closes(method)]);
  };
  for (let round = 0; round < 10; round += 1) await strange(round);
  const earlier = await series();
  for (let round = 0; round < 100; round += 1) await strange(round);
  const text = await (await fetch(`http://${p1.addresses.ops}/metrics`)).text();
  assert.ok((await series()) <= earlier + 20, `${earlier} series became ${await series()}`);
  assert.doesNotMatch(text, /n\d+-[a-z0-9]{5}/);
});

for (const [what, name] of [
  ['markup', '<img src=x onerror=alert(1)>'],
  ['a script address', 'javascript:alert(1)'],
  ['a right-to-left override', 'web\u202egnp'],
  ['an emoji', '🦊'],
  ['ten kilobytes', 'x'.repeat(10_240)],
  ['a terminal sequence', 'web\u001b]52;c;eA==\u0007'],
] as const) {
  test(`A23: ${what} is no name of a node, and is shown to nobody raw`, async () => {
    const since = performance.now();
    const asked = openConnect(p1.addresses.frontDoor, `${name}.berlin:80`);
    await assert.rejects(asked, (error) => error instanceof ConnectRefused && [400, 431].includes(error.status));
    const text = JSON.stringify(rig.recorder.lines.filter(({ at }) => at >= since));
    for (const raw of ['<img', '\u202e', '\u001b', '🦊']) assert.ok(!text.includes(raw));
  });

  test(`A23: ${what} is no name of a leaf cluster either`, async () => {
    const asked = openConnect(p1.addresses.frontDoor, `web.${name}:80`);
    await assert.rejects(asked, (error) => error instanceof ConnectRefused && [400, 431].includes(error.status));
  });
}

test('A25: no private key in any log line, command line or environment', () => {
  const secrets = filesBelow(rig.folder)
    .filter((file) => file.endsWith('key.pem'))
    .flatMap((file) =>
      readFileSync(file, 'utf8')
        .split('\n')
        .filter((line) => line.length > 40),
    );
  assert.ok(secrets.length >= 5);
  const logs = filesBelow(rig.folder).filter((file) => file.endsWith('.jsonl'));
  assert.ok(logs.length >= 4);
  const processes = services.flatMap(({ pid }) => ['cmdline', 'environ'].map((name) => `/proc/${pid}/${name}`));
  for (const file of [...logs, ...processes]) {
    const text = readFileSync(file, 'utf8');
    for (const secret of secrets) assert.ok(!text.includes(secret), `${file} shows a private key`);
  }
});

function filesBelow(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}
