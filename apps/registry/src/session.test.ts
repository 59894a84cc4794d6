import assert from 'node:assert/strict';
import { test } from 'node:test';
import { registry as wire, tunnel } from '@xylem/wire';
import type { ProxyClient } from './testing/proxy-client.ts';
import { embedded, etcdStore, makeWorld, sameStore, STORES } from './testing/world.ts';

const world = await makeWorld();
const { RefusalCode, AcquireCode, ReleaseCode } = wire;

/** Resolves when this claim is (or is not) in what the session was told. */
function sees(proxy: ProxyClient, key: string, there: boolean): Promise<true> {
  return proxy.until(`${key} ${there ? 'in' : 'out of'} the view`, () =>
    proxy.view().claims.has(key) === there ? true : undefined,
  );
}

for (const store of STORES) {
  test(`${store.name}: a root proxy registers, claims, releases and leaves`, { timeout: 30_000 }, async (t) => {
    const registry = await world.registry(t, 'r1', await store.open(t));
    await registry.ready();
    const proxy = await world.proxy(t, registry, 'p1', 'one');
    const welcome = await proxy.welcome();
    const view = await proxy.next('view');
    assert.deepEqual(
      view.members.map((member) => [member.proxy?.id, member.proxy?.incarnation]),
      [['p1', welcome.incarnation]],
    );

    const beatAt = performance.now();
    const sequence = proxy.heartbeat();
    const ack = await proxy.next('heartbeatAck', (value) => value.sequence === sequence);
    // Counted from the heartbeat, after which the keepalive left: 10 s less the margin, from somewhere in this time.
    const { leaseValidMs } = ack;
    assert.ok(leaseValidMs > 5_000 && leaseValidMs <= 9_500 + performance.now() - beatAt, `${leaseValidMs}`);

    const first = await proxy.acquire('berlin', 'a1', 'n1');
    assert.equal(first.code, AcquireCode.ACQUIRE_CODE_GRANTED);
    assert.ok(first.token > welcome.incarnation);
    const repeated = await proxy.acquire('berlin', 'a1', 'n1');
    assert.deepEqual(
      [repeated.code, repeated.token],
      [AcquireCode.ACQUIRE_CODE_GRANTED, first.token],
      'the same grant is ours',
    );
    const held = await proxy.acquire('berlin', 'a2', 'n2');
    assert.deepEqual(
      [held.code, held.holder?.agent, held.holder?.token],
      [AcquireCode.ACQUIRE_CODE_HELD, 'a1', first.token],
    );
    const other = await proxy.acquire('berlin', 'a2', 'n2', 1);
    assert.equal(other.code, AcquireCode.ACQUIRE_CODE_GRANTED, 'another slot');

    assert.equal((await proxy.release('berlin', first.token)).code, ReleaseCode.RELEASE_CODE_DONE);
    const second = await proxy.acquire('berlin', 'a2', 'n3');
    assert.ok(second.token > first.token);
    assert.equal((await proxy.release('berlin', first.token)).code, ReleaseCode.RELEASE_CODE_DONE, 'a late release');
    await sees(proxy, 'berlin/p1/0', true);
    assert.equal(proxy.view().claims.get('berlin/p1/0')?.token, second.token, 'hurts nobody');

    proxy.send({ $case: 'leave', value: {} });
    await proxy.next('left');
    assert.equal((await proxy.closed).kind, 'ended');
    const next = await world.proxy(t, registry, 'p2', 'two');
    const after = await next.next('view');
    assert.deepEqual(
      [after.members.map((member) => member.proxy?.id), after.claims],
      [['p2'], []],
      'nothing is left of it',
    );
  });

  test(
    `${store.name}: a second live instance is refused by name, and the first goes on`,
    { timeout: 30_000 },
    async (t) => {
      const r1 = await world.registry(t, 'r1', await store.open(t));
      await r1.ready();
      const r2 = await world.registry(t, 'r2', sameStore(r1));
      await r2.ready();
      const first = await world.proxy(t, r1, 'p1', 'one');
      const welcome = await first.welcome();
      for (const registry of [r1, r2]) {
        const second = await world.proxy(t, registry, 'p1', 'two');
        const refused = await second.next('refused');
        assert.equal(refused.code, RefusalCode.REFUSAL_CODE_DUPLICATE_ID);
        assert.match(
          refused.detail,
          /proxy p1 is already registered by a live instance at 127\.0\.0\.1:\d+ \(nonce one\), attended by registry r1 since 20/,
        );
        assert.equal((await second.closed).kind, 'ended');
      }
      const claim = await first.acquire('berlin', 'a1');
      assert.ok(claim.token > welcome.incarnation);
    },
  );

  test(
    `${store.name}: a restarted root proxy has a new incarnation at once, at any replica, and none of its old claims`,
    { timeout: 30_000 },
    async (t) => {
      const r1 = await world.registry(t, 'r1', await store.open(t));
      await r1.ready();
      const r2 = await world.registry(t, 'r2', sameStore(r1));
      await r2.ready();
      const watcher = await world.proxy(t, r2, 'p9', 'watcher');
      let incarnation = 0n;
      const took: number[] = [];
      for (let life = 0; life < 6; life += 1) {
        const startedAt = performance.now();
        const proxy = await world.proxy(t, life % 2 === 0 ? r1 : r2, 'p1', `life-${life}`);
        const welcome = await proxy.welcome();
        took.push(Math.round(performance.now() - startedAt));
        assert.ok(welcome.incarnation > incarnation);
        incarnation = welcome.incarnation;
        assert.deepEqual((await proxy.next('view')).claims, [], 'the claims went with the old incarnation');
        await proxy.acquire('berlin', 'a1');
        await watcher.until('its claim elsewhere', () =>
          watcher.view().claims.get('berlin/p1/0')?.incarnation === incarnation ? true : undefined,
        );
        proxy.kill();
      }
      t.diagnostic(`from dialling to welcome, ms: ${took.join(' ')}`);
    },
  );

  test(
    `${store.name}: the same instance goes on at another replica, its old stream ends`,
    { timeout: 30_000 },
    async (t) => {
      const r1 = await world.registry(t, 'r1', await store.open(t));
      await r1.ready();
      const r2 = await world.registry(t, 'r2', sameStore(r1));
      await r2.ready();
      const here = await world.proxy(t, r1, 'p1', 'one');
      const { incarnation, lease } = await here.welcome();
      const { token } = await here.acquire('berlin', 'a1', 'n1');
      const there = await world.proxy(t, r2, 'p1', 'one', { incarnation, lease });
      const welcome = await there.welcome();
      assert.deepEqual([welcome.registry, welcome.incarnation, welcome.lease], ['r2', incarnation, lease]);
      assert.equal((await there.acquire('berlin', 'a1', 'n1')).token, token, 'the claim is still ours');
      const end = await here.closed;
      assert.equal(end.kind === 'failed' && end.code, 10, JSON.stringify(end));
      assert.equal(
        here.received.some((kind) => kind.$case === 'evicted' || kind.$case === 'refused'),
        false,
      );
      const back = await world.proxy(t, r2, 'p1', 'one', { incarnation, lease });
      assert.equal((await back.welcome()).incarnation, incarnation, 'and again at the same replica');
      assert.equal((await there.closed).kind, 'failed');
    },
  );

  test(
    `${store.name}: draining is seen by everybody and survives a change of replica`,
    { timeout: 30_000 },
    async (t) => {
      const r1 = await world.registry(t, 'r1', await store.open(t));
      await r1.ready();
      const r2 = await world.registry(t, 'r2', sameStore(r1));
      await r2.ready();
      const other = await world.proxy(t, r2, 'p2', 'two');
      await other.next('view');
      const proxy = await world.proxy(t, r1, 'p1', 'one');
      const { incarnation } = await proxy.welcome();
      proxy.send({ $case: 'drain', value: {} });
      assert.equal((await proxy.next('drainResult')).recorded, true);
      const isDraining = (client: ProxyClient): true | undefined =>
        client.view().members.get('p1')?.proxy?.state === tunnel.ProxyState.PROXY_STATE_DRAINING || undefined;
      await other.until('the drain', () => isDraining(other));
      const moved = await world.proxy(t, r2, 'p1', 'one', { incarnation });
      assert.equal((await moved.welcome()).incarnation, incarnation);
      await moved.next('view');
      assert.ok(isDraining(moved));
    },
  );

  test(
    `${store.name}: when a replica is killed its root proxies go on at another without losing a claim`,
    { timeout: 40_000 },
    async (t) => {
      const settings = await store.open(t);
      // The embedded store lives in its replica: what is killed is the other one.
      const keeper = await world.registry(t, 'r1', settings);
      await keeper.ready();
      const victim = await world.registry(t, 'r2', sameStore(keeper));
      await victim.ready();
      const proxy = await world.proxy(t, victim, 'p1', 'one');
      const { incarnation } = await proxy.welcome();
      const { token } = await proxy.acquire('berlin', 'a1', 'n1');
      await victim.kill();
      await proxy.closed;
      const startedAt = performance.now();
      const moved = await world.proxy(t, keeper, 'p1', 'one', { incarnation });
      assert.equal((await moved.welcome()).incarnation, incarnation);
      t.diagnostic(`welcomed again after ${Math.round(performance.now() - startedAt)} ms`);
      const view = await moved.next('view');
      assert.deepEqual(
        view.claims.map((claim) => [claim.leaf, claim.token]),
        [['berlin', token]],
      );
      assert.equal((await moved.release('berlin', token)).code, ReleaseCode.RELEASE_CODE_DONE);
    },
  );
}

