import assert from 'node:assert/strict';
import { createHash, createPrivateKey, sign, X509Certificate } from 'node:crypto';
import { createServer as createTcpServer } from 'node:net';
import { Duplex } from 'node:stream';
import { once } from 'node:events';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as tlsConnect } from 'node:tls';
import { ChannelService } from '@xylem/wire';
import { handleStream, handleUnary, StatusError } from './index.ts';
import type { LifetimeOptions, SessionEnding, StreamPeer, TlsMaterial } from './index.ts';
import { makeAuthority, sourceOf } from './testing/certificates.ts';
import type { RenewableSource, TestAuthority } from './testing/certificates.ts';
import { within } from './testing/deadline.ts';
import { Echo } from './testing/echo.ts';
import { AGENT_URI, connectTo, SERVER_NAME, startServer } from './testing/pair.ts';

/** Certificates of a few seconds: X.509 counts whole seconds, so ends are rounded up. */

const LIFETIME: LifetimeOptions = { graceMs: 300, lastWordsMs: 100, refreshIntervalMs: 50 };
const PROXY_URI = 'spiffe://xylem.internal/proxy/a';

const authority = await makeAuthority();

const inMs = (ms: number): Date => new Date(Math.ceil((Date.now() + ms) / 1_000) * 1_000);

function client(ttlMs: number, by: TestAuthority = authority, uri = AGENT_URI): Promise<TlsMaterial> {
  return by.issue({ uris: [uri], validTo: inMs(ttlMs) });
}

function server(ttlMs: number, by: TestAuthority = authority): Promise<TlsMaterial> {
  return by.issue({ uris: [PROXY_URI], dns: [SERVER_NAME], validTo: inMs(ttlMs) });
}

const echo = handleStream(Echo.stream, async (stream) => {
  for await (const message of stream) {
    stream.send(message);
    await stream.drained();
  }
});

interface Rig {
  readonly clientTls: RenewableSource;
  readonly serverTls: RenewableSource;
  readonly address: string;
  /** Of the last unary call. */
  peer(): StreamPeer;
  readonly faults: readonly { readonly kind: string }[];
}

async function rig(t: TestContext, ttl: { client: number; server: number }): Promise<Rig> {
  const clientTls = sourceOf(await client(ttl.client));
  const serverTls = sourceOf(await server(ttl.server));
  let seen: StreamPeer | undefined;
  const who = handleUnary(Echo.unary, async (request, { peer }) => {
    seen = peer;
    return request;
  });
  const { address, faults } = await startServer(t, { tls: serverTls, services: [echo, who], lifetime: LIFETIME });
  const peer = (): StreamPeer => {
    assert.ok(seen !== undefined);
    return seen;
  };
  return { clientTls, serverTls, address, faults, peer };
}

const DAY_MS = 86_400_000;
/** Renewed as by a keeper that does it in time, and long enough for a machine that does other things as well. */
const [RENEWED_MS, RENEWAL_MS] = [3_000, 250];

/** Resolves when the certificate that `peer` is known by ends at `material`'s end. */
async function shows(peer: StreamPeer | undefined, material: TlsMaterial, what: string): Promise<void> {
  const end = new X509Certificate(material.cert).validToDate.getTime();
  const deadline = performance.now() + 5_000;
  while (peer?.notAfterMs !== end) {
    assert.ok(performance.now() < deadline, `${what} did not show its newer certificate`);
    await new Promise(setImmediate);
  }
}

