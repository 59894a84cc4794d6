/**
 * Attacks on the identities of a deployment of real processes, which joined as people do. The certificates that are no good are signed by
 * the deployment's own authority, so that nothing but the flaw itself can be what they are refused for.
 */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { connect as connectTls } from 'node:tls';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { StatusError, createChannel } from '@xylem/grpc';
import type { GrpcChannel } from '@xylem/grpc';
import { readIdentityFolder } from '@xylem/identity';
import { EVENT } from '@xylem/telemetry';
import { AccessService, AdminService, PeerService, TunnelService } from '@xylem/wire';
import { parse } from 'yaml';
import * as z from 'zod';
import { EchoConnection } from '../src/check/echo.ts';
import { DOMAIN, ECHO_PORT } from '../src/layout.ts';
import type { Service } from '../src/processes/service.ts';
import { Forger } from './support/forged.ts';
import type { ForgedCertificate, ShownMaterial } from './support/forged.ts';
import { JoinedDeployment } from './support/joined.ts';
import type { JoinedProxy } from './support/joined.ts';
import { unharmed } from './support/probe.ts';

const DEADLINE_MS = 10_000;
const HOUR_MS = 3_600_000;
const HOUR_S = 3_600;
const VICTIM = `echo.berlin:${ECHO_PORT}`;
const LEAVES = ['berlin', 'mallory'] as const;

let deployment: JoinedDeployment;
let p1: JoinedProxy;
let authority: Forger;
let trust: string;
let registryAddress: string;
const services: Service[] = [];
/** What nobody but its owner may ever see. */
const canaries = new Map<string, string>();

before(async () => {
  deployment = await JoinedDeployment.create({ certificateTtlMs: HOUR_MS });
  services.push(await deployment.startRegistry());
  const config = z
    .object({ listen: z.string() })
    .parse(parse(readFileSync(join(deployment.folder, 'r1.yaml'), 'utf8')));
  registryAddress = config.listen;
  trust = readIdentityFolder(deployment.adminDir).material.ca;
  authority = await Forger.ofRegistry(join(deployment.folder, 'r1', 'authority'));
  p1 = await deployment.startProxy('p1');
  services.push(p1.service);
  for (const leaf of LEAVES) await joinAgent(leaf);
});
after(() => deployment.close());

async function joinAgent(leaf: string): Promise<void> {
  const root = p1.addresses.tunnel;
  const token = await deployment.token('--leaf', leaf);
  canaries.set(`join token of ${leaf}`, token.slice(-43));
  const flags = ['--token-file', '-', '--root', root, '--agent', 'a1'];
  const directory = ['--identity-dir', deployment.agentFolder(leaf, 'a1')];
  const joined = await deployment.xylem(['agent', 'join', ...flags, ...directory], token);
  assert.equal(joined.status, 0, joined.err);
  services.push(await deployment.startAgent(leaf, 'a1', root));
  const claimed = (): true | undefined =>
    deployment.recorder.events(EVENT.claimRecorded, `${leaf}/a1`).length > 0 || undefined;
  await deployment.recorder.until(`${leaf} has its claim`, claimed, DEADLINE_MS);
}

/** Takes whatever certificate it is given, and whatever the other end shows: the attacker's own TLS. */
function channelWith(address: string, serverName: string, { cert, key }: ShownMaterial): GrpcChannel {
  const tls = { current: () => ({ ca: trust, cert, key }), verify: () => undefined, onChange: () => () => undefined };
  return createChannel({ address, serverName, tls });
}

interface Port {
  readonly name: string;
  /** Who is served there. */
  readonly uri: string;
  readonly address: () => string;
  readonly serverName: string;
  /** Resolves when a handler has answered. */
  readonly call: (channel: GrpcChannel) => Promise<unknown>;
}

