import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connectNode } from './connect.ts';
import { hostsEntries, makeResolver, searchNames } from './resolve.ts';

/** Answers A queries for the names it knows, with silence for names that begin with `silent`, NXDOMAIN otherwise. */
const KNOWN: Readonly<Record<string, readonly number[]>> = {
  'db.example': [10, 0, 0, 7],
  'db.lan.example': [10, 0, 0, 8],
};
const asked: string[] = [];
const dns = createSocket('udp4');
const folder = mkdtempSync(join(tmpdir(), 'xylem-resolve-'));
const hosts = join(folder, 'hosts');
const resolvConf = join(folder, 'resolv.conf');
let servers: string[] = [];
const never = new AbortController().signal;

function questionOf(query: Buffer): { readonly name: string; readonly end: number } {
  const labels: string[] = [];
  let at = 12;
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join('.'), end: at + 5 };
}

before(async () => {
  dns.on('message', (query, { port, address }) => {
    const { name, end } = questionOf(query);
    const isA = query.readUInt16BE(end - 4) === 1;
    if (isA) asked.push(name);
    if (name.startsWith('silent')) return;
    const found = KNOWN[name];
    const head = Buffer.from(query.subarray(0, 12));
    head.writeUInt16BE(found === undefined ? 0x8183 : 0x8180, 2);
    head.writeUInt16BE(1, 4);
    const answered = found !== undefined && isA;
    head.writeUInt16BE(answered ? 1 : 0, 6);
    head.writeUInt32BE(0, 8);
    const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, ...(found ?? [])]);
    dns.send(Buffer.concat([head, query.subarray(12, end), ...(answered ? [record] : [])]), port, address);
  });
  await new Promise<void>((resolve) => dns.bind(0, '127.0.0.1', resolve));
  servers = [`127.0.0.1:${dns.address().port}`];
  writeFileSync(hosts, '127.0.0.1 localhost\n10.1.1.1  web web.internal # a comment\n::1 six\n10.9.9.9 six\n');
  writeFileSync(resolvConf, 'search lan.example\noptions ndots:2 timeout:1\n');
});
after(() => {
  dns.close();
  rmSync(folder, { recursive: true });
});

test('names that nobody answers for neither delay other names nor occupy the threads of the process', async () => {
  const resolve = makeResolver({ hosts, resolvConf: join(folder, 'none'), servers });
  const giveUp = new AbortController();
  const silent = Array.from({ length: 64 }, (_, n) =>
    connectNode({
      address: { host: `silent${n}.example`, port: 1 },
      timeoutMs: 60_000,
      signal: giveUp.signal,
      resolve,
    }),
  );
  const began = performance.now();
  assert.deepEqual(await resolve('db.example', never), ['10.0.0.7']);
  assert.ok((await readFile(hosts)).length > 0);
  assert.ok(performance.now() - began < 5_000, `${performance.now() - began} ms`);
  giveUp.abort();
  for (const result of await Promise.all(silent)) assert.equal(result.kind, 'failed');
});

test('gives up at the deadline of the dial', async () => {
  const resolve = makeResolver({ hosts, resolvConf: join(folder, 'none'), servers });
  const address = { host: 'silent.example', port: 1 };
  const result = await connectNode({ address, timeoutMs: 100, signal: never, resolve });
  assert.equal(result.kind === 'failed' && result.outcome, 'timed-out');
});

test('a name that does not exist is unreachable, with its code', async () => {
  const resolve = makeResolver({ hosts, resolvConf: join(folder, 'none'), servers });
  const result = await connectNode({
    address: { host: 'no.example', port: 1 },
    timeoutMs: 5_000,
    signal: never,
    resolve,
  });
  assert.equal(result.kind === 'failed' && result.outcome, 'unreachable');
  assert.match(result.kind === 'failed' ? result.detail : '', /ENOTFOUND/);
});

test('the hosts file comes first, and no name server is asked for what it lists', async () => {
  const resolve = makeResolver({ hosts, resolvConf, servers });
  asked.length = 0;
  assert.deepEqual(await resolve('Web.Internal', never), ['10.1.1.1']);
  assert.deepEqual(await resolve('six', never), ['10.9.9.9', '::1']);
  assert.deepEqual(await makeResolver({ hosts: join(folder, 'none'), servers })('localhost', never), [
    '127.0.0.1',
    '::1',
  ]);
  assert.deepEqual(asked, []);
});

test('the search list is followed, and each name is asked for once', async () => {
  const resolve = makeResolver({ hosts, resolvConf, servers });
  asked.length = 0;
  assert.deepEqual(await resolve('db', never), ['10.0.0.8']);
  assert.deepEqual(asked, ['db.lan.example']);
  asked.length = 0;
  assert.deepEqual(await resolve('db.example', never), ['10.0.0.7']);
  assert.deepEqual(asked, ['db.example.lan.example', 'db.example']);
});

test('reads hosts and resolv.conf as resolv.conf(5) and hosts(5) say', () => {
  assert.deepEqual(hostsEntries('# x\n\n1.2.3.4\ta b\nnonsense a\n', 'B.'), ['1.2.3.4']);
  assert.deepEqual(searchNames('', 'db'), ['db']);
  assert.deepEqual(searchNames('search a.b. c\n', 'db'), ['db.a.b', 'db.c', 'db']);
  assert.deepEqual(searchNames('search a\n', 'db.x'), ['db.x', 'db.x.a']);
  assert.deepEqual(searchNames('search a\n', 'db.x.'), ['db.x']);
  assert.deepEqual(searchNames('domain a\n', 'db'), ['db.a', 'db']);
});