test('a connection goes on over thirty renewals at both ends, and what it carries arrives to the byte', async (t) => {
  const { clientTls, serverTls, address, faults } = await rig(t, { client: RENEWED_MS, server: RENEWED_MS });
  const channel = await connectTo(t, { authority, clientTls, serverTls }, { address, lifetime: LIFETIME });
  const stream = channel.stream(Echo.stream);
  const sent = createHash('sha256');
  const received = createHash('sha256');
  let renewing = true;
  const sender = (async (): Promise<void> => {
    for (let n = 0; renewing; n += 1) {
      const block = Buffer.alloc(8_192, n);
      sent.update(block);
      stream.send(block);
      await stream.drained();
      await new Promise(setImmediate);
    }
    stream.end();
  })();
  const receiver = (async (): Promise<void> => {
    for await (const message of stream) received.update(message);
  })();
  const first = channel.peer?.notAfterMs ?? Infinity;
  for (let renewal = 1; renewal <= 30; renewal += 1) {
    await sleep(RENEWAL_MS);
    serverTls.renew(await server(RENEWED_MS));
    clientTls.renew(await client(RENEWED_MS));
  }
  assert.ok(Date.now() > first + 2_000 + (LIFETIME.graceMs ?? 0), 'the certificates of the handshake are long over');
  renewing = false;
  await within(Promise.all([sender, receiver]), 'the end of the stream');
  assert.deepEqual(await stream.closed, { kind: 'ended' });
  assert.equal(received.digest('hex'), sent.digest('hex'));
  assert.deepEqual(faults, []);
});

test('a server ends a connection whose client shows no newer certificate, and tells its handlers first', async (t) => {
  const { clientTls, serverTls, address, peer } = await rig(t, { client: 1_000, server: DAY_MS });
  const channel = await connectTo(t, { authority, clientTls, serverTls }, { address, lifetime: LIFETIME });
  await channel.unary(Echo.unary, Buffer.alloc(0), 1_000);
  const told = Promise.withResolvers<{ ending: SessionEnding; at: number }>();
  peer().onEnding((ending) => told.resolve({ ending, at: Date.now() }));
  const stream = channel.stream(Echo.stream);
  const notAfterMs = peer().notAfterMs ?? 0;
  const loss = await within(channel.lost, 'the loss');
  assert.equal(loss.kind, 'goaway');
  assert.match(loss.detail, /the server ends the connection: the certificate ended .*; no newer one was shown/);
  const { ending, at } = await told.promise;
  assert.equal(ending.cause, 'expired');
  assert.ok(at >= notAfterMs, 'not before the end of the certificate');
  assert.equal((await within(stream.closed, 'the end of the stream')).kind, 'failed');
  assert.ok(Date.now() <= notAfterMs + 1_000, 'not long after the grace');
  await assert.rejects(channel.unary(Echo.unary, Buffer.alloc(0), 1_000), StatusError);
});

test('a client ends a connection whose server shows no newer certificate', async (t) => {
  const { clientTls, serverTls, address } = await rig(t, { client: DAY_MS, server: 1_000 });
  const channel = await connectTo(t, { authority, clientTls, serverTls }, { address, lifetime: LIFETIME });
  const stream = channel.stream(Echo.stream);
  const loss = await within(channel.lost, 'the loss');
  assert.equal(loss.kind, 'expired');
  assert.match(loss.detail, /^the server: the certificate ended/);
  assert.equal((await within(stream.closed, 'the end of the stream')).kind, 'failed');
});

test('a renewal at the last moment, within the grace, keeps the connection', async (t) => {
  const { clientTls, serverTls, address, peer } = await rig(t, { client: 1_000, server: DAY_MS });
  const lifetime = { ...LIFETIME, graceMs: 3_000 };
  const patient = await startServer(t, { tls: serverTls, services: [echo], lifetime });
  const channel = await connectTo(t, { authority, clientTls, serverTls }, { address: patient.address, lifetime });
  const short = await connectTo(t, { authority, clientTls, serverTls }, { address, lifetime });
  await short.unary(Echo.unary, Buffer.alloc(0), 1_000);
  const ended = new Promise((resolve) => void peer().onEnding(resolve));
  const stream = channel.stream(Echo.stream);
  await within(ended, 'the end of the connection without such a grace');
  clientTls.renew(await client(DAY_MS));
  stream.send(Buffer.from('still here'));
  for await (const message of stream) {
    assert.equal(message.toString(), 'still here');
    break;
  }
  const after = channel.stream(Echo.stream);
  // Longer than the grace would have lasted.
  await assert.rejects(within(after.closed, 'an end', 3_500), /did not happen/);
});

