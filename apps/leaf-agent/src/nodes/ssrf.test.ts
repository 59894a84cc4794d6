import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { createServer, isIPv4 } from 'node:net';
import type { Server } from 'node:net';
import { networkInterfaces } from 'node:os';
import { after, before, beforeEach, describe, test } from 'node:test';
import { configProblems } from '../testing/agent.ts';
import { connectNode } from './connect.ts';
import type { NodeConnection } from './connect.ts';
import { makeResolver } from './resolve.ts';
import { isSpecialAddress } from './special-addresses.ts';

/** Every way in which a name could lead an agent where it must not go (FAULTS.md A17), with a name server that lies. */

const A = 1;
const CNAME = 5;
const AAAA = 28;

/** What the name server answers to the first, second ... query of a type; the last answer goes on. */
type Script = Readonly<Partial<Record<typeof A | typeof AAAA, readonly (readonly string[])[]>>> & {
  readonly alias?: string;
};

const scripts = new Map<string, Script>();
const asked: string[] = [];
const dns = createSocket('udp4');
let server: Server;
let port = 0;
let reached: string[] = [];
const never = new AbortController().signal;

function nameBytes(name: string): Buffer {
  const labels = name.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  return Buffer.concat([...labels, Buffer.from([0])]);
}

function addressBytes(address: string): Buffer {
  if (!address.includes(':')) return Buffer.from(address.split('.').map(Number));
  const [head = '', tail = ''] = address.split('::');
  const groups = (text: string): number[] =>
    text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
  const [left, right] = [groups(head), groups(tail)];
  const zeros = Array.from({ length: address.includes('::') ? 8 - left.length - right.length : 0 }, () => 0);
  return Buffer.from([...left, ...zeros, ...right].flatMap((group) => [group >> 8, group & 0xff]));
}

function record(name: string, type: number, data: Buffer): Buffer {
  const head = Buffer.alloc(10);
  head.writeUInt16BE(type, 0);
  head.writeUInt16BE(1, 2);
  head.writeUInt16BE(data.length, 8);
  return Buffer.concat([nameBytes(name), head, data]);
}

