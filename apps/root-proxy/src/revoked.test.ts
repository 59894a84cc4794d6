import assert from 'node:assert/strict';
import { once } from 'node:events';
import { afterEach, beforeEach, test } from 'node:test';
import type { TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { FramePort } from '@xylem/carrier';
import { createChannel } from '@xylem/grpc';
import type { GrpcChannel } from '@xylem/grpc';
import { memoryTlsSource } from '@xylem/identity';
import type { TlsMaterial } from '@xylem/identity';
import { AccessService, carry, RawFrameMethods } from '@xylem/wire';
import { Administrator } from './testing/administrator.ts';
import { DOMAIN } from './testing/credentials.ts';
import { connectWithCertificate } from './testing/tls-door.ts';
import { claimedBy, connectThrough, eventually, World } from './testing/world.ts';
import type { WorldProxy } from './testing/world.ts';

/** What an administrator's word at the registry does at root proxies. */

/** docs/ARCHITECTURE.md says a second for the way there; the rest is for last words on a machine that does other things as well. */
const CUT_WITHIN_MS = 3_000;

let world: World;
/** Issued before anything is revoked; one issued later counts again. */
let ada: TlsMaterial;
let admin: Administrator;
let p1: WorldProxy;

beforeEach(async () => {
  world = await World.create();
  admin = await Administrator.of(world);
  ada = await user('ada');
  await world.echoNode('web');
  p1 = await world.proxy('p1');
});
afterEach(async () => {
  admin.close();
  await world.close();
});

function audited(proxy: WorldProxy, kind: string): Promise<Readonly<Record<string, unknown>>> {
  return eventually(`audit line ${kind}`, () => proxy.log.find((line) => line['kind'] === kind));
}

function user(name: string): Promise<TlsMaterial> {
  return world.credentials.material({ kind: 'user', user: name });
}

async function accessTo(t: TestContext, proxy: WorldProxy, material: TlsMaterial): Promise<GrpcChannel> {
  const tls = memoryTlsSource(material);
  const channel = createChannel({ address: `127.0.0.1:${proxy.ports.access}`, tls, serverName: DOMAIN });
  t.after(() => channel.close());
  await channel.connect();
  return channel;
}

test("A21: a revoked agent's tunnel is cut at once and refused from then on, another agent's goes on", async () => {
  await world.agent('berlin', 'a1');
  await world.agent('paris', 'b1');
  await eventually('both have claims', () => claimedBy(p1, 'a1') && claimedBy(p1, 'b1'));
  const lost = await connectThrough(p1.ports.frontDoor, 'web.berlin:80');
  const kept = await connectThrough(p1.ports.frontDoor, 'web.paris:80');
  const reset = once(lost.client.socket, 'error', { signal: AbortSignal.timeout(5_000) });
  const at = await admin.revoke('leaf/berlin/agent/a1');
  await eventually('the tunnel is gone', () => !claimedBy(p1, 'a1'));
  assert.equal((await reset)[0].code, 'ECONNRESET');
  const tookMs = performance.now() - at;
  assert.ok(tookMs < CUT_WITHIN_MS, `${tookMs} ms`);
  const cut = await audited(p1, 'identity.cut');
  assert.equal(cut['subject'], 'leaf/berlin/agent/a1');
  const denied = await audited(p1, 'request.denied');
  assert.equal(denied['actor'], 'leaf/berlin/agent/a1');
  kept.client.say('still here');
  await kept.client.hears('still here');
  assert.equal(claimedBy(p1, 'a1'), false);
  assert.equal(claimedBy(p1, 'b1'), true);
});

test("A21: a revoked user's connections are reset however they came in, and new ones denied with the reason", async (t) => {
  await world.agent('berlin', 'a1');
  await eventually('p1 is claimed', () => claimedBy(p1, 'a1'));
  const channel = await accessTo(t, p1, ada);
  const frames = new FramePort(channel.duplex(RawFrameMethods.dial));
  const target = { leaf: 'berlin', node: 'web', port: 80 };
  const open = { target, hops: 0, traceparent: '', timeoutMs: 5_000, user: '' };
  frames.send({ kind: { $case: 'open', value: open } });
  const first = await frames.first(5_000);
  assert.ok(first.kind === 'frame' && first.frame.kind?.$case === 'outcome');
  assert.equal(first.frame.kind.value.code, carry.OutcomeCode.OUTCOME_CODE_CONNECTED);
  const door = await connectWithCertificate(t, p1, ada);
  assert.match(door.head, /^HTTP\/1\.1 200 /);
  const gone = new Promise((resolve) => void door.client.socket.once('close', resolve));
  const at = await admin.revoke('user/ada');
  await channel.lost;
  await gone;
  const tookMs = performance.now() - at;
  assert.ok(tookMs < CUT_WITHIN_MS, `${tookMs} ms`);
  await eventually('nothing is open', () => p1.status().dials.openConnections === 0);
  assert.match((await connectWithCertificate(t, p1, ada)).head, /^HTTP\/1\.1 403 /);
  const again = await accessTo(t, p1, ada);
  await assert.rejects(again.unary(AccessService.getStatus, {}, 2_000), {
    code: 7,
    detail: 'user/ada was revoked: key lost',
  });
  assert.match((await connectWithCertificate(t, p1, await user('eve'))).head, /^HTTP\/1\.1 200 /);
});

test('a certificate issued after the revocation counts again', async (t) => {
  const before = await accessTo(t, p1, ada);
  await admin.revoke('user/ada');
  await before.lost;
  // Certificates count in whole seconds.
  await sleep(1_100);
  const after = await accessTo(t, p1, await user('ada'));
  await after.unary(AccessService.getStatus, {}, 2_000);
});

test('what was told last holds while no registry answers', async (t) => {
  await eventually('p1 is registered', () => p1.status().registry.state === 'connected');
  const before = await accessTo(t, p1, ada);
  await admin.revoke('user/ada');
  await before.lost;
  await world.registry?.kill();
  await eventually('p1 has no registry', () => p1.status().registry.state !== 'connected');
  const again = await accessTo(t, p1, ada);
  await assert.rejects(again.unary(AccessService.getStatus, {}, 2_000), { code: 7 });
});

test('a revoked root proxy is cut off by its peers, in both directions', async () => {
  const p2 = await world.proxy('p2');
  const connected = ({ log }: WorldProxy, to: string): boolean =>
    log.some(({ event, proxy }) => event === 'peer.connected' && proxy === to);
  await eventually('peers are connected', () => connected(p1, 'p2') && connected(p2, 'p1'));
  const before = p1.log.length;
  await admin.revoke('proxy/p2');
  await eventually('p2 has lost p1', () => p2.log.some(({ event, proxy }) => event === 'peer.lost' && proxy === 'p1'));
  await eventually('p1 uses p2 no more', () =>
    p1.log.some(({ event, proxy }) => event === 'peer.lost' && proxy === 'p2'),
  );
  await audited(p1, 'request.denied');
  assert.equal(
    p1.log.slice(before).some(({ event }) => event === 'peer.connected'),
    false,
    'p1 does not come back to p2',
  );
});

test('a revoked registry is believed no more, and serves no session', async () => {
  await eventually('p1 is registered', () => p1.status().registry.state === 'connected');
  await admin.revoke('registry/r1');
  const ended = await eventually('the session is over', () =>
    p1.log.find(({ event, detail }) => event === 'session.closed' && String(detail).includes('revoked')),
  );
  assert.match(String(ended['detail']), /its certificate was revoked/);
  assert.notEqual(p1.status().registry.state, 'connected');
});