test('a certificate that was renewed during the handshake is shown at once', async (t) => {
  const { clientTls, serverTls, address, peer } = await rig(t, { client: 60_000, server: DAY_MS });
  const newer = await client(DAY_MS);
  let first = true;
  const racing = {
    ...clientTls,
    current() {
      const material = clientTls.current();
      if (first) clientTls.renew(newer);
      first = false;
      return material;
    },
  };
  const channel = await connectTo(t, { authority, clientTls, serverTls }, { address, tls: racing, lifetime: LIFETIME });
  await channel.unary(Echo.unary, Buffer.alloc(0), 1_000);
  await shows(peer(), newer, 'the client');
});

test('a certificate that is not valid yet by the other clock is shown again until it is', async (t) => {
  const { clientTls, serverTls, address, peer, faults } = await rig(t, { client: 60_000, server: DAY_MS });
  const channel = await connectTo(t, { authority, clientTls, serverTls }, { address, lifetime: LIFETIME });
  await channel.unary(Echo.unary, Buffer.alloc(0), 1_000);
  const early = await authority.issue({ uris: [AGENT_URI], validFrom: inMs(1_000), validTo: inMs(DAY_MS) });
  clientTls.renew(early);
  await shows(peer(), early, 'the client');
  assert.ok(faults.length > 0, 'it was refused at first');
});

for (const [what, jumpMs] of [
  ['ahead', DAY_MS],
  ['back', -DAY_MS],
] as const) {
  test(`a wall clock that is set a day ${what} ends nothing that is open`, async (t) => {
    const { clientTls, serverTls, address } = await rig(t, { client: 5_000, server: 5_000 });
    const channel = await connectTo(t, { authority, clientTls, serverTls }, { address, lifetime: LIFETIME });
    const stream = channel.stream(Echo.stream);
    const messages = stream[Symbol.asyncIterator]();
    const real = Date.now;
    const jump = t.mock.method(Date, 'now', () => real() + jumpMs);
    // Both ends look at their certificates: the client at once, because its own are new, and again and again.
    clientTls.renew(await client(6_000));
    const until = performance.now() + 1_500;
    for (let round = 0; performance.now() < until; round += 1) {
      stream.send(Buffer.from([round % 256]));
      assert.deepEqual((await messages.next()).value, Buffer.from([round % 256]));
    }
    jump.mock.restore();
    const newer = await client(DAY_MS);
    clientTls.renew(newer);
    serverTls.renew(await server(DAY_MS));
    await shows(channel.peer, serverTls.current(), 'the server');
    stream.end();
    assert.deepEqual(await within(stream.closed, 'the end'), { kind: 'ended' });
  });
}

test('an authority may change between refreshes, as long as both are trusted meanwhile', async (t) => {
  const { clientTls, serverTls, address, peer, faults } = await rig(t, { client: 60_000, server: 60_000 });
  const channel = await connectTo(t, { authority, clientTls, serverTls }, { address, lifetime: LIFETIME });
  await channel.unary(Echo.unary, Buffer.alloc(0), 1_000);
  const next = await makeAuthority('the next CA');
  const ca = `${authority.pem}\n${next.pem}\n`;
  serverTls.renew({ ...serverTls.current(), ca });
  clientTls.renew({ ...clientTls.current(), ca });
  const ofServer = { ...(await server(120_000, next)), ca };
  const ofClient = { ...(await client(120_000, next)), ca };
  serverTls.renew(ofServer);
  clientTls.renew(ofClient);
  await shows(peer(), ofClient, 'the client');
  await shows(channel.peer, ofServer, 'the server');
  serverTls.renew({ ...ofServer, ca: next.pem });
  clientTls.renew({ ...(await client(180_000, next)), ca: next.pem });
  await shows(peer(), clientTls.current(), 'the client');
  assert.deepEqual(faults, []);
});

