import assert from 'node:assert/strict';
import { connect as connectHttp2 } from 'node:http2';
import { after, before, test } from 'node:test';
import { FramePort } from '@xylem/carrier';
import { createChannel } from '@xylem/grpc';
import type { GrpcChannel } from '@xylem/grpc';
import type { Identity } from '@xylem/identity';
import { AccessService, carry, decodeFrame, PeerService, RawFrameMethods, tunnel, TunnelService } from '@xylem/wire';
import { DOMAIN } from './testing/credentials.ts';
import { claimedBy, eventually, World } from './testing/world.ts';
import type { WorldProxy } from './testing/world.ts';

let world: World;
let p1: WorldProxy;
let p2: WorldProxy;
const channels: GrpcChannel[] = [];

before(async () => {
  world = await World.create();
  await world.echoNode('web');
  [p1, p2] = [await world.proxy('p1'), await world.proxy('p2')];
  await world.agent('berlin', 'a1');
  await eventually('both are claimed', () => claimedBy(p1, 'a1') && claimedBy(p2, 'a1'));
  await eventually('peers know each other', () => p1.status().peers.length === 1 && p2.status().peers.length === 1);
});
after(async () => {
  for (const channel of channels) channel.close();
  await world.close();
});

async function channelTo(port: number, identity: Identity, serverName = DOMAIN): Promise<GrpcChannel> {
  const channel = createChannel({
    address: `127.0.0.1:${port}`,
    tls: await world.credentials.source(identity),
    serverName,
  });
  channels.push(channel);
  await channel.connect();
  return channel;
}

const ada = { kind: 'user', user: 'ada' } as const;

function open(node: string, user = ''): carry.Frame {
  const target = { leaf: 'berlin', node, port: 80 };
  return { kind: { $case: 'open', value: { target, hops: 0, traceparent: '', timeoutMs: 5_000, user } } };
}

async function outcomeOf(frames: FramePort): Promise<carry.Outcome> {
  const first = await frames.first(5_000);
  assert.ok(first.kind === 'frame' && first.frame.kind?.$case === 'outcome', JSON.stringify(first));
  return first.frame.kind.value;
}

test('A19: Dial carries a connection for the user of the certificate, whatever open says', async () => {
  const channel = await channelTo(p1.ports.access, ada);
  const frames = new FramePort(channel.duplex(RawFrameMethods.dial));
  frames.send(open('web', 'eve'));
  const outcome = await outcomeOf(frames);
  assert.equal(outcome.code, carry.OutcomeCode.OUTCOME_CODE_CONNECTED);
  assert.deepEqual(outcome.via, ['p1', 'a1']);
  frames.send({ kind: { $case: 'data', value: Buffer.from('hello') } });
  const echoed = await frames.first(5_000);
  assert.ok(echoed.kind === 'frame' && echoed.frame.kind?.$case === 'data');
  assert.equal(Buffer.from(echoed.frame.kind.value).toString(), 'hello');
  assert.ok(p1.log.some((line) => line.event === 'connection.opened' && line['user'] === 'ada'));
  frames.cancel('done');
});

test('Dial tells the outcome of a dial that failed, and ends', async () => {
  const channel = await channelTo(p1.ports.access, ada);
  const frames = new FramePort(channel.duplex(RawFrameMethods.dial));
  frames.send(open('none'));
  assert.equal((await outcomeOf(frames)).code, carry.OutcomeCode.OUTCOME_CODE_NO_SUCH_NODE);
  const next = await frames.first(5_000);
  assert.ok(next.kind === 'over' && next.end.orderly);
});

for (const [what, frame] of [
  ['does not begin with open', { kind: { $case: 'data', value: Buffer.from('x') } }],
  [
    'names no target',
    { kind: { $case: 'open', value: { target: undefined, hops: 0, traceparent: '', timeoutMs: 0, user: '' } } },
  ],
  [
    'names a leaf that is no name',
    {
      kind: {
        $case: 'open',
        value: { target: { leaf: 'a/b', node: 'x', port: 1 }, hops: 0, traceparent: '', timeoutMs: 0, user: '' },
      },
    },
  ],
] as const) {
  test(`Dial answers invalid to a stream that ${what}`, async () => {
    const channel = await channelTo(p1.ports.access, ada);
    const frames = new FramePort(channel.duplex(RawFrameMethods.dial));
    frames.send(frame);
    assert.equal((await outcomeOf(frames)).code, carry.OutcomeCode.OUTCOME_CODE_INVALID);
  });
}

test('GetStatus shows the matrix of all proxies, and marks those that are silent', async () => {
  const channel = await channelTo(p1.ports.access, ada);
  const status = await channel.unary(AccessService.getStatus, {}, 5_000);
  assert.equal(status.answeredBy, 'p1');
  assert.equal(status.registryConnected, true);
  assert.deepEqual(
    status.proxies.map(({ proxy, answered }) => [proxy?.id, answered]),
    [
      ['p1', true],
      ['p2', true],
    ],
  );
  for (const { tunnels } of status.proxies) {
    assert.equal(tunnels.length, 1);
    assert.deepEqual(
      [tunnels[0]?.leaf, tunnels[0]?.agent, tunnels[0]?.state, tunnels[0]?.via],
      ['berlin', 'a1', 'claimed', ''],
    );
    assert.deepEqual(
      tunnels[0]?.nodes.map(({ name, ports }) => [name, ports]),
      [['web', [80]]],
    );
  }
});

test('ListNodes merges what all proxies can reach, and keeps to the leaf cluster asked for', async () => {
  const channel = await channelTo(p2.ports.access, ada);
  const all = await channel.unary(AccessService.listNodes, { leaf: '' }, 5_000);
  assert.deepEqual(
    all.leaves.map(({ leaf, nodes }) => [leaf, nodes.map(({ name }) => name)]),
    [['berlin', ['web']]],
  );
  assert.deepEqual((await channel.unary(AccessService.listNodes, { leaf: 'paris' }, 5_000)).leaves, []);
});

