import assert from 'node:assert/strict';
import { connect } from 'node:tls';
import { once } from 'node:events';
import { after, afterEach, before, describe, test } from 'node:test';
import { FramePort } from '@xylem/carrier';
import { createChannel } from '@xylem/grpc';
import type { GrpcChannel } from '@xylem/grpc';
import type { Identity } from '@xylem/identity';
import { AccessService, AdminService, carry, RawFrameMethods } from '@xylem/wire';
import { firstOnly } from './testing/balancer.ts';
import { DOMAIN } from './testing/credentials.ts';
import { RawClient } from './testing/raw-client.ts';
import { ANONYMOUS_PROOF, certificateProof } from './security/proof.ts';
import { claimedBy, connectThrough, eventually, World } from './testing/world.ts';
import type { WorldProxy } from './testing/world.ts';

/** Who may dial what, at real root proxies with a real registry and a real agent (S8, S9, A21). */

const POLICY = `
groups:
  dba: [alice]
admins: [root]
rules:
  - { name: databases, allow: ['group:dba'], leaves: [berlin], nodes: ['db:80'] }
  - { name: web, allow: [everyone], leaves: ['*'], nodes: ['web'] }
  - { name: never-the-vault, deny: [everyone, anonymous], leaves: ['*'], nodes: [vault] }
`;
const ALICE: Identity = { kind: 'user', user: 'alice' };
const BOB: Identity = { kind: 'user', user: 'bob' };
const { OutcomeCode } = carry;

let world: World;
let p1: WorldProxy;
let p2: WorldProxy;
let version = 1;
const channels: GrpcChannel[] = [];

async function channelTo(port: number, identity: Identity, serverName = DOMAIN): Promise<GrpcChannel> {
  const tls = await world.credentials.source(identity);
  const channel = createChannel({ address: `127.0.0.1:${port}`, tls, serverName });
  channels.push(channel);
  await channel.connect();
  return channel;
}