test('a certificate of an authority that is not trusted moves nothing, and is counted', async (t) => {
  const { clientTls, serverTls, address, peer, faults } = await rig(t, { client: 60_000, server: DAY_MS });
  const channel = await connectTo(t, { authority, clientTls, serverTls }, { address, lifetime: LIFETIME });
  await channel.unary(Echo.unary, Buffer.alloc(0), 1_000);
  const before = peer().notAfterMs;
  clientTls.renew({ ...(await client(DAY_MS, await makeAuthority('nobody'))), ca: authority.pem });
  while (faults.length === 0) await new Promise(setImmediate);
  assert.equal(faults[0]?.kind, 'refresh');
  assert.equal(peer().notAfterMs, before);
});

test('the chain of the newest certificate can be read, the end entity first', async (t) => {
  const { clientTls, serverTls, address, peer } = await rig(t, { client: 60_000, server: 60_000 });
  const channel = await connectTo(t, { authority, clientTls, serverTls }, { address, lifetime: LIFETIME });
  await channel.unary(Echo.unary, Buffer.alloc(0), 1_000);
  const raw = (material: TlsMaterial): Buffer => new X509Certificate(material.cert).raw;
  assert.deepEqual(peer().certificates.map(Buffer.from), [raw(clientTls.current())]);
  const newer = await client(DAY_MS);
  clientTls.renew(newer);
  await shows(peer(), newer, 'the client');
  assert.deepEqual(peer().certificates.map(Buffer.from), [raw(newer)]);
});

test('sessions that are asked for are cut, others go on', async (t) => {
  const clientTls = sourceOf(await client(DAY_MS));
  const serverTls = sourceOf(await server(DAY_MS));
  const under = await startServer(t, { tls: serverTls, services: [echo], lifetime: LIFETIME });
  const world = { authority, clientTls, serverTls };
  const revoked = await connectTo(t, world, { address: under.address });
  const other = await connectTo(t, world, {
    address: under.address,
    tls: sourceOf(await client(DAY_MS, authority, 'spiffe://xylem.internal/user/alice')),
  });
  const cut = revoked.stream(Echo.stream);
  const kept = other.stream(Echo.stream);
  kept.send(Buffer.from('1'));
  const messages = kept[Symbol.asyncIterator]();
  await messages.next();
  const at = performance.now();
  assert.equal(
    under.server.cut(({ uris }) => uris[0] === AGENT_URI, 'revoked: key lost'),
    1,
  );
  assert.match((await within(revoked.lost, 'the loss')).detail, /revoked: key lost/);
  assert.equal((await within(cut.closed, 'the end of the stream')).kind, 'failed');
  assert.ok(performance.now() - at < 3_000);
  kept.send(Buffer.from('2'));
  assert.equal((await messages.next()).value?.toString(), '2');
});

test('a peer that is not admitted learns why, and reaches no handler', async (t) => {
  const clientTls = sourceOf(await client(DAY_MS));
  const serverTls = sourceOf(await server(DAY_MS));
  let calls = 0;
  const count = handleUnary(Echo.unary, async (request) => {
    calls += 1;
    return request;
  });
  const asked: (readonly string[])[] = [];
  const admit = ({ uris }: StreamPeer): string | undefined => {
    asked.push(uris);
    return uris[0] === AGENT_URI ? 'revoked: key lost' : undefined;
  };
  const { address } = await startServer(t, { tls: serverTls, services: [count], lifetime: LIFETIME, admit });
  const world = { authority, clientTls, serverTls };
  const refused = await connectTo(t, world, { address });
  await assert.rejects(refused.unary(Echo.unary, Buffer.alloc(0), 1_000), { code: 7, detail: 'revoked: key lost' });
  assert.match((await within(refused.lost, 'the loss')).detail, /revoked: key lost/);
  assert.equal(calls, 0);
  const other = sourceOf(await client(DAY_MS, authority, 'spiffe://xylem.internal/user/alice'));
  await (await connectTo(t, world, { address, tls: other })).unary(Echo.unary, Buffer.alloc(0), 1_000);
  assert.equal(calls, 1);
  assert.equal(asked.length, 2);
});

