import assert from 'node:assert/strict';
import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { toFence } from '@xylem/membership';
import { etcdctl, startEtcd, startEtcdCluster } from '@xylem/testkit';
import { registry as wire } from '@xylem/wire';
import type { ProxyClient } from './testing/proxy-client.ts';
import { startRelay } from './testing/relay.ts';
import { folder, makeWorld } from './testing/world.ts';

const world = await makeWorld();
const { AcquireCode, ReleaseCode } = wire;
const RECOVERY_MS = 5_000;

/** Asks like a root proxy does, until the outcome is known. */
async function acquireUntilKnown(proxy: ProxyClient, leaf: string, nonce: string): Promise<wire.AcquireResult> {
  for (;;) {
    const result = await proxy.acquire(leaf, 'a1', nonce);
    if (result.code !== AcquireCode.ACQUIRE_CODE_UNAVAILABLE) return result;
  }
}

async function claimKeys(endpoint: string): Promise<readonly string[]> {
  const { stdout } = await etcdctl(endpoint, ['get', '--prefix', '/xylem/v1/claims/', '--keys-only']);
  return stdout.split('\n').filter((line) => line !== '');
}

async function compactAll(endpoint: string): Promise<void> {
  const { stdout } = await etcdctl(endpoint, ['get', '/xylem/v1/epoch', '-w', 'json']);
  const [, revision = ''] = /"revision":(\d+)/.exec(stdout) ?? [];
  const { code, stderr } = await etcdctl(endpoint, ['compact', revision]);
  assert.equal(code, 0, stderr);
}

async function writeDirectly(endpoint: string, leaf: string): Promise<void> {
  const value = JSON.stringify({ agent: 'a1', nonce: 'n', incarnation: '1', epoch: '1' });
  const { code, stderr } = await etcdctl(endpoint, ['put', `/xylem/v1/claims/${leaf}/p7/0`], value);
  assert.equal(code, 0, stderr);
}

/** Resolves when the session has been told of exactly these claims of p7; answers how long that took. */
async function sees(proxy: ProxyClient, leaves: readonly string[]): Promise<number> {
  const startedAt = performance.now();
  const wanted = leaves.map((leaf) => `${leaf}/p7/0`).sort();
  await proxy.until(`exactly ${wanted.length} claims`, () => {
    const seen = [...proxy.view().claims.keys()].filter((key) => key.endsWith('/p7/0')).sort();
    return seen.length === wanted.length && seen.every((key, index) => key === wanted[index]) ? true : undefined;
  });
  return performance.now() - startedAt;
}

test(
  'etcd killed and started again: sessions stay, claims asked for meanwhile are recorded within 5 s',
  { timeout: 60_000 },
  async (t) => {
    const etcd = await startEtcd();
    t.after(() => etcd.dispose());
    const registry = await world.registry(t, 'r1', { kind: 'etcd', endpoints: [etcd.endpoint] });
    await registry.ready();
    const proxy = await world.proxy(t, registry, 'p1', 'one');
    const { incarnation } = await proxy.welcome();
    proxy.beat(500);
    const before = await proxy.acquire('berlin', 'a1', 'n1');

    await etcd.kill();
    const during = await proxy.acquire('tokyo', 'a1', 'n2');
    assert.equal(during.code, AcquireCode.ACQUIRE_CODE_UNAVAILABLE);
    assert.match(during.detail, new RegExp(`the store at ${etcd.endpoint} does not answer`));
    assert.equal(registry.status().ready, false);
    await etcd.restart();
    const startedAt = performance.now();
    const after = await acquireUntilKnown(proxy, 'tokyo', 'n2');
    const took = performance.now() - startedAt;
    assert.equal(after.code, AcquireCode.ACQUIRE_CODE_GRANTED);
    assert.ok(took < RECOVERY_MS, `${took} ms`);
    t.diagnostic(`recorded ${Math.round(took)} ms after etcd was up again`);
    assert.equal(toFence(incarnation).epoch, 1n);
    assert.equal((await proxy.release('berlin', before.token)).code, ReleaseCode.RELEASE_CODE_DONE);
    assert.deepEqual(await claimKeys(etcd.endpoint), ['/xylem/v1/claims/tokyo/p1/0']);
    const next = await world.proxy(t, registry, 'p2', 'two');
    await next.welcome();
    assert.equal(registry.status().counters.evictions, 0);
  },
);

