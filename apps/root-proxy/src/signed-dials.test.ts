import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { TestContext } from 'node:test';
import { FramePort } from '@xylem/carrier';
import { createChannel } from '@xylem/grpc';
import { memoryTlsSource, signDial } from '@xylem/identity';
import type { TlsMaterial } from '@xylem/identity';
import { carry, RawFrameMethods } from '@xylem/wire';
import { firstOnly } from './testing/balancer.ts';
import { DOMAIN } from './testing/credentials.ts';
import { connectWithCertificate } from './testing/tls-door.ts';
import { claimedBy, eventually, World } from './testing/world.ts';
import type { WorldProxy } from './testing/world.ts';

/** `grants.requireSigned`: a root proxy that a user once came to gets nothing in the user's name by that alone. */

const { OutcomeCode } = carry;
const POLICY = "rules: [{ name: all, allow: [everyone], leaves: ['*'], nodes: ['*'] }]";
const WEB = { leaf: 'berlin', node: 'web', port: 80 };

describe('where dials have to be signed', { timeout: 60_000 }, () => {
  let world: World;
  let alice: TlsMaterial;
  let p1: WorldProxy;
  let p2: WorldProxy;

  before(async () => {
    world = await World.create(firstOnly, POLICY, true);
    for (const node of ['web', 'db']) await world.echoNode(node);
    [p1, p2] = [await world.proxy('p1'), await world.proxy('p2')];
    // Only p1 gets a tunnel: what comes to p2 is forwarded.
    await world.agent('berlin', 'a1', {}, 'off');
    await eventually('p1 is claimed', () => claimedBy(p1, 'a1'));
    await eventually('p2 knows of it', () => p2.status().dials.knownLeaves > 0 && (p2.status().policyVersion ?? 0) > 0);
    alice = await world.credentials.material({ kind: 'user', user: 'alice' });
  });
  after(() => world.close());

  async function dial(t: TestContext, proxy: WorldProxy, signed: string): Promise<carry.Outcome> {
    const address = `127.0.0.1:${proxy.ports.access}`;
    const channel = createChannel({ address, tls: memoryTlsSource(alice), serverName: DOMAIN });
    t.after(() => channel.close());
    await channel.connect();
    const frames = new FramePort(channel.duplex(RawFrameMethods.dial));
    const proof = { kind: { $case: 'certificate' as const, value: { certificates: [], signed } } };
    const open = { target: WEB, hops: 0, traceparent: '', timeoutMs: 5_000, user: '', proof };
    frames.send({ kind: { $case: 'open', value: open } });
    const first = await frames.first(5_000);
    assert.ok(first.kind === 'frame' && first.frame.kind?.$case === 'outcome', JSON.stringify(first));
    return first.frame.kind.value;
  }

  test('one that the user signed for goes through, at once and over one hop', async (t) => {
    for (const proxy of [p1, p2]) {
      const outcome = await dial(t, proxy, signDial(alice, DOMAIN, { ...WEB, entry: proxy.id }));
      assert.equal(outcome.code, OutcomeCode.OUTCOME_CODE_CONNECTED, outcome.detail);
    }
  });

  test('one that was signed for another root proxy or another node is denied', async (t) => {
    for (const dialled of [
      { ...WEB, entry: 'p1' },
      { ...WEB, node: 'db', entry: 'p2' },
    ]) {
      const { code, detail } = await dial(t, p2, signDial(alice, DOMAIN, dialled));
      assert.equal(code, OutcomeCode.OUTCOME_CODE_DENIED);
      assert.match(detail, /for another (root proxy|dial)/);
    }
  });

  test('the public certificate alone is denied, with what to use instead', async (t) => {
    assert.match((await dial(t, p1, '')).detail, /has not signed for this dial.*use xylem connect, forward or ssh/);
    const { client, head } = await connectWithCertificate(t, p1, alice);
    assert.match(head, /^HTTP\/1\.1 403 /);
    assert.match(await client.closes(), /only signed dials are taken here/);
  });
});
