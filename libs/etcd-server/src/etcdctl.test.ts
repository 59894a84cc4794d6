import assert from 'node:assert/strict';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { etcdctl, startEtcd, startEtcdctl } from '@xylem/testkit';
import type { EtcdProcess, EtcdctlResult } from '@xylem/testkit';
import { startEtcdServer } from './server.ts';
import type { EtcdServer } from './server.ts';

let etcd: EtcdProcess;
let embedded: EtcdServer;

before(async () => {
  etcd = await startEtcd({ heartbeatIntervalMs: 100, electionTimeoutMs: 1_000 });
  embedded = await startEtcdServer({ dataDir: undefined, listen: '127.0.0.1:0' });
});

after(async () => {
  await embedded.close();
  await etcd.dispose();
});

const LEASE_ID = /\b[0-9a-f]{15,16}\b/g;

/** What differs between any two etcds: ids, sizes, times, names, ports, and log lines with their time. */
function comparable({ stdout, stderr, code }: EtcdctlResult): unknown {
  const masked = (text: string): string =>
    text
      .split('\n')
      .filter((line) => !line.startsWith('{"level"'))
      .join('\n')
      .replaceAll(/127\.0\.0\.1:\d+/g, 'ADDRESS')
      .replaceAll(LEASE_ID, 'ID')
      .replaceAll(/"?(cluster_id|member_id|raft_term|raftTerm|ID|leader)"?( ?: ?)\d+/gi, '$1$2N')
      .replaceAll(/took = [\d.]+[mµn]?s/g, 'took = T')
      .replaceAll(/remaining\(\d+s\)/g, 'remaining(S)');
  return { stdout: masked(stdout), stderr: masked(stderr), code };
}

/** Runs the command against both, the embedded store first; answers what both said. */
async function same(args: readonly string[], stdin?: string): Promise<EtcdctlResult> {
  const ours = await etcdctl(embedded.endpoint, args, stdin);
  const theirs = await etcdctl(etcd.endpoint, args, stdin);
  assert.deepEqual(comparable(ours), comparable(theirs), `etcdctl ${args.join(' ')}`);
  return ours;
}

/** Starts the command on both and compares the first `count` lines, lease ids masked. */
async function sameLines(args: readonly string[], count: number, meanwhile: () => Promise<unknown>): Promise<void> {
  const children = [embedded.endpoint, etcd.endpoint].map((endpoint) => startEtcdctl(endpoint, args));
  const reading = children.map(async (child) => {
    const lines: string[] = [];
    for await (const line of createInterface({ input: child.stdout })) {
      lines.push(line.replaceAll(LEASE_ID, 'ID'));
      if (lines.length === count) break;
    }
    return lines;
  });
  await meanwhile();
  const [ours, theirs] = await Promise.all(reading);
  for (const child of children) child.kill('SIGKILL');
  assert.deepEqual(ours, theirs);
  assert.equal(ours?.length, count);
}

test('keys: put, get, del in every shape', async () => {
  await same(['put', 'k/1', 'one']);
  await same(['put', 'k/2'], 'from standard input');
  await same(['put', 'k/1', 'uno', '--prev-kv']);
  await same(['put', 'k/1', '--ignore-value']);
  await same(['put', 'nothing', '--ignore-value']);
  await same(['put', 'k/3', 'three']);
  await same(['get', 'k/1']);
  await same(['get', '--prefix', 'k/']);
  await same(['get', '--prefix', 'k/', '--sort-by=VALUE', '--order=DESCEND', '--limit=2']);
  await same(['get', '--from-key', 'k/2', '--keys-only']);
  await same(['get', 'k/1', 'k/3', '--print-value-only']);
  await same(['get', '--prefix', '', '--count-only', '--write-out=fields']);
  await same(['get', 'k/1', '-w', 'json']);
  await same(['get', 'k/1', '--rev=2']);
  await same(['get', 'k/1', '--rev=100']);
  await same(['del', 'k/1', '--prev-kv']);
  await same(['del', '--prefix', 'k/']);
  await same(['get', '--prefix', 'k/']);
});

test('transactions, interactive', async () => {
  await same(['put', 't', '1']);
  await same(['txn', '-i'], 'value("t") = "1"\nmod("t") > "0"\n\nput t 2\nget t\n\nput t never\n\n');
  await same(['txn', '-i'], 'create("t") = "0"\n\nput t never\n\nget t\ndel t --prev-kv\n\n');
  await same(['txn', '-i'], '\nput a 1\nput a 2\n\n\n');
});