test(
  'etcd stopped for 8 s and continued: nothing hangs, the answer of before the stop counts once',
  { timeout: 60_000 },
  async (t) => {
    const etcd = await startEtcd();
    t.after(() => etcd.dispose());
    const registry = await world.registry(t, 'r1', { kind: 'etcd', endpoints: [etcd.endpoint] });
    await registry.ready();
    const proxy = await world.proxy(t, registry, 'p1', 'one');
    await proxy.welcome();
    proxy.beat(500);
    etcd.stop();
    const stoppedAt = performance.now();
    const during = await proxy.acquire('berlin', 'a1', 'n1');
    assert.equal(during.code, AcquireCode.ACQUIRE_CODE_UNAVAILABLE);
    const refused = await world.proxy(t, registry, 'p2', 'two');
    assert.match((await refused.next('refused')).detail, /the store at http:.* does not answer/);
    assert.ok(performance.now() - stoppedAt > 4_000);
    etcd.resume();
    const startedAt = performance.now();
    const { token } = await acquireUntilKnown(proxy, 'berlin', 'n1');
    const took = performance.now() - startedAt;
    assert.ok(took < RECOVERY_MS, `${took} ms`);
    t.diagnostic(`recorded ${Math.round(took)} ms after etcd was continued`);
    assert.equal((await proxy.release('berlin', token)).code, ReleaseCode.RELEASE_CODE_DONE);
    assert.deepEqual(await claimKeys(etcd.endpoint), [], 'no try of before the stop comes late');
  },
);

test(
  'members of an etcd cluster are killed one after the other: no session is lost, claims go on',
  { timeout: 90_000 },
  async (t) => {
    const cluster = await startEtcdCluster(3);
    t.after(() => cluster.dispose());
    const registry = await world.registry(t, 'r1', { kind: 'etcd', endpoints: [...cluster.endpoints] });
    await registry.ready();
    const proxy = await world.proxy(t, registry, 'p1', 'one');
    const { incarnation } = await proxy.welcome();
    proxy.beat(500);
    const took: number[] = [];
    for (const [index, member] of cluster.members.entries()) {
      await member.kill();
      const startedAt = performance.now();
      const { token } = await acquireUntilKnown(proxy, 'berlin', `n${index}`);
      took.push(Math.round(performance.now() - startedAt));
      assert.ok(token > incarnation);
      assert.equal((await proxy.release('berlin', token)).code, ReleaseCode.RELEASE_CODE_DONE);
      await member.restart();
    }
    t.diagnostic(`claim recorded after a kill, ms: ${took.join(' ')}`);
    assert.ok(Math.max(...took) < RECOVERY_MS);
    await proxy.until('itself in the view', () =>
      proxy.view().members.get('p1')?.proxy?.incarnation === incarnation ? true : undefined,
    );
    assert.equal(registry.status().counters.evictions, 0);
  },
);

test('the watch breaks twice in a row while things change: every change arrives', { timeout: 60_000 }, async (t) => {
  const etcd = await startEtcd();
  t.after(() => etcd.dispose());
  const relay = await startRelay(t, etcd.address);
  const registry = await world.registry(t, 'r1', { kind: 'etcd', endpoints: [relay.endpoint] });
  await registry.ready();
  const proxy = await world.proxy(t, registry, 'p1', 'one');
  await proxy.next('view');
  proxy.beat(500);
  const leaves = ['a', 'b', 'c', 'd', 'e'];
  await writeDirectly(etcd.endpoint, 'a');
  relay.breakOpen();
  await writeDirectly(etcd.endpoint, 'b');
  relay.breakOpen();
  await writeDirectly(etcd.endpoint, 'c');
  relay.cut();
  await writeDirectly(etcd.endpoint, 'd');
  relay.mend();
  relay.breakOpen();
  await writeDirectly(etcd.endpoint, 'e');
  t.diagnostic(`complete ${Math.round(await sees(proxy, leaves))} ms after the last change`);
  assert.equal(registry.status().counters.lists, 1, 'by watching on, not by listing again');
});

test('history is compacted while the watch is down: the view is exact again', { timeout: 60_000 }, async (t) => {
  const etcd = await startEtcd();
  t.after(() => etcd.dispose());
  const relay = await startRelay(t, etcd.address);
  const registry = await world.registry(t, 'r1', { kind: 'etcd', endpoints: [relay.endpoint] });
  await registry.ready();
  const proxy = await world.proxy(t, registry, 'p1', 'one');
  await proxy.next('view');
  proxy.beat(500);
  await writeDirectly(etcd.endpoint, 'a');
  await sees(proxy, ['a']);
  relay.cut();
  await writeDirectly(etcd.endpoint, 'b');
  await writeDirectly(etcd.endpoint, 'c');
  await etcdctl(etcd.endpoint, ['del', '/xylem/v1/claims/a/p7/0']);
  await writeDirectly(etcd.endpoint, 'd');
  await compactAll(etcd.endpoint);
  relay.mend();
  t.diagnostic(`exact ${Math.round(await sees(proxy, ['b', 'c', 'd']))} ms after the way was open`);
  assert.deepEqual([registry.status().counters.lists, registry.status().counters.evictions], [2, 0]);
});

