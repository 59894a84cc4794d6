import assert from 'node:assert/strict';
import { test } from 'node:test';
import { registry as wire } from '@xylem/wire';
import { embedded, makeWorld } from './testing/world.ts';

/** What a root proxy with a certificate of its own can do to the claims and the name of another. */

const world = await makeWorld();
const { AcquireCode, RefusalCode, ReleaseCode } = wire;
const LIMIT = { timeout: 30_000 };

test('A16: a release that is sent again late, or by another root proxy, frees nobody else', LIMIT, async (t) => {
  const registry = await world.registry(t, 'r1', await embedded(t));
  await registry.ready();
  const p1 = await world.proxy(t, registry, 'p1', 'one');
  const p2 = await world.proxy(t, registry, 'p2', 'two');
  await Promise.all([p1.welcome(), p2.welcome()]);
  const old = await p1.acquire('berlin', 'a1', 'n1');
  assert.equal((await p1.release('berlin', old.token)).code, ReleaseCode.RELEASE_CODE_DONE);
  const held = await p1.acquire('berlin', 'a2', 'n2');
  assert.equal(held.code, AcquireCode.ACQUIRE_CODE_GRANTED);
  for (const token of [old.token, held.token]) await p2.release('berlin', token);
  await p1.release('berlin', old.token);
  const again = await p1.acquire('berlin', 'a3', 'n3');
  assert.deepEqual(
    [again.code, again.holder?.agent, again.holder?.token],
    [AcquireCode.ACQUIRE_CODE_HELD, 'a2', held.token],
  );
});

test(
  'A16: a claim of one root proxy is none of another, with the very same leaf cluster, agent and nonce',
  LIMIT,
  async (t) => {
    const registry = await world.registry(t, 'r1', await embedded(t));
    await registry.ready();
    const p1 = await world.proxy(t, registry, 'p1', 'one');
    const p2 = await world.proxy(t, registry, 'p2', 'two');
    await Promise.all([p1.welcome(), p2.welcome()]);
    const own = await p1.acquire('berlin', 'a1', 'n1');
    const copied = await p2.acquire('berlin', 'a1', 'n1');
    assert.ok(copied.token > own.token, 'a claim on p2, with a token of its own');
    await p2.release('berlin', copied.token);
    assert.equal((await p1.acquire('berlin', 'a2', 'n2')).holder?.token, own.token);
  },
);

test('A3: a root proxy registers under the name in its certificate only', LIMIT, async (t) => {
  const registry = await world.registry(t, 'r1', await embedded(t));
  await registry.ready();
  const p1 = await world.proxy(t, registry, 'p1', 'one');
  await p1.welcome();
  const impostor = await world.proxy(t, registry, 'p2', 'two', { proxy: 'p1' });
  const refused = await impostor.next('refused');
  assert.equal(refused.code, RefusalCode.REFUSAL_CODE_DENIED);
  const sequence = p1.heartbeat();
  await p1.next('heartbeatAck', (ack) => ack.sequence === sequence && ack.leaseValidMs > 0);
});