/** Every proof an attacker could have, sent by hand. */
interface Forged {
  readonly name: string;
  readonly refused: RegExp;
  readonly make: (rigged: Attack) => Promise<{ certificates: Buffer[]; signature: Buffer }>;
}

interface Attack {
  readonly material: TlsMaterial;
  readonly exporter: Buffer;
}

function proofOf({ material, exporter }: Attack, role = 'client'): { certificates: Buffer[]; signature: Buffer } {
  const { raw } = new X509Certificate(material.cert);
  const print = createHash('sha256').update(raw).digest('hex');
  const text = `xylem-channel-refresh-v1\n${role}\n${exporter.toString('hex')}\n${print}\n`;
  return { certificates: [raw], signature: sign('sha256', Buffer.from(text), createPrivateKey(material.key)) };
}

const FORGED: readonly Forged[] = [
  {
    name: 'none',
    refused: /has no certificate/,
    make: async () => ({ certificates: [], signature: Buffer.alloc(0) }),
  },
  {
    name: 'bytes that are no certificate',
    refused: /cannot be read/,
    make: async () => ({ certificates: [Buffer.from('x')], signature: Buffer.alloc(70) }),
  },
  {
    name: 'one of another connection',
    refused: /not for this connection/,
    make: async ({ material }) => proofOf({ material, exporter: Buffer.alloc(32, 7) }),
  },
  {
    name: "one in the server's role",
    refused: /not for this connection/,
    make: async (attack) => proofOf(attack, 'server'),
  },
  {
    name: "somebody else's certificate with the own key",
    refused: /not for this connection/,
    make: async (attack) => ({
      ...proofOf(attack),
      certificates: [new X509Certificate((await client(DAY_MS)).cert).raw],
    }),
  },
  {
    name: 'a good one of another identity',
    refused: /another identity/,
    make: async ({ exporter }) => proofOf({ exporter, material: await client(DAY_MS, authority, `${AGENT_URI}-2`) }),
  },
  {
    name: 'a good one of an authority that is not trusted',
    refused: /not signed by a trusted CA/,
    make: async ({ exporter }) => proofOf({ exporter, material: await client(DAY_MS, await makeAuthority('x')) }),
  },
  {
    name: 'a good one that is over',
    refused: /not valid now/,
    make: async ({ exporter }) => proofOf({ exporter, material: await client(-60_000) }),
  },
];

/** A channel over a TLS connection of our own making, so that the test has its keying material. */
async function tapped(t: TestContext, rigged: Rig): Promise<{ attack: Attack; address: string }> {
  const attack = Promise.withResolvers<Attack>();
  const [, port] = rigged.address.split(':');
  const { ca, cert, key } = rigged.clientTls.current();
  const socket = tlsConnect({
    port: Number(port),
    host: '127.0.0.1',
    ca,
    cert,
    key,
    servername: SERVER_NAME,
    ALPNProtocols: ['h2'],
  });
  socket.on('error', () => undefined);
  await within(once(socket, 'secureConnect'), 'the handshake');
  t.after(() => socket.destroy());
  attack.resolve({
    material: rigged.clientTls.current(),
    exporter: socket.exportKeyingMaterial(32, 'EXPORTER-xylem-channel-refresh', Buffer.alloc(0)),
  });
  const front = createTcpServer((raw) => {
    raw.on('error', () => undefined);
    raw.pipe(socket).pipe(raw);
  });
  front.listen(0, '127.0.0.1');
  await once(front, 'listening');
  t.after(() => front.close());
  const bound = front.address();
  assert.ok(bound !== null && typeof bound === 'object');
  return { attack: await attack.promise, address: `127.0.0.1:${bound.port}` };
}