const PORTS: readonly Port[] = [
  {
    name: 'tunnel',
    uri: `spiffe://${DOMAIN}/leaf/mallory/agent/a9`,
    address: () => p1.addresses.tunnel,
    serverName: `p1.${DOMAIN}`,
    call: (channel) => attach(channel, 'mallory'),
  },
  {
    name: 'peer',
    uri: `spiffe://${DOMAIN}/proxy/p2`,
    address: () => p1.addresses.peer,
    serverName: `p1.${DOMAIN}`,
    call: (channel) => channel.unary(PeerService.describe, {}, DEADLINE_MS),
  },
  {
    name: 'access',
    uri: `spiffe://${DOMAIN}/user/alice`,
    address: () => p1.addresses.access,
    serverName: `p1.${DOMAIN}`,
    call: (channel) => channel.unary(AccessService.listNodes, { leaf: '' }, DEADLINE_MS),
  },
  {
    name: 'registry',
    uri: `spiffe://${DOMAIN}/user/admin@r1`,
    address: () => registryAddress,
    serverName: `registry.${DOMAIN}`,
    call: (channel) => channel.unary(AdminService.listTokens, {}, DEADLINE_MS),
  },
];

async function attach(
  channel: GrpcChannel,
  leaf: string,
  metadata: Readonly<Record<string, string>> = {},
): Promise<unknown> {
  const stream = channel.stream(TunnelService.attach, metadata);
  const value = {
    minVersion: 1,
    maxVersion: 1,
    leaf,
    agent: 'a9',
    instanceNonce: 'n',
    tunnelId: 't1',
    replacesTunnelId: '',
    wantedProxy: 'p1',
    nodes: [],
    software: 'attacker',
    traceparent: '',
  };
  stream.send({ kind: { $case: 'hello', value } });
  for await (const { kind } of stream) {
    if (kind?.$case === 'refused') throw new StatusError(7, JSON.stringify(kind.value));
    return kind;
  }
  throw new StatusError(7, 'the stream ended');
}

/** `served`, `handshake` when there was no connection at all, or the detail of the refusal. */
async function attempt(port: Port, shown: ShownMaterial): Promise<string> {
  const channel = channelWith(port.address(), port.serverName, shown);
  try {
    await port.call(channel);
    return 'served';
  } catch (error) {
    if (!(error instanceof StatusError)) return 'handshake';
    return `${error.code} ${error.detail}`;
  } finally {
    channel.close();
  }
}

/** Status line of a renewal with this certificate; empty when the handshake fails. */
function renewal(shown: ShownMaterial): Promise<string> {
  const [host = '', port = ''] = deployment.enrol.split(':');
  const servername = `enrol.${DOMAIN}`;
  const socket = connectTls({ host, port: Number(port), servername, ca: trust, ...shown, ALPNProtocols: ['http/1.1'] });
  socket.setTimeout(DEADLINE_MS, () => socket.destroy());
  const head = [
    'POST /v1/renew HTTP/1.1',
    `Host: ${servername}`,
    'Content-Type: application/json',
    'Content-Length: 2',
  ];
  socket.once('secureConnect', () => socket.write(`${head.join('\r\n')}\r\n\r\n{}`));
  let text = '';
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  socket.on('error', () => undefined);
  return new Promise((resolve) => socket.once('close', () => resolve(text.split('\r\n')[0] ?? '')));
}

const PERMISSION_DENIED = /^(handshake|7 .*|14 .*|16 .*)$/s;

