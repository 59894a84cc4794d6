import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as tlsConnect } from 'node:tls';
import { after, before, beforeEach, test } from 'node:test';
import { Credentials } from '../testing/credentials.ts';
import { RawClient } from '../testing/raw-client.ts';
import { FrontDoorServer } from './server.ts';
import type { FrontDoorRequest } from './server.ts';

const HOST = 'Host: web.berlin:80\r\n';
const good = `CONNECT web.berlin:80 HTTP/1.1\r\n${HOST}\r\n`;

let credentials: Credentials;
let server: FrontDoorServer;
let port: number;
const requests: FrontDoorRequest[] = [];
const refusals: string[] = [];
let arrived: (request: FrontDoorRequest) => void = () => undefined;

before(async () => {
  credentials = await Credentials.create();
  server = new FrontDoorServer({
    tls: await credentials.source({ kind: 'proxy', proxy: 'p1' }),
    onConnect(request) {
      requests.push(request);
      arrived(request);
    },
    refusal: () => undefined,
    onRefused: (_source, cause) => void refusals.push(cause),
    headTimeoutMs: 400,
    maxWaitingPerAddress: 8,
  });
  port = await server.listen('127.0.0.1:0');
});
beforeEach(() => {
  for (const { rawSocket } of requests.splice(0)) rawSocket.destroy();
  refusals.length = 0;
});
after(() => server.close());

function nextRequest(): Promise<FrontDoorRequest> {
  return new Promise((resolve) => {
    arrived = resolve;
  });
}

const malformed: readonly (readonly [string, string])[] = [
  ['a line break in the authority', `CONNECT web.berlin:80\r\nX: y HTTP/1.1\r\n${HOST}\r\n`],
  ['a bare line feed in the authority', `CONNECT web.ber\nlin:80 HTTP/1.1\r\n${HOST}\r\n`],
  ['userinfo', `CONNECT a@web.berlin:80 HTTP/1.1\r\n${HOST}\r\n`],
  ['port 0', `CONNECT web.berlin:0 HTTP/1.1\r\n${HOST}\r\n`],
  ['port 65536', `CONNECT web.berlin:65536 HTTP/1.1\r\n${HOST}\r\n`],
  ['a signed port', `CONNECT web.berlin:+22 HTTP/1.1\r\n${HOST}\r\n`],
  ['a port with a space', `CONNECT web.berlin:22  HTTP/1.1\r\n${HOST}\r\n`],
  ['no port', `CONNECT web.berlin HTTP/1.1\r\n${HOST}\r\n`],
  ['an empty port', `CONNECT web.berlin: HTTP/1.1\r\n${HOST}\r\n`],
  ['an address literal', `CONNECT 127.0.0.1:80 HTTP/1.1\r\n${HOST}\r\n`],
  ['a v6 literal', `CONNECT [::1]:80 HTTP/1.1\r\n${HOST}\r\n`],
  ['one label', `CONNECT web:80 HTTP/1.1\r\n${HOST}\r\n`],
  ['a duplicate Host', `CONNECT web.berlin:80 HTTP/1.1\r\n${HOST}Host: other.berlin:80\r\n\r\n`],
  ['a Host that is not the target', `CONNECT web.berlin:80 HTTP/1.1\r\nHost: db.berlin:80\r\n\r\n`],
  ['no Host in HTTP/1.1', 'CONNECT web.berlin:80 HTTP/1.1\r\n\r\n'],
  ['absolute form', `CONNECT http://web.berlin:80 HTTP/1.1\r\n${HOST}\r\n`],
  ['a path', `CONNECT web.berlin:80/x HTTP/1.1\r\n${HOST}\r\n`],
  ['origin form', `CONNECT / HTTP/1.1\r\n${HOST}\r\n`],
  ['obs-fold', `CONNECT web.berlin:80 HTTP/1.1\r\n${HOST}X-A: b\r\n c\r\n\r\n`],
  [
    'Content-Length and Transfer-Encoding',
    `CONNECT web.berlin:80 HTTP/1.1\r\n${HOST}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc`,
  ],
  ['a body by Content-Length', `CONNECT web.berlin:80 HTTP/1.1\r\n${HOST}Content-Length: 3\r\n\r\nabc`],
  ['two Content-Lengths', `CONNECT web.berlin:80 HTTP/1.1\r\n${HOST}Content-Length: 0\r\nContent-Length: 0\r\n\r\n`],
  ['Transfer-Encoding: xchunked', `CONNECT web.berlin:80 HTTP/1.1\r\n${HOST}Transfer-Encoding: xchunked\r\n\r\n`],
  ['Transfer-Encoding: chunked', `CONNECT web.berlin:80 HTTP/1.1\r\n${HOST}Transfer-Encoding: chunked\r\n\r\n`],
  ['a space before the colon of a header', `CONNECT web.berlin:80 HTTP/1.1\r\n${HOST}X-A : b\r\n\r\n`],
  ['a NUL in a header', `CONNECT web.berlin:80 HTTP/1.1\r\n${HOST}X-A: b\0c\r\n\r\n`],
  ['HTTP/0.9', 'CONNECT web.berlin:80\r\n\r\n'],
  ['HTTP/2.0', `CONNECT web.berlin:80 HTTP/2.0\r\n${HOST}\r\n`],
  ['no HTTP at all', 'SSH-2.0-OpenSSH_9.2\r\n\r\n'],
];