function answerTo(query: Buffer): Buffer {
  const labels: string[] = [];
  let at = 12;
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  const [name, end] = [labels.join('.').toLowerCase(), at + 5];
  const type = query.readUInt16BE(end - 4);
  const earlier = asked.filter((line) => line === `${name} ${type}`).length;
  asked.push(`${name} ${type}`);
  const script = scripts.get(name);
  const answers = type === A || type === AAAA ? (script?.[type] ?? [[]]) : [[]];
  const addresses = answers[Math.min(earlier, answers.length - 1)] ?? [];
  const owner = script?.alias ?? name;
  const records = addresses.map((address) => record(owner, type, addressBytes(address)));
  if (script?.alias !== undefined) records.unshift(record(name, CNAME, nameBytes(script.alias)));
  const head = Buffer.from(query.subarray(0, 12));
  head.writeUInt16BE(script === undefined ? 0x8183 : 0x8180, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(records.length, 6);
  head.writeUInt32BE(0, 8);
  return Buffer.concat([head, query.subarray(12, end), ...records]);
}

before(async () => {
  dns.on('message', (query, { port: from, address }) => dns.send(answerTo(query), from, address));
  await new Promise<void>((resolve) => dns.bind(0, '127.0.0.1', resolve));
  server = createServer((socket) => {
    reached.push(socket.localAddress ?? '');
    socket.on('error', () => undefined).destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve));
  const bound = server.address();
  port = bound !== null && typeof bound === 'object' ? bound.port : 0;
});
after(() => {
  dns.close();
  server.close();
});
beforeEach(() => {
  scripts.clear();
  asked.length = 0;
  reached = [];
});

function dial(host: string): Promise<NodeConnection> {
  const files = { hosts: '/dev/null', resolvConf: '/dev/null', servers: [`127.0.0.1:${dns.address().port}`] };
  return connectNode({ address: { host, port }, timeoutMs: 3_000, signal: never, resolve: makeResolver(files) });
}

describe('a name', { timeout: 60_000 }, () => {
  const SPECIAL: readonly (readonly [what: string, type: typeof A | typeof AAAA, address: string])[] = [
    ['loopback', A, '127.0.0.1'],
    ['loopback elsewhere', A, '127.8.9.10'],
    ['the unspecified address', A, '0.0.0.0'],
    ['this network', A, '0.1.2.3'],
    ['link-local and cloud metadata', A, '169.254.169.254'],
    ["Alibaba's metadata", A, '100.100.100.200'],
    ["Oracle's metadata", A, '192.0.0.192'],
    ["Azure's host", A, '168.63.129.16'],
    ['multicast', A, '224.0.0.251'],
    ['broadcast', A, '255.255.255.255'],
    ['loopback over IPv6', AAAA, '::1'],
    ['the unspecified address over IPv6', AAAA, '::'],
    ['an IPv4-mapped address', AAAA, '::ffff:7f00:1'],
    ['an IPv4-compatible address', AAAA, '::7f00:1'],
    ['an IPv4-translated address', AAAA, '::ffff:0:7f00:1'],
    ['NAT64', AAAA, '64:ff9b::7f00:1'],
    ['local NAT64', AAAA, '64:ff9b:1::7f00:1'],
    ['6to4', AAAA, '2002:7f00:1::'],
    ['Teredo', AAAA, '2001:0:7f00:1::'],
    ['link-local over IPv6', AAAA, 'fe80::1'],
    ['site-local', AAAA, 'fec0::1'],
    ['multicast over IPv6', AAAA, 'ff02::1'],
    ["AWS's metadata over IPv6", AAAA, 'fd00:ec2::254'],
  ];
  for (const [what, type, address] of SPECIAL) {
    test(`A17: a name that leads to ${what} (${address}) is denied`, async () => {
      scripts.set('web.example', { [type]: [[address]] });
      const result = await dial('web.example');
      assert.equal(result.kind === 'failed' && result.outcome, 'denied');
      assert.deepEqual(reached, []);
    });
  }

  test('A17: a name of whose addresses a single one is special is denied: A and AAAA together, in any order', async () => {
    scripts.set('mixed.example', { [A]: [['10.0.0.1']], [AAAA]: [['::1']] });
    scripts.set('second.example', { [A]: [['10.0.0.1', '127.0.0.1']] });
    for (const host of ['mixed.example', 'second.example']) {
      const result = await dial(host);
      assert.equal(result.kind === 'failed' && result.outcome, 'denied', host);
    }
  });

  test('A17: a name that is an alias of something internal is denied', async () => {
    scripts.set('public.example', { alias: 'metadata.internal', [A]: [['169.254.169.254']] });
    const result = await dial('public.example');
    assert.equal(result.kind === 'failed' && result.outcome, 'denied');
  });

  for (const host of ['2130706433', '0x7f.1', '0x7f000001', '0177.1', '0177.0.0.1', '127.1']) {
    test(`A17: a name that spells an address in another way (${host}) is none`, async () => {
      const result = await dial(host);
      assert.equal(result.kind, 'failed');
      assert.deepEqual(reached, []);
    });
  }

  test('A17: a name is looked up once per dial, and what was checked is connected to, though the next answer would be another', async () => {
    const own = Object.values(networkInterfaces())
      .flatMap((addresses) => addresses ?? [])
      .find(({ internal, address }) => !internal && !isSpecialAddress(address) && isIPv4(address))?.address;
    // Where there is no network but loopback nothing can be connected to; all else holds.
    scripts.set('rebind.example', { [A]: [[own ?? '10.0.0.1'], ['127.0.0.1']], [AAAA]: [[]] });
    const first = await dial('rebind.example');
    assert.notEqual(first.kind === 'failed' && first.outcome, 'denied');
    if (first.kind === 'connected') {
      assert.equal(first.socket.remoteAddress, own);
      first.socket.destroy();
    }
    assert.deepEqual(asked.toSorted(), ['rebind.example 1', 'rebind.example 28']);
    const second = await dial('rebind.example');
    assert.equal(second.kind === 'failed' && second.outcome, 'denied', 'it is looked up and checked for every dial');
    assert.equal(asked.length, 4);
    assert.ok(reached.every((address) => address === own));
  });

  test('A17: a name ends at most once in a dot, and is nothing else then', async () => {
    scripts.set('web.example', { [A]: [['127.0.0.1']] });
    const result = await dial('web.example.');
    assert.equal(result.kind === 'failed' && result.outcome, 'denied');
    assert.equal((await dial('localhost.')).kind, 'failed', 'only the literal localhost is this machine');
  });
});

describe('a configuration', () => {
  const withAddress = (address: string): string[] =>
    configProblems(
      [],
      `
leaf: berlin
agent: a1
root: root.example.com:7200
ops: { listen: "127.0.0.1:9102" }
tls: { ca: ${process.execPath}, cert: ${process.execPath}, key: ${process.execPath} }
nodes:
  - { name: web, ports: [{ port: 80, address: ${JSON.stringify(address)} }] }
`,
    ).map(({ key, detail }) => `${key}: ${detail}`);

  test('takes literal addresses and plain names', () => {
    for (const address of [
      '127.0.0.1:80',
      '[::1]:80',
      '169.254.169.254:80',
      'db.internal:5432',
      'db1:80',
      'localhost:80',
    ]) {
      assert.deepEqual(withAddress(address), [], address);
    }
  });

  for (const address of [
    '2130706433:80',
    '0x7f.1:80',
    '0x7f000001:80',
    '0177.1:80',
    '0177.0.0.1:80',
    '127.1:80',
    '127.0.0.1.:80',
    '1.2.3.4.5:80',
    'bücher.example:80',
    '::1:80',
    'a b:80',
    'user@host:80',
  ]) {
    test(`A17: a configuration refuses ${address}`, () => assert.equal(withAddress(address).length, 1));
  }

  test("A17: a configuration refuses the agent's own metrics port, however it is spelled", () => {
    for (const address of ['127.0.0.1:9102', 'localhost:9102', '[::1]:9102', '0.0.0.0:9102', '127.9.9.9:9102']) {
      assert.match(withAddress(address)[0] ?? '', /this agent serves its own metrics/, address);
    }
  });
});