const FLAWS: readonly (readonly [string, (uri: string) => ForgedCertificate, ('stranger' | 'self')?])[] = [
  ['a signature of its own', (uri) => ({ uris: [uri] }), 'self'],
  ['another authority of the same name', (uri) => ({ uris: [uri] }), 'stranger'],
  ['CA:TRUE', (uri) => ({ uris: [uri], isAuthority: true })],
  ['a server usage only', (uri) => ({ uris: [uri], usage: 'server' })],
  ['an end in the past', (uri) => ({ uris: [uri], fromS: -2 * HOUR_S, toS: -1 })],
  ['a beginning in the future', (uri) => ({ uris: [uri], fromS: HOUR_S, toS: 2 * HOUR_S })],
  ['two names', (uri) => ({ uris: [uri, `spiffe://${DOMAIN}/user/bob`] })],
  ['the same name twice', (uri) => ({ uris: [uri, uri] })],
  ['no name', () => ({ uris: [] })],
  ['its name in the subject only', (uri) => ({ uris: [], subject: `CN="${uri}"` })],
  ['its name as that of a host', (uri) => ({ uris: [], hosts: [uri.slice('spiffe://'.length).replaceAll('/', '.')] })],
  ['a fragment behind its name', (uri) => ({ uris: [`${uri}#`] })],
  ['an escaped slash', (uri) => ({ uris: [uri.replace(/\/([^/]+)$/, '%2f$1')] })],
  ['dots', (uri) => ({ uris: [uri.replace(/\/([^/]+)$/, '/x/../$1')] })],
  ['upper case', (uri) => ({ uris: [uri.toUpperCase().replace('SPIFFE', 'spiffe')] })],
  ['a NUL', (uri) => ({ uris: [`${uri}\0`] })],
  ['a name of another domain', (uri) => ({ uris: [uri.replace(DOMAIN, 'elsewhere')] })],
];

async function forge(wish: ForgedCertificate, by: 'stranger' | 'self' | undefined): Promise<ShownMaterial> {
  if (by === 'self') return Forger.selfSigned(wish);
  return (by === 'stranger' ? await Forger.stranger(authority) : authority).sign(wish);
}

/** One line for each port, and one for the enrolment listener. */
async function writtenDown(since: number): Promise<void> {
  const all = (): true | undefined => {
    const { recorder } = deployment;
    const refusals = [EVENT.handshakeFailed, EVENT.audit].flatMap((event) => recorder.events(event, undefined, since));
    const enrolments = recorder.events(EVENT.enrolmentRefused, 'r1', since);
    return (refusals.length >= PORTS.length && enrolments.length > 0) || undefined;
  };
  await deployment.recorder.until('every refusal is written down', all, DEADLINE_MS);
}

test('A1: a certificate without a flaw is served at each port, so that a flaw is what the others are refused for', async () => {
  for (const port of PORTS) {
    assert.equal(await attempt(port, await authority.sign({ uris: [port.uri] })), 'served', port.name);
  }
  assert.match(await renewal(await authority.sign({ uris: [`spiffe://${DOMAIN}/leaf/mallory/agent/a9`] })), / 400 /);
});

for (const [what, wish, by] of FLAWS) {
  test(`A1: ${what} is refused at every port of the deployment, and written down`, async (t) => {
    const since = performance.now();
    const report = await unharmed(p1.addresses.frontDoor, VICTIM, async () => {
      for (const port of PORTS) {
        const answer = await attempt(port, await forge(wish(port.uri), by));
        assert.match(answer, PERMISSION_DENIED, `${port.name}: ${answer}`);
        t.diagnostic(`${port.name}: ${answer.slice(0, 100)}`);
      }
      const agent = `spiffe://${DOMAIN}/leaf/mallory/agent/a9`;
      assert.match(await renewal(await forge(wish(agent), by)), /^$| 401 /);
    });
    t.diagnostic(report);
    await writtenDown(since);
    assert.deepEqual(deployment.recorder.events(EVENT.internalError, undefined, since), []);
  });
}

test('A1: no certificate at all is refused at every port before any HTTP/2, and written down', async (t) => {
  const since = performance.now();
  const report = await unharmed(p1.addresses.frontDoor, VICTIM, async () => {
    for (const { name, address, serverName } of PORTS)
      assert.equal(await heardWithout(address(), serverName), '', name);
  });
  t.diagnostic(report);
  const refusals = (): true | undefined =>
    deployment.recorder.events(EVENT.handshakeFailed, undefined, since).length >= PORTS.length || undefined;
  await deployment.recorder.until('every refusal is written down', refusals, DEADLINE_MS);
});