for (const [what, head] of malformed) {
  test(`A18: answers 400 and closes, without a dial, on ${what}`, async () => {
    const client = await RawClient.connect(port);
    client.say(`${head}${good}`);
    const heard = await client.closes();
    assert.match(heard, /^HTTP\/1\.1 400 Bad Request\r\n/);
    assert.match(heard, /\r\nConnection: close\r\n/);
    assert.equal(heard.split('HTTP/1.1 4').length, 2, 'one answer only');
    assert.equal(requests.length, 0);
    assert.deepEqual(refusals, ['malformed']);
  });
}

test('answers 431 to a head longer than 8 KiB', async () => {
  const client = await RawClient.connect(port);
  client.say(`CONNECT web.berlin:80 HTTP/1.1\r\n${HOST}X-A: ${'b'.repeat(9_000)}\r\n\r\n`);
  assert.match(await client.closes(), /^HTTP\/1\.1 431 /);
  assert.equal(requests.length, 0);
});

for (const head of [
  `GET http://web.berlin/ HTTP/1.1\r\nHost: web.berlin\r\n\r\n`,
  `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc`,
  `GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`,
]) {
  test(`answers 405 with help to ${head.split('\r\n', 1)[0]}`, async () => {
    const client = await RawClient.connect(port);
    client.say(head + good);
    const heard = await client.closes();
    assert.match(heard, /^HTTP\/1\.1 405 Method Not Allowed\r\n/);
    assert.match(heard, /\r\nAllow: CONNECT\r\n/);
    assert.match(heard, /curl -p -x/);
    assert.equal(requests.length, 0);
  });
}

test('takes a well-formed CONNECT and leaves what follows the head unread', async () => {
  const next = nextRequest();
  const client = await RawClient.connect(port);
  client.say(`${good}early bytes`);
  const request = await next;
  assert.deepEqual(request.authority, { node: 'web', leaf: 'berlin', port: 80 });
  assert.equal(request.loopback, true);
  assert.deepEqual(request.uris, []);
  request.socket.on('data', (chunk: Buffer) => request.socket.end(`echo ${chunk.toString()}`));
  assert.equal(await client.closes(), 'echo early bytes');
});

test('takes HTTP/1.0 without Host, as nc sends it', async () => {
  const next = nextRequest();
  const client = await RawClient.connect(port);
  client.say('CONNECT web.berlin:22 HTTP/1.0\r\n\r\n');
  assert.equal((await next).authority.port, 22);
  client.socket.destroy();
});

test('takes a request that arrives byte by byte', async () => {
  const next = nextRequest();
  const client = await RawClient.connect(port);
  client.socket.setNoDelay(true);
  for (const character of good) client.say(character);
  assert.equal((await next).authority.node, 'web');
});

test('A13: closes a client that does not finish its request in time', async () => {
  const client = await RawClient.connect(port);
  client.say('CONNECT web.berlin:80 HTTP/1.1\r\n');
  assert.equal(await client.closes(), '');
  assert.deepEqual(refusals, ['deadline']);
});

