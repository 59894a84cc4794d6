import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProxyClient } from './testing/proxy-client.ts';
import { embedded, makeWorld } from './testing/world.ts';

const world = await makeWorld();

test('a root proxy registers, claims, releases and leaves', { timeout: 20_000 }, async (t) => {
  const registry = await world.registry(t, 'r1', await embedded(t));
  await registry.ready();
  const tls = await world.tls({ kind: 'proxy', proxy: 'p1' });
  const proxy = new ProxyClient({ port: registry.port, tls, proxy: 'p1', nonce: 'one' });
  t.after(() => proxy.kill());
  const welcome = await proxy.welcome();
  assert.equal(welcome.registry, 'r1');
  const view = await proxy.next('view');
  assert.deepEqual(view.members.map((member) => [member.proxy?.id, member.proxy?.incarnation]), [['p1', welcome.incarnation]]);

  const sequence = proxy.heartbeat();
  const ack = await proxy.next('heartbeatAck', (value) => value.sequence === sequence);
  assert.ok(ack.leaseValidMs > 8_000 && ack.leaseValidMs <= 9_500, `${ack.leaseValidMs}`);

  const first = await proxy.acquire('berlin', 'a1');
  assert.ok(first.token > welcome.incarnation);
  const held = await proxy.acquire('berlin', 'a2');
  assert.equal(held.holder?.agent, 'a1');
  assert.equal((await proxy.release('berlin', first.token)).code, 1);
  assert.equal((await proxy.release('berlin', first.token)).code, 1);
  const second = await proxy.acquire('berlin', 'a2');
  assert.ok(second.token > first.token);
  await proxy.until('the claim in the view', () => proxy.view().claims.get('berlin/p1/0')?.agent === 'a2' || undefined);

  proxy.send({ $case: 'leave', value: {} });
  await proxy.next('left');
  assert.equal((await proxy.closed).kind, 'ended');
  await registry.stop();
});