/** CONNECT with a user's certificate. */
async function connectAs(identity: Identity, proxy: WorldProxy, authority: string) {
  const { ca, cert, key } = await world.credentials.material(identity);
  const socket = connect({ port: proxy.ports.frontDoor, host: '127.0.0.1', ca, cert, key, servername: DOMAIN });
  await once(socket, 'secureConnect');
  const client = new RawClient(socket);
  client.say(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  return { client, head: await client.hears('\r\n\r\n', 10_000) };
}

async function setPolicy(yaml: string): Promise<void> {
  const admin = await channelTo(world.registryPort, { kind: 'user', user: 'admin@r1' }, `registry.${DOMAIN}`);
  const request = { yaml, expectedVersion: BigInt(version), checkOnly: false };
  const answer = await admin.unary(AdminService.setPolicy, request, 5_000);
  assert.deepEqual(answer.problems, []);
  version = Number(answer.version);
}

async function outcomeOf(frames: FramePort): Promise<carry.Outcome> {
  const first = await frames.first(5_000);
  assert.ok(first.kind === 'frame' && first.frame.kind?.$case === 'outcome', JSON.stringify(first));
  return first.frame.kind.value;
}

before(async () => {
  world = await World.create(firstOnly, POLICY);
  for (const node of ['web', 'db', 'vault']) await world.echoNode(node);
  [p1, p2] = [await world.proxy('p1'), await world.proxy('p2')];
  // Only p1 gets a tunnel: what comes to p2 is forwarded.
  await world.agent('berlin', 'a1', {}, 'off');
  await eventually('p1 is claimed', () => claimedBy(p1, 'a1'));
  await eventually('p2 knows of it', () => p2.status().dials.knownLeaves > 0 && (p2.status().policyVersion ?? 0) > 0);
});
afterEach(() => {
  for (const channel of channels.splice(0)) channel.close();
});
after(() => world.close());

describe('a dial', { timeout: 60_000 }, () => {
  test('goes where the policy allows, at once and over one hop', async () => {
    for (const proxy of [p1, p2]) {
      assert.match((await connectAs(ALICE, proxy, 'db.berlin:80')).head, /^HTTP\/1\.1 200 /);
      assert.match((await connectAs(BOB, proxy, 'web.berlin:80')).head, /^HTTP\/1\.1 200 /);
    }
  });

  test('is denied otherwise, with the rule that denies, and nothing about what others may do', async () => {
    for (const proxy of [p1, p2]) {
      const { client, head } = await connectAs(BOB, proxy, 'db.berlin:80');
      assert.match(head, /^HTTP\/1\.1 403 .*Xylem-Outcome: denied\r\n/s);
      const body = await client.closes();
      assert.match(body, /no rule of the policy allows db\.berlin:80 to bob/);
      assert.doesNotMatch(body, /dba|alice|databases/);
      assert.match(await (await connectAs(ALICE, proxy, 'vault.berlin:80')).client.closes(), /rule never-the-vault/);
    }
  });

  test('is denied alike whether there is such a node, leaf cluster or none', async () => {
    const texts: string[] = [];
    for (const target of ['db.berlin:80', 'none.berlin:80', 'db.nowhere:80']) {
      const { client, head } = await connectAs(BOB, p1, target);
      assert.match(head, /^HTTP\/1\.1 403 /);
      texts.push((await client.closes()).replaceAll(target, 'TARGET').replace(/Content-Length: \d+/, ''));
    }
    assert.equal(new Set(texts).size, 1);
  });

  test('of nobody in particular is allowed what the policy allows to anonymous: nothing', async () => {
    const { head } = await connectThrough(p1.ports.frontDoor, 'web.berlin:80');
    assert.match(head, /^HTTP\/1\.1 403 /);
  });

  test('A26: a dial that a peer forwards is that of the proof which came along, not of the name', async () => {
    const peer = await channelTo(p1.ports.peer, { kind: 'proxy', proxy: 'p2' }, `p1.${DOMAIN}`);
    const bobs = certificateProof(await world.credentials.chain(BOB), '');
    const ask = async (user: string, proof: carry.UserProof | undefined): Promise<carry.Outcome> => {
      const frames = new FramePort(peer.duplex(RawFrameMethods.forward));
      const target = { leaf: 'berlin', node: 'db', port: 80 };
      frames.send({
        kind: { $case: 'open', value: { target, hops: 1, traceparent: '', timeoutMs: 5_000, user, proof } },
      });
      const outcome = await outcomeOf(frames);
      frames.cancel('done');
      return outcome;
    };
    const alices = certificateProof(await world.credentials.chain(ALICE), '');
    assert.equal((await ask('alice', alices)).code, OutcomeCode.OUTCOME_CODE_CONNECTED);
    for (const [user, proof] of [
      ['alice', bobs],
      ['alice', ANONYMOUS_PROOF],
      ['alice', certificateProof([Buffer.from('no certificate')], '')],
      ['alice', { kind: { $case: 'accessToken', value: 'no token' } }],
      ['alice', { kind: undefined }],
    ] as const) {
      assert.equal((await ask(user, proof)).code, OutcomeCode.OUTCOME_CODE_DENIED, JSON.stringify(proof));
    }
    assert.equal((await ask('alice', undefined)).code, OutcomeCode.OUTCOME_CODE_INVALID);
    const agents = certificateProof(await world.credentials.chain({ kind: 'agent', leaf: 'berlin', agent: 'a1' }), '');
    assert.match((await ask('a1', agents)).detail, /only users dial|no rule/);
  });
});

test('lists and status show the nodes that a user may dial, and all of them to administrators', async () => {
  const nodesOf = async (identity: Identity): Promise<readonly string[]> => {
    const channel = await channelTo(p2.ports.access, identity);
    const { leaves } = await channel.unary(AccessService.listNodes, { leaf: '' }, 5_000);
    const { proxies } = await channel.unary(AccessService.getStatus, {}, 5_000);
    const shown = proxies.flatMap(({ tunnels }) => tunnels.flatMap(({ nodes }) => nodes.map(({ name }) => name)));
    const listed = leaves.flatMap(({ nodes }) => nodes.map(({ name }) => name));
    assert.deepEqual(shown.toSorted(), listed.toSorted());
    return listed;
  };
  assert.deepEqual(await nodesOf(ALICE), ['db', 'web']);
  assert.deepEqual(await nodesOf(BOB), ['web']);
  assert.deepEqual(await nodesOf({ kind: 'user', user: 'root' }), ['db', 'vault', 'web']);
});

describe('a policy that becomes tighter', { timeout: 60_000 }, () => {
  afterEach(() => setPolicy(POLICY));

  test('A21: a tighter policy refuses the next dial within two seconds, and cuts what is open within five, at both ends of a hop', async () => {
    const open = await Promise.all([p1, p2].map((proxy) => connectAs(ALICE, proxy, 'db.berlin:80')));
    const kept = await connectAs(ALICE, p1, 'web.berlin:80');
    for (const { head } of open) assert.match(head, /^HTTP\/1\.1 200 /);
    const began = performance.now();
    await setPolicy(POLICY.replace('dba: [alice]', 'dba: [carol]'));
    await Promise.all(open.map(({ client }) => client.closes()));
    const cutMs = performance.now() - began;
    assert.match((await connectAs(ALICE, p1, 'db.berlin:80')).head, /^HTTP\/1\.1 403 /);
    assert.match((await connectAs(ALICE, p2, 'db.berlin:80')).head, /^HTTP\/1\.1 403 /);
    assert.ok(cutMs < 2_000, `${cutMs} ms`);
    kept.client.say('still here');
    await kept.client.hears('still here');
  });

  test('leaves open connections alone where it says so', async () => {
    const open = await connectAs(ALICE, p1, 'db.berlin:80');
    await setPolicy(`cutOpenConnections: false\n${POLICY.replace('dba: [alice]', 'dba: [carol]')}`);
    await eventually('p1 knows', () => p1.status().policyVersion === version);
    assert.match((await connectAs(ALICE, p1, 'db.berlin:80')).head, /^HTTP\/1\.1 403 /);
    open.client.say('still here');
    await open.client.hears('still here');
  });
});

describe('without a registry', { timeout: 60_000 }, () => {
  test('dials go on by the standing grant, and are denied as before', async () => {
    const admitted = await connectAs(ALICE, p1, 'db.berlin:80');
    assert.match(admitted.head, /^HTTP\/1\.1 200 /);
    await world.registry?.kill();
    await eventually('the loss is noticed', () => [p1, p2].every((p) => p.status().registry.state !== 'connected'));
    for (const proxy of [p1, p2]) {
      assert.match((await connectAs(ALICE, proxy, 'db.berlin:80')).head, /^HTTP\/1\.1 200 /);
      assert.match((await connectAs(BOB, proxy, 'db.berlin:80')).head, /^HTTP\/1\.1 403 /);
    }
    admitted.client.say('still here');
    await admitted.client.hears('still here');
    await world.startRegistry();
    await eventually('a session is back', () => p1.status().registry.state === 'connected');
    admitted.client.say('and here');
    await admitted.client.hears('and here');
    assert.match((await connectAs(ALICE, p1, 'db.berlin:80')).head, /^HTTP\/1\.1 200 /);
  });
});