test('A13: closes a silent client in time, and one that stalls in its TLS handshake', async () => {
  const silent = await RawClient.connect(port);
  const stalled = await RawClient.connect(port);
  stalled.say('\x16\x03\x01');
  assert.equal(await silent.closes(), '');
  assert.equal(await stalled.closes(), '');
});

test('A13: bounds the clients that wait, and serves again when they have gone', async () => {
  const waiting = await Promise.all(Array.from({ length: 9 }, () => RawClient.connect(port)));
  await Promise.any(waiting.map((client) => client.closes()));
  assert.ok(refusals.includes('limit'));
  for (const client of waiting) client.socket.destroy();
  const served = Promise.withResolvers<FrontDoorRequest>();
  arrived = (request) => served.resolve(request);
  // The server learns in its own time that those who waited have gone.
  let client: RawClient;
  do {
    client = await RawClient.connect(port);
    client.say(good);
  } while ((await Promise.race([served.promise, client.closes()])) === '');
  assert.equal((await served.promise).authority.node, 'web');
});

test('speaks TLS on the same port and tells who the client is', async () => {
  const user = await credentials.material({ kind: 'user', user: 'ada' });
  const next = nextRequest();
  const socket = tlsConnect({
    port,
    host: '127.0.0.1',
    ...user,
    servername: 'xylem.internal',
    ALPNProtocols: ['http/1.1'],
  });
  socket.write(good);
  const request = await next;
  assert.deepEqual(request.uris, ['spiffe://xylem.internal/user/ada']);
  assert.equal(socket.alpnProtocol, 'http/1.1');
  socket.destroy();
});

test('keeps half-close over TLS in both directions', async () => {
  const { ca } = credentials.authority;
  const next = nextRequest();
  const raw = await RawClient.connect(port);
  const socket = tlsConnect({ socket: raw.socket, ca, servername: 'xylem.internal' });
  socket.end(`${good}question`);
  const request = await next;
  let asked = '';
  request.socket.on('data', (chunk: Buffer) => (asked += chunk.toString()));
  await once(request.socket, 'end');
  request.socket.end(`answer to ${asked}`);
  const [answer] = await once(socket, 'data', { signal: AbortSignal.timeout(5_000) });
  assert.equal(String(answer), 'answer to question');
});

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`verifies the certificate of every connection over ${version}: sessions are not resumed`, async () => {
    const user = await credentials.material({ kind: 'user', user: 'ada' });
    const options = { port, host: '127.0.0.1', ...user, servername: 'xylem.internal', maxVersion: version };
    const first = tlsConnect(options);
    let session: Buffer | undefined;
    first.on('session', (offered: Buffer) => (session = offered));
    const arrival = nextRequest();
    first.write(good);
    // The answer comes behind whatever the server offers for resumption.
    (await arrival).socket.write('x');
    await once(first, 'data', { signal: AbortSignal.timeout(5_000) });
    session ??= first.getSession();
    assert.ok(session !== undefined);
    const second = tlsConnect({ ...options, session });
    await once(second, 'secureConnect', { signal: AbortSignal.timeout(5_000) });
    assert.equal(second.isSessionReused(), false);
    first.destroy();
    second.destroy();
  });
}

test('A1: refuses a certificate of another authority instead of taking the client as anonymous', async () => {
  const others = await Credentials.create();
  const { cert, key } = await others.material({ kind: 'user', user: 'ada' });
  const socket = tlsConnect({
    port,
    host: '127.0.0.1',
    ca: credentials.authority.ca,
    cert,
    key,
    servername: 'xylem.internal',
  });
  const client = new RawClient(socket);
  client.say(good);
  assert.match(await client.closes(), /^HTTP\/1\.1 403 /);
  assert.equal(requests.length, 0);
  assert.deepEqual(refusals, ['certificate']);
});

test('resets the client through TLS', async () => {
  const next = nextRequest();
  const socket = tlsConnect({ port, host: '127.0.0.1', ca: credentials.authority.ca, servername: 'xylem.internal' });
  socket.write(good);
  const request = await next;
  const failed = once(socket, 'error');
  request.rawSocket.resetAndDestroy();
  request.socket.destroy();
  const [error] = await failed;
  assert.equal(error.code, 'ECONNRESET');
});