test('A3: no port serves the methods of another role', async () => {
  const attempts: readonly (readonly [number, Identity, string])[] = [
    [p1.ports.access, { kind: 'agent', leaf: 'berlin', agent: 'a1' }, DOMAIN],
    [p1.ports.access, { kind: 'proxy', proxy: 'p2' }, DOMAIN],
  ];
  for (const [port, identity, name] of attempts) {
    const channel = await channelTo(port, identity, name);
    await assert.rejects(channel.unary(AccessService.getStatus, {}, 5_000), /PERMISSION_DENIED/);
  }
  const user = await channelTo(p1.ports.peer, ada, `p1.${DOMAIN}`);
  await assert.rejects(user.unary(PeerService.describe, {}, 5_000), /PERMISSION_DENIED/);
  const onWrongPort = await channelTo(p1.ports.access, { kind: 'proxy', proxy: 'p2' });
  await assert.rejects(onWrongPort.unary(PeerService.describe, {}, 5_000), /UNIMPLEMENTED/);
});

test('Forward refuses a dial that has not passed exactly one root proxy', async () => {
  const channel = await channelTo(p1.ports.peer, { kind: 'proxy', proxy: 'p2' }, `p1.${DOMAIN}`);
  const frames = new FramePort(channel.duplex(RawFrameMethods.forward));
  frames.send(open('web'));
  assert.equal((await outcomeOf(frames)).code, carry.OutcomeCode.OUTCOME_CODE_INVALID);
});

test('users who hang up at another root proxy do not end what its other users have', async () => {
  const channel = await channelTo(p1.ports.peer, { kind: 'proxy', proxy: 'p2' }, `p1.${DOMAIN}`);
  const forward = (node: string): FramePort => {
    const frames = new FramePort(channel.duplex(RawFrameMethods.forward));
    const target = { leaf: 'berlin', node, port: 80 };
    frames.send({ kind: { $case: 'open', value: { target, hops: 1, traceparent: '', timeoutMs: 5_000, user: '' } } });
    return frames;
  };
  const kept = forward('web');
  await outcomeOf(kept);
  // Twice what ends the connection of an agent or a user.
  for (let resets = 0; resets < 2_000 && kept.over === undefined; resets += 50) {
    const calls = Array.from({ length: 50 }, () => channel.duplex(RawFrameMethods.forward));
    await new Promise((resolve) => setTimeout(resolve, 2));
    for (const call of calls) call.cancel();
  }
  await outcomeOf(forward('web'));
  assert.equal(kept.over, undefined);
  kept.cancel('done');
});

test('A7: a malformed frame on Dial is answered, and the next dial works', async () => {
  const channel = await channelTo(p1.ports.access, ada);
  const stream = channel.duplex(RawFrameMethods.dial);
  const answer = new Promise<Buffer>((resolve) => stream.once('data', resolve));
  stream.write(Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]));
  const { kind } = decodeFrame(await answer);
  assert.ok(kind?.$case === 'outcome' && kind.value.code === carry.OutcomeCode.OUTCOME_CODE_INVALID);
});

test('many streams on one connection get small windows, so that stopped users hold a bounded part of the memory', async () => {
  const session = connectHttp2(`https://127.0.0.1:${p1.ports.access}`, {
    ...(await world.credentials.material(ada)),
    servername: DOMAIN,
  });
  session.on('error', () => undefined);
  const headers = { ':method': 'POST', 'content-type': 'application/grpc', te: 'trailers' };
  for (let opened = 0; opened < 64; opened += 1) {
    const stream = session.request({ ...headers, ':path': RawFrameMethods.dial.path }, { endStream: false });
    stream.on('error', () => undefined);
  }
  // 64 of them fit the budget of a connection (libs/grpc/src/stream-windows.ts).
  await eventually('the window is 256 KiB', () => session.remoteSettings?.initialWindowSize === 256 * 1_024);
  session.destroy();
});

test('a dial that the agent of a peer leaves unanswered is timed out, and its peer is not lost', async () => {
  const agent = await channelTo(p2.ports.tunnel, { kind: 'agent', leaf: 'silent', agent: 'a1' }, `p2.${DOMAIN}`);
  const control = agent.stream(TunnelService.attach);
  const hello = { leaf: 'silent', agent: 'a1', minVersion: 1, maxVersion: 1, instanceNonce: 'n', tunnelId: 't' };
  const nodes = [{ name: 'web', ports: [80] }];
  control.send({ kind: { $case: 'hello', value: tunnel.AgentHello.fromPartial({ ...hello, nodes }) } });
  await eventually('the claim is recorded', () => claimedBySilent());
  const channel = await channelTo(p1.ports.access, ada);
  const dial = (): FramePort => {
    const frames = new FramePort(channel.duplex(RawFrameMethods.dial));
    const target = { leaf: 'silent', node: 'web', port: 80 };
    const value = { target, hops: 0, traceparent: '', timeoutMs: 1_000, user: '' };
    frames.send({ kind: { $case: 'open', value } });
    return frames;
  };
  let outcome = await outcomeOf(dial());
  // The first proxy hears of the claim a little later.
  while (outcome.code === carry.OutcomeCode.OUTCOME_CODE_NO_SUCH_LEAF) outcome = await outcomeOf(dial());
  assert.equal(outcome.code, carry.OutcomeCode.OUTCOME_CODE_TIMED_OUT, outcome.detail);
});

function claimedBySilent(): boolean {
  return p2.status().root.tunnels.some(({ leaf, state }) => leaf === 'silent' && state === 'claimed');
}
