import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { before, test } from 'node:test';
import { connect } from 'node:tls';
import fc from 'fast-check';
import { MAX_CLIENT_HELLO_BYTES, peekClientHello } from './client-hello.ts';
import { proxyOfServerName, serverNameFor } from './steering.ts';
import type { ProxyId } from './ids.ts';

/** The first bytes that a real TLS client sends. */
async function realClientHello(servername: string | undefined): Promise<Uint8Array> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const client = connect({
    port,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    ...(servername === undefined ? {} : { servername }),
  });
  client.on('error', () => undefined);
  const [socket] = await once(server, 'connection');
  const [bytes] = await once(socket, 'data');
  socket.destroy();
  client.destroy();
  server.close();
  return new Uint8Array(bytes);
}

function uint16(value: number): number[] {
  return [value >> 8, value & 255];
}

function vector16(bytes: readonly number[]): number[] {
  return [...uint16(bytes.length), ...bytes];
}

function nameEntry(name: string, type = 0): number[] {
  return [type, ...vector16([...new TextEncoder().encode(name)])];
}

function serverNameExtension(...entries: readonly number[][]): number[] {
  return [...uint16(0), ...vector16(vector16(entries.flat()))];
}

/** A ClientHello with these extensions, cut into records of at most `recordBytes`. */
function hello(extensions: readonly number[] | undefined, recordBytes = 16_000): Uint8Array {
  const body = [3, 3, ...Array.from({ length: 32 }, () => 7), 0, ...vector16([0x13, 0x01]), 1, 0];
  if (extensions !== undefined) body.push(...vector16(extensions));
  const message = [1, 0, ...uint16(body.length), ...body];
  const records: number[] = [];
  for (let at = 0; at < message.length; at += recordBytes)
    records.push(22, 3, 1, ...vector16(message.slice(at, at + recordBytes)));
  return Uint8Array.from(records);
}

let real: Uint8Array;
before(async () => {
  real = await realClientHello('p1.xylem.internal');
});

test('reads the server name of a real ClientHello', () => {
  assert.deepEqual(peekClientHello(real), { kind: 'server-name', name: 'p1.xylem.internal' });
});

test('a real client that connects to an address sends no name', async () => {
  assert.deepEqual(peekClientHello(await realClientHello(undefined)), { kind: 'server-name', name: undefined });
});

test('asks for more at every cut of a real ClientHello and never guesses', () => {
  for (let length = 0; length < real.length; length += 1) {
    assert.deepEqual(peekClientHello(real.subarray(0, length)), { kind: 'need-more' });
  }
});

test('ignores bytes after the ClientHello', () => {
  assert.equal(peekClientHello(Uint8Array.from([...real, 20, 3, 3, 0, 1, 1])).kind, 'server-name');
});

test('puts a ClientHello together from records of one byte each', () => {
  const extensions = serverNameExtension(nameEntry('p2.example'));
  assert.deepEqual(peekClientHello(hello(extensions, 1)), { kind: 'server-name', name: 'p2.example' });
});

test('passes over GREASE extensions (RFC 8701)', () => {
  const grease = [0x2a, 0x2a, 0, 0, 0x0a, 0x0a, 0, 1, 0];
  const extensions = [...grease, ...serverNameExtension(nameEntry('p2.example'))];
  assert.deepEqual(peekClientHello(hello(extensions)), { kind: 'server-name', name: 'p2.example' });
});

test('a ClientHello without extensions names nobody', () => {
  assert.deepEqual(peekClientHello(hello(undefined)), { kind: 'server-name', name: undefined });
  assert.deepEqual(peekClientHello(hello([])), { kind: 'server-name', name: undefined });
});

for (const [what, bytes] of [
  ['two names in one list', hello(serverNameExtension(nameEntry('a.example'), nameEntry('b.example')))],
  [
    'two server name extensions',
    hello([...serverNameExtension(nameEntry('a')), ...serverNameExtension(nameEntry('b'))]),
  ],
  ['a name that is not ASCII', hello(serverNameExtension(nameEntry('b\u00fccher.example')))],
  ['a name with a NUL', hello(serverNameExtension(nameEntry('a\0.example')))],
  ['an empty name', hello(serverNameExtension(nameEntry('')))],
  ['an overlong name', hello(serverNameExtension(nameEntry('a'.repeat(256))))],
  ['an unknown name type', hello(serverNameExtension(nameEntry('a', 3)))],
  ['an empty name list', hello(serverNameExtension())],
  ['HTTP instead of TLS', new TextEncoder().encode('GET / HTTP/1.1\r\n')],
  ['a first HTTP/2 preface byte', new TextEncoder().encode('P')],
  ['an alert record', Uint8Array.from([21, 3, 1, 0, 2, 1, 0])],
  ['a ServerHello', Uint8Array.from([22, 3, 1, 0, 4, 2, 0, 0, 0])],
  ['an empty record', Uint8Array.from([22, 3, 1, 0, 0])],
  ['a record larger than the bound', Uint8Array.from([22, 3, 1, 0x40, 0x01])],
  ['a message larger than the bound', Uint8Array.from([22, 3, 1, 0, 4, 1, 1, 0, 0])],
  ['SSL 2', Uint8Array.from([0x80, 0x2e, 1, 0, 2])],
] as const) {
  test(`refuses ${what}`, () => {
    assert.equal(peekClientHello(bytes).kind, 'malformed');
  });
}

test('never asks for more than the bound, however thin the records are', () => {
  const endless: number[] = [22, 3, 1, 0, 4, 1, 0, 0x3f, 0xff];
  while (endless.length < MAX_CLIENT_HELLO_BYTES + 6) endless.push(22, 3, 1, 0, 1, 0);
  const bytes = Uint8Array.from(endless);
  assert.equal(peekClientHello(bytes.subarray(0, MAX_CLIENT_HELLO_BYTES - 6)).kind, 'need-more');
  assert.equal(peekClientHello(bytes).kind, 'malformed');
});

test('throws on no bytes at all, random or mutated', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => void peekClientHello(bytes)));
  const mutation = fc.array(fc.record({ at: fc.nat(), to: fc.nat(255) }), { maxLength: 12 });
  fc.assert(
    fc.property(mutation, fc.nat(), (changes, cut) => {
      const bytes = Uint8Array.from(real);
      for (const { at, to } of changes) bytes[at % bytes.length] = to;
      const peek = peekClientHello(bytes.subarray(0, cut % (bytes.length + 1)));
      assert.ok(['need-more', 'server-name', 'malformed'].includes(peek.kind));
    }),
    { numRuns: 1_000 },
  );
});

test('server names and proxy ids lead to each other', () => {
  const domain = 'xylem.internal';
  assert.equal(proxyOfServerName(serverNameFor('p1' as ProxyId, domain), domain), 'p1');
  assert.equal(proxyOfServerName('P1.Xylem.Internal.', domain), 'p1');
  for (const name of ['xylem.internal', '.xylem.internal', 'a.b.xylem.internal', 'p1.other', '-p.xylem.internal', '']) {
    assert.equal(proxyOfServerName(name, domain), undefined, name);
  }
});