for (const { name, refused, make } of FORGED) {
  test(`refuses a proof: ${name}`, async (t) => {
    const rigged = await rig(t, { client: 60_000, server: DAY_MS });
    const { attack, address } = await tapped(t, rigged);
    const world = { authority, clientTls: rigged.clientTls, serverTls: rigged.serverTls };
    const channel = await connectTo(t, world, { address, tls: undefined });
    await channel.unary(Echo.unary, Buffer.alloc(0), 1_000);
    const before = rigged.peer().notAfterMs;
    const proof = await make(attack);
    await assert.rejects(channel.unary(ChannelService.refresh, { client: proof }, 1_000), {
      code: 7,
      message: refused,
    });
    assert.equal(rigged.peer().notAfterMs, before);
    assert.deepEqual(
      rigged.faults.map(({ kind }) => kind),
      ['refresh'],
    );
    const good = proofOf({ ...attack, material: await client(DAY_MS) });
    await channel.unary(ChannelService.refresh, { client: good }, 1_000);
    assert.notEqual(rigged.peer().notAfterMs, before);
    const older = proofOf({ ...attack, material: await client(10_000) });
    const longest = rigged.peer().notAfterMs;
    await channel.unary(ChannelService.refresh, { client: older }, 1_000);
    assert.equal(rigged.peer().notAfterMs, longest, 'an older certificate never shortens');
  });
}

test('a proof that one connection takes is refused when it is replayed on another of the same client', async (t) => {
  const rigged = await rig(t, { client: 60_000, server: DAY_MS });
  const world = { authority, clientTls: rigged.clientTls, serverTls: rigged.serverTls };
  const [own, other] = [await tapped(t, rigged), await tapped(t, rigged)];
  const proof = proofOf({ ...own.attack, material: await client(DAY_MS) });
  const first = await connectTo(t, world, { address: own.address, tls: undefined });
  await first.unary(ChannelService.refresh, { client: proof }, 1_000);
  const second = await connectTo(t, world, { address: other.address, tls: undefined });
  await assert.rejects(second.unary(ChannelService.refresh, { client: proof }, 1_000), {
    code: 7,
    detail: 'the signature is not for this connection and certificate',
  });
});

test('refuses refreshes that come too often, and goes on', async (t) => {
  const rigged = await rig(t, { client: 60_000, server: DAY_MS });
  const { attack, address } = await tapped(t, rigged);
  const world = { authority, clientTls: rigged.clientTls, serverTls: rigged.serverTls };
  const channel = await connectTo(t, world, { address, tls: undefined });
  const asked = Array.from({ length: 50 }, () =>
    channel.unary(ChannelService.refresh, { client: proofOf(attack) }, 2_000).catch((error: unknown) => error),
  );
  const refused = (await Promise.all(asked)).filter((answer) => answer instanceof StatusError && answer.code === 8);
  assert.ok(refused.length >= 30, `${refused.length} of 50 were refused`);
  await channel.unary(Echo.unary, Buffer.alloc(0), 1_000);
});

test('a relayed connection is refreshed end to end', async (t) => {
  const clientTls = sourceOf(await client(60_000));
  const serverTls = sourceOf(await server(60_000));
  const peers: StreamPeer[] = [];
  const who = handleUnary(Echo.unary, async (request, { peer }) => {
    peers.push(peer);
    return request;
  });
  const under = await startServer(t, { tls: serverTls, services: [who], lifetime: LIFETIME });
  const front = createTcpServer((socket) => {
    socket.on('error', () => undefined);
    under.server.inject(Duplex.from({ readable: socket, writable: socket }), '192.0.2.7:4711');
  });
  front.listen(0, '127.0.0.1');
  await once(front, 'listening');
  t.after(() => front.close());
  const bound = front.address();
  assert.ok(bound !== null && typeof bound === 'object');
  const address = `127.0.0.1:${bound.port}`;
  const channel = await connectTo(t, { authority, clientTls, serverTls }, { address, lifetime: LIFETIME });
  await channel.unary(Echo.unary, Buffer.alloc(0), 1_000);
  const newer = await client(DAY_MS);
  clientTls.renew(newer);
  await shows(peers[0], newer, 'the client');
});