test(
  'a root proxy whose lease lapsed elsewhere is evicted and comes back with a new incarnation',
  { timeout: 30_000 },
  async (t) => {
    const etcd = await startEtcd();
    t.after(() => etcd.dispose());
    const registry = await world.registry(t, 'r1', { kind: 'etcd', endpoints: [etcd.endpoint] });
    await registry.ready();
    const proxy = await world.proxy(t, registry, 'p1', 'one');
    const { incarnation, lease } = await proxy.welcome();
    await proxy.acquire('berlin', 'a1');
    await etcdctl(etcd.endpoint, ['lease', 'revoke', lease.toString(16)]);
    await proxy.next('evicted');
    assert.equal((await proxy.closed).kind, 'ended');
    const again = await world.proxy(t, registry, 'p1', 'one', { incarnation, lease });
    assert.ok((await again.welcome()).incarnation > incarnation);
  },
);

test(
  'a silent root proxy loses its session, then its records, and its successor waits for neither',
  { timeout: 40_000 },
  async (t) => {
    const etcd = await startEtcd();
    t.after(() => etcd.dispose());
    const core = { sessionTimeoutMs: 1_000, leaseTtlMs: 2_000 };
    const registry = await world.registry(t, 'r1', { kind: 'etcd', endpoints: [etcd.endpoint] }, { core });
    await registry.ready();
    const silent = await world.proxy(t, registry, 'p1', 'one');
    const { incarnation } = await silent.welcome();
    await silent.acquire('berlin', 'a1');
    const watcher = await world.proxy(t, registry, 'p2', 'two');
    watcher.beat(300);
    const end = await silent.closed;
    assert.equal(end.kind === 'failed' && end.code, 4, 'deadline exceeded');
    const successor = await world.proxy(t, registry, 'p1', 'three');
    successor.beat(300);
    const welcome = await successor.welcome();
    assert.ok(welcome.incarnation > incarnation);
    await watcher.until('the old claim gone', () =>
      watcher.view().claims.size === 0 && watcher.view().members.get('p1')?.proxy?.incarnation === welcome.incarnation
        ? true
        : undefined,
    );
  },
);

test(
  'registry and root proxy are killed together: the next instance is welcomed as soon as the registry is back',
  { timeout: 40_000 },
  async (t) => {
    const store = { kind: 'embedded', dataDir: await folder(t), listen: '127.0.0.1:0' } as const;
    const first = await world.registry(t, 'r1', store);
    await first.ready();
    const killed = await world.proxy(t, first, 'p1', 'one');
    const { incarnation } = await killed.welcome();
    await killed.acquire('berlin', 'a1');
    await first.kill();
    killed.kill();
    const second = await world.registry(t, 'r1', store);
    await second.ready();
    const startedAt = performance.now();
    const next = await world.proxy(t, second, 'p1', 'two');
    assert.ok((await next.welcome()).incarnation > incarnation);
    assert.deepEqual((await next.next('view')).claims, []);
    assert.ok(performance.now() - startedAt < 5_000);
  },
);