/** All that a server says to a client that speaks HTTP/2 and shows no certificate, until it closes. */
async function heardWithout(address: string, servername: string): Promise<string> {
  const [host = '', port = ''] = address.split(':');
  const socket = connectTls({ host, port: Number(port), servername, ca: trust, ALPNProtocols: ['h2'] });
  socket.setTimeout(DEADLINE_MS, () => socket.destroy(new Error('was not closed')));
  let text = '';
  socket.on('secureConnect', () => socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'));
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  socket.on('error', () => undefined);
  await new Promise((resolve) => void socket.once('close', resolve));
  return text;
}

test('A2: an agent that names another leaf cluster than its certificate gets no tunnel, and the other keeps its own', async () => {
  const { recorder } = deployment;
  const since = performance.now();
  const claims = (): number =>
    [EVENT.claimReleased, EVENT.claimRecorded].flatMap((event) => recorder.events(event)).length;
  const earlier = claims();
  const shown = await authority.sign({ uris: [`spiffe://${DOMAIN}/leaf/mallory/agent/a9`] });
  const metadata = {
    'x-leaf-id': 'berlin',
    'x-forwarded-client-cert': `URI=spiffe://${DOMAIN}/leaf/berlin/agent/a1`,
    'x-leaf-bin': 'YmVybGlu',
  };
  for (const more of [{}, metadata]) {
    const channel = channelWith(p1.addresses.tunnel, `p1.${DOMAIN}`, shown);
    await assert.rejects(attach(channel, 'berlin', more));
    channel.close();
  }
  const audited = (): true | undefined =>
    recorder
      .events(EVENT.audit, 'p1', since)
      .some(({ fields }) => /"rule":"cross_tenant"/.test(JSON.stringify(fields))) || undefined;
  await recorder.until('the refusal is audited', audited, DEADLINE_MS);
  assert.equal(claims(), earlier, 'no slot and no token has changed');
  const connection = await EchoConnection.open(p1.addresses.frontDoor, VICTIM);
  await connection.exchange();
  await connection.end();
});

test('A21: an agent is revoked with a connection open: cut within five seconds, and refused from then on', async (t) => {
  const own = `echo.mallory:${ECHO_PORT}`;
  const open = await EchoConnection.open(p1.addresses.frontDoor, own);
  await open.exchange();
  const since = performance.now();
  await deployment.administer('identities', 'revoke', 'leaf/mallory/agent/a1', '--reason', 'attack');
  const saidMs = performance.now() - since;
  await assert.rejects(async () => {
    for (;;) await open.exchange();
  });
  const cutMs = performance.now() - since;
  t.diagnostic(`the command took ${saidMs.toFixed(0)} ms, the connection was cut after ${cutMs.toFixed(0)} ms`);
  assert.ok(cutMs < saidMs + 5_000);
  await assert.rejects(EchoConnection.open(p1.addresses.frontDoor, own));
  const stored = readIdentityFolder(deployment.agentFolder('mallory', 'a1')).material;
  assert.match(await renewal(stored), / (400|401|403) /);
});

test('A25: no token, password or key in any log, audit line, metric, command line or environment', async () => {
  const files = filesBelow(deployment.folder);
  for (const file of files.filter((name) => /(key\.pem|intermediate\.pem|\.key)$/.test(name))) {
    const [, body = ''] = /PRIVATE KEY-----\n([A-Za-z0-9+/=\n]+)-----END/.exec(readFileSync(file, 'utf8')) ?? [];
    for (const line of body.split('\n').filter(({ length }) => length >= 40)) canaries.set(file, line);
  }
  assert.ok(canaries.size >= 6, [...canaries.keys()].join());
  const texts = new Map(
    files.filter((name) => /\.(log|jsonl|yaml)$/.test(name)).map((name) => [name, readFileSync(name, 'utf8')]),
  );
  assert.ok(texts.size >= 6);
  for (const { pid } of services) {
    for (const name of ['cmdline', 'environ'])
      texts.set(`${pid} ${name}`, readFileSync(`/proc/${pid}/${name}`, 'utf8'));
  }
  texts.set('metrics', await (await fetch(`http://${p1.addresses.ops}/metrics`)).text());
  texts.set('lines', JSON.stringify(deployment.recorder.lines));
  for (const [where, text] of texts) {
    for (const [what, canary] of canaries) assert.ok(!text.includes(canary), `${where} shows the ${what}`);
  }
});

function filesBelow(folder: string): readonly string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}