test('compaction and reading what it removed', async () => {
  const { stdout } = await same(['put', 'c', '1', '-w', 'json']);
  const revision = Number(/"revision":(\d+)/.exec(stdout)?.[1]);
  await same(['put', 'c', '2']);
  await same(['compaction', `${revision + 1}`]);
  await same(['get', 'c', `--rev=${revision}`]);
  await same(['compaction', `${revision}`]);
  await same(['compaction', `${revision + 100}`]);
});

test('a watch of the past and the present, with previous values', async () => {
  const { stdout } = await same(['put', 'w/1', 'a', '-w', 'json']);
  const revision = /"revision":(\d+)/.exec(stdout)?.[1] ?? '';
  await same(['put', 'w/1', 'b']);
  const lines = ['PUT', 'w/1', 'a', 'PUT', 'w/1', 'a', 'w/1', 'b', 'DELETE', 'w/1', 'b', 'w/1', ''].length;
  await sameLines(['watch', '--prefix', 'w/', `--rev=${revision}`, '--prev-kv'], lines, () => same(['del', 'w/1']));
});

test('a watch of a compacted revision says so', async () => {
  await same(['put', 'x', '1']);
  const { stdout } = await same(['put', 'x', '2', '-w', 'json']);
  await same(['compaction', /"revision":(\d+)/.exec(stdout)?.[1] ?? '']);
  await same(['watch', 'x', '--rev=1']);
});

test('leases', async () => {
  const ids = [];
  for (const endpoint of [embedded.endpoint, etcd.endpoint]) {
    const { stdout } = await etcdctl(endpoint, ['lease', 'grant', '60']);
    const id = /^lease ([0-9a-f]+) granted with TTL\(60s\)$/m.exec(stdout)?.[1];
    assert.ok(id !== undefined, stdout);
    ids.push(id);
  }
  const [ours = '', theirs = ''] = ids;
  const both = async (args: (id: string) => readonly string[]): Promise<void> => {
    const left = await etcdctl(embedded.endpoint, args(ours));
    const right = await etcdctl(etcd.endpoint, args(theirs));
    assert.deepEqual(comparable(left), comparable(right), args('ID').join(' '));
  };
  await both((id) => ['put', `--lease=${id}`, 'leased', 'v']);
  await both((id) => ['lease', 'timetolive', id, '--keys']);
  await both((id) => ['lease', 'keep-alive', '--once', id]);
  await both(() => ['lease', 'list']);
  await both((id) => ['lease', 'revoke', id]);
  await both(() => ['get', 'leased']);
  await both((id) => ['lease', 'revoke', id]);
  await both((id) => ['lease', 'timetolive', id]);
  await both((id) => ['lease', 'keep-alive', '--once', id]);
  await both((id) => ['put', `--lease=${id}`, 'leased', 'v']);
});

test('lease keep-alive goes on until it is stopped', async () => {
  const children = [];
  for (const endpoint of [embedded.endpoint, etcd.endpoint]) {
    const { stdout } = await etcdctl(endpoint, ['lease', 'grant', '2']);
    children.push(startEtcdctl(endpoint, ['lease', 'keep-alive', stdout.split(' ')[1] ?? '']));
  }
  for (const child of children) {
    let renewals = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      assert.match(line, /^lease [0-9a-f]+ keepalived with TTL\(2\)$/);
      renewals += 1;
      if (renewals === 3) break;
    }
    assert.equal(renewals, 3);
    child.kill('SIGKILL');
  }
});

test('locks and elections, which etcdctl builds from leases, transactions and watches', async () => {
  await same(['lock', 'mutex', 'echo', 'held']);
  await same(['put', 'after/lock', '1']);
  await sameLines(['elect', 'president', 'me'], 2, () => Promise.resolve());
});

test('health, status, members and alarms', async () => {
  await same(['endpoint', 'health']);
  await same(['alarm', 'list']);
  const status = await etcdctl(embedded.endpoint, ['endpoint', 'status', '-w', 'simple']);
  assert.match(status.stdout, /^127\.0\.0\.1:\d+, [0-9a-f]+, 3\.5\.\d\S*, [\d.]+ [kM]?B, true, false, 1, \d+, \d+,/);
  const members = await etcdctl(embedded.endpoint, ['member', 'list']);
  assert.match(members.stdout, /^[0-9a-f]+, started, embedded, , http:\/\/127\.0\.0\.1:\d+, false\n$/);
  const unknown = await etcdctl(embedded.endpoint, ['user', 'list']);
  assert.match(unknown.stderr, /Unimplemented/i);
});