test(
  'a registry that shuts down sends its root proxies elsewhere and leaves their leases to live',
  { timeout: 30_000 },
  async (t) => {
    const r1 = await world.registry(t, 'r1', await etcdStore(t));
    await r1.ready();
    const r2 = await world.registry(t, 'r2', sameStore(r1));
    await r2.ready();
    const proxy = await world.proxy(t, r1, 'p1', 'one');
    const { incarnation } = await proxy.welcome();
    const { token } = await proxy.acquire('berlin', 'a1', 'n1');
    const stopped = r1.stop();
    const refused = await proxy.next('refused');
    assert.deepEqual(
      [refused.code, refused.detail],
      [RefusalCode.REFUSAL_CODE_SHUTDOWN, 'registry r1 is shutting down; go to another'],
    );
    assert.equal((await proxy.closed).kind, 'ended');
    const moved = await world.proxy(t, r2, 'p1', 'one', { incarnation });
    assert.equal((await moved.welcome()).incarnation, incarnation);
    assert.equal((await moved.acquire('berlin', 'a1', 'n1')).token, token);
    await stopped;
  },
);

test(
  'what is malformed is refused with the field, what is not allowed with the identity',
  { timeout: 30_000 },
  async (t) => {
    const registry = await world.registry(t, 'r1', await embedded(t));
    await registry.ready();
    const cases: readonly [Partial<wire.ProxyHello>, wire.RefusalCode, RegExp][] = [
      [{ minVersion: 7, maxVersion: 9 }, RefusalCode.REFUSAL_CODE_VERSION, /speaks version 1, the proxy 7 to 9/],
      [{ proxy: 'P 1' }, RefusalCode.REFUSAL_CODE_INVALID, /proxy "P 1": a name is/],
      [{ proxy: 'p2' }, RefusalCode.REFUSAL_CODE_DENIED, /proxy p2: the certificate is for proxy p1/],
      [{ instanceNonce: '' }, RefusalCode.REFUSAL_CODE_INVALID, /instance_nonce/],
      [{ peerAddress: 'nowhere' }, RefusalCode.REFUSAL_CODE_INVALID, /peer_address "nowhere": host:port wanted/],
      [{ tunnelAddress: 'h:99999' }, RefusalCode.REFUSAL_CODE_INVALID, /tunnel_address "h:99999"/],
      [{ software: 'x\n{"level":"fatal"}' }, RefusalCode.REFUSAL_CODE_INVALID, /software: at most 128 printable/],
      [{ newestStamp: { epoch: 2n ** 60n, revision: 1n } }, RefusalCode.REFUSAL_CODE_INVALID, /newest_stamp/],
    ];
    for (const [hello, code, detail] of cases) {
      const proxy = await world.proxy(t, registry, 'p1', 'one', hello);
      const refused = await proxy.next('refused');
      assert.equal(refused.code, code, refused.detail);
      assert.match(refused.detail, detail);
      assert.equal((await proxy.closed).kind, 'ended');
    }
    const early = await world.proxy(t, registry, 'p1', 'one', { proxy: 'p1' });
    early.send({ $case: 'hello', value: { ...wire.ProxyHello.fromPartial({}), proxy: 'p1' } });
    assert.match((await early.next('refused')).detail, /a second hello/);
    const proxy = await world.proxy(t, registry, 'p1', 'three');
    await proxy.welcome();
    proxy.send({ $case: 'acquire', value: { request: 1n, leaf: '../p2', slot: 0, agent: 'a', nonce: 'n' } });
    assert.match((await proxy.next('refused')).detail, /acquire: leaf "\.\.\/p2" is not a name/);
  },
);

test('A3: agents, users and other registries have no session', { timeout: 30_000 }, async (t) => {
  const registry = await world.registry(t, 'r1', await embedded(t));
  await registry.ready();
  for (const identity of [
    { kind: 'agent', leaf: 'berlin', agent: 'a1' },
    { kind: 'user', user: 'eve' },
    { kind: 'registry', registry: 'r2' },
  ] as const) {
    const client = await world.client(t, registry, identity);
    const refused = await client.next('refused');
    assert.equal(refused.code, RefusalCode.REFUSAL_CODE_DENIED);
    assert.match(refused.detail, new RegExp(`${identity.kind} .* may not call .*Session: it is for root proxies`));
  }
  assert.equal(registry.status().members, 0);
});
