import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { afterEach, beforeEach, test } from 'node:test';
import type { TestContext } from 'node:test';
import type { RunningAgent } from '@xylem/leaf-agent';
import { Administrator } from './testing/administrator.ts';
import { claimedBy, connectThrough, eventually, World } from './testing/world.ts';

/** A root proxy that was revoked and goes on as if it were not: what its agents learn from the others. */

/** The promise is 5 s (docs/GUARANTEES.md); it takes one message to each agent. */
const DROPPED_WITHIN_MS = 5_000;

let world: World;
let admin: Administrator;

beforeEach(async () => {
  world = await World.create();
  admin = await Administrator.of(world);
  await world.echoNode('web');
});
afterEach(async () => {
  admin.close();
  await world.close();
});

/** The registry as one root proxy reaches it, until nothing comes through any more. */
async function separable(t: TestContext): Promise<{ readonly port: number; separate(): void }> {
  const sockets = new Set<Socket>();
  let separate = false;
  const server = createServer((near) => {
    const far = connect(world.registryPort, '127.0.0.1');
    for (const socket of [near, far]) sockets.add(socket.on('error', () => undefined));
    if (separate) return;
    near.pipe(far).pipe(near);
  });
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  return {
    port: address.port,
    separate() {
      separate = true;
      for (const socket of sockets) socket.unpipe().pause();
    },
  };
}

function holds(agent: RunningAgent, proxy: string): boolean {
  return agent.status().entries.some((entry) => entry.proxy === proxy && entry.state === 'claimed');
}

test('an agent drops a revoked root proxy that does not say so, because the others do', async (t) => {
  const way = await separable(t);
  const p1 = await world.proxy('p1', { registryPort: way.port });
  const p2 = await world.proxy('p2');
  const agent = await world.agent('berlin', 'a1');
  await eventually('both have a claim', () => claimedBy(p1, 'a1') && claimedBy(p2, 'a1'));
  await eventually('the agent knows', () => holds(agent, 'p1') && holds(agent, 'p2'));
  const before = await connectThrough(p1.ports.frontDoor, 'web.berlin:80');
  assert.match(before.head, /^HTTP\/1.1 200/);
  way.separate();
  const revokedAt = await admin.revoke('proxy/p1');
  await eventually('the tunnel is gone', () => !holds(agent, 'p1'), DROPPED_WITHIN_MS);
  t.diagnostic(`dropped ${Math.round(performance.now() - revokedAt)} ms after it was revoked`);
  await eventually('for p1 as well, which never heard why', () => !claimedBy(p1, 'a1'), DROPPED_WITHIN_MS);
  const { head } = await connectThrough(p2.ports.frontDoor, 'web.berlin:80');
  assert.match(head, /^HTTP\/1.1 200/, 'the other goes on');

  // An agent that comes later is told with its welcome, and one that was told says nothing to p1 again.
  const late = await world.agent('berlin', 'a2');
  await eventually('a2 is attached to p2', () => late.status().entries.some(({ proxy }) => proxy === 'p2'));
  await eventually('a2 has tried p1', () => !holds(late, 'p1') && late.status().dialsInFlight === 0);
  assert.equal(claimedBy(p1, 'a1') || claimedBy(p1, 'a2'), false);
});

test('a root proxy that joined again after it was revoked is claimed again', async () => {
  const p1 = await world.proxy('p1');
  const p2 = await world.proxy('p2');
  const agent = await world.agent('berlin', 'a1');
  await eventually('both have a claim', () => claimedBy(p1, 'a1') && claimedBy(p2, 'a1'));
  await admin.revoke('proxy/p1');
  await eventually('the agent has dropped it', () => !holds(agent, 'p1'));
  await p1.kill();
  // Certificates count in whole seconds: only one of a later second is newer than the revocation.
  const second = (): number => Math.floor(Date.now() / 1_000);
  const revokedIn = second();
  await eventually('the next second', () => second() > revokedIn);
  const anew = await world.proxy('p1');
  await eventually('it is claimed again', () => claimedBy(anew, 'a1') && holds(agent, 'p1'), 20_000);
});