test(
  'the store is restored from an older backup: a new epoch, tokens and incarnations above all that were given',
  { timeout: 60_000 },
  async (t) => {
    const dataDir = await folder(t);
    const backup = await folder(t);
    const open = (id: string, folderOfStore: string): ReturnType<typeof world.registry> =>
      world.registry(t, id, { kind: 'embedded', dataDir: folderOfStore, listen: '127.0.0.1:0' });
    const first = await open('r1', dataDir);
    await first.ready();
    const proxy = await world.proxy(t, first, 'p1', 'one');
    const before = await proxy.welcome();
    const early = await proxy.acquire('berlin', 'a1', 'n1');
    await first.stop();
    await cp(dataDir, join(backup, 'store'), { recursive: true });

    const second = await open('r1', dataDir);
    await second.ready();
    const later = await world.proxy(t, second, 'p1', 'one', { incarnation: before.incarnation });
    const { incarnation } = await later.welcome();
    await later.release('berlin', early.token);
    for (let round = 0; round < 10; round += 1) await churn(later, round);
    const late = await later.acquire('berlin', 'a1', 'n2');
    await later.until('the claim', () =>
      later.view().claims.get('berlin/p1/0')?.token === late.token ? true : undefined,
    );
    const newestStamp = { epoch: 1n, revision: later.view().revision };
    assert.ok(newestStamp.revision >= late.token);
    await second.stop();

    const restored = await open('r1', join(backup, 'store'));
    await restored.ready();
    const startedAt = performance.now();
    const again = await world.proxy(t, restored, 'p1', 'one', { incarnation, newestStamp });
    const welcome = await again.welcome();
    t.diagnostic(`welcomed in the new epoch after ${Math.round(performance.now() - startedAt)} ms`);
    assert.ok(welcome.incarnation > incarnation && welcome.incarnation > late.token);
    const view = await again.next('view');
    assert.equal(view.stamp?.epoch, 2n);
    assert.deepEqual(view.claims, []);
    const token = (await again.acquire('berlin', 'a1', 'n3')).token;
    assert.ok(token > late.token);
    assert.equal(
      (await again.release('berlin', late.token)).code,
      ReleaseCode.RELEASE_CODE_DONE,
      'a token of the lost time',
    );
    await again.until('the claim', () => (again.view().claims.get('berlin/p1/0')?.token === token ? true : undefined));
  },
);

async function churn(proxy: ProxyClient, round: number): Promise<void> {
  const { token } = await proxy.acquire('churn', 'a1', `c${round}`);
  await proxy.release('churn', token);
}

test(
  'etcd that is not there at first: one line that names it and the remedy, then ready without a restart',
  { timeout: 40_000 },
  async (t) => {
    const etcd = await startEtcd();
    t.after(() => etcd.dispose());
    await etcd.kill();
    const registry = await world.registry(t, 'r1', { kind: 'etcd', endpoints: [etcd.endpoint] });
    const proxy = await world.proxy(t, registry, 'p1', 'one');
    const refused = await proxy.next('refused');
    assert.equal(refused.code, wire.RefusalCode.REFUSAL_CODE_STORE_UNAVAILABLE);
    assert.match(refused.detail, new RegExp(`the store at ${etcd.endpoint} does not answer`));
    assert.equal(await readyz(registry.opsPort), 503);
    const unreachable = registry.lines.filter((line) => line.includes('"store.unreachable"'));
    assert.equal(unreachable.length, 1);
    assert.match(
      unreachable[0] ?? '',
      new RegExp(`${etcd.endpoint}: connect ECONNREFUSED.*start the store or correct store.endpoints`),
    );
    await etcd.restart();
    const startedAt = performance.now();
    await registry.ready();
    t.diagnostic(`ready ${Math.round(performance.now() - startedAt)} ms after etcd was up`);
    assert.equal(await readyz(registry.opsPort), 200);
    await (await world.proxy(t, registry, 'p1', 'one')).welcome();
  },
);

async function readyz(port: number): Promise<number> {
  return (await fetch(`http://127.0.0.1:${port}/readyz`)).status;
}

test(
  'etcd without space for writes: refused with the reason, and well again with space',
  { timeout: 60_000 },
  async (t: TestContext) => {
    const etcd = await startEtcd({ flags: ['--quota-backend-bytes=65536'] });
    t.after(() => etcd.dispose());
    const registry = await world.registry(t, 'r1', { kind: 'etcd', endpoints: [etcd.endpoint] });
    await registry.ready();
    const proxy = await world.proxy(t, registry, 'p1', 'one');
    await proxy.welcome();
    proxy.beat(500);
    await etcdctl(etcd.endpoint, ['put', '/big'], 'x'.repeat(100_000));
    await etcdctl(etcd.endpoint, ['put', '/bigger'], 'x'.repeat(100_000));
    assert.equal((await proxy.acquire('berlin', 'a1', 'n1')).code, AcquireCode.ACQUIRE_CODE_UNAVAILABLE);
    await etcdctl(etcd.endpoint, ['del', '--prefix', '/big']);
    await compactAll(etcd.endpoint);
    await etcdctl(etcd.endpoint, ['defrag']);
    await etcdctl(etcd.endpoint, ['alarm', 'disarm']);
    assert.equal((await acquireUntilKnown(proxy, 'berlin', 'n1')).code, AcquireCode.ACQUIRE_CODE_GRANTED);
  },
);
