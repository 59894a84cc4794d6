import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { refuse, sendOutcome } from '@xylem/carrier';
import type { FramePort } from '@xylem/carrier';
import { PROBE_NODE } from '@xylem/wire';
import { ScriptedAgent } from './testing/scripted-agent.ts';
import { claimedBy, connectThrough, eventually, World } from './testing/world.ts';
import type { WorldProxy } from './testing/world.ts';

/** Agents that hold a claim, answer every PING, and do not serve: black holes for the users of one root proxy. */

const SERVING = { intervalMs: 200, timeoutMs: 200, retryMs: 50, failures: 3 };

let world: World;
let p1: WorldProxy;

beforeEach(async () => {
  world = await World.create();
  await world.echoNode('web');
  p1 = await world.proxy('p1', { overrides: { serving: SERVING } });
});
afterEach(() => world.close());

/** What an agent does with each probe. */
type Manner = (agent: ScriptedAgent, connection: string) => void;

/** Answers probes in its manner until the tunnel is over. */
async function behave(agent: ScriptedAgent, manner: Manner): Promise<void> {
  for (;;) {
    const request = await agent.hears('dialRequest').catch(() => undefined);
    if (request === undefined) return;
    if (request.value.target?.node === PROBE_NODE) manner(agent, request.value.connection);
  }
}

function swallowed(frames: FramePort): void {
  frames.listen({ frame: () => undefined, writable: () => undefined, over: () => undefined });
}

const holder = (): string | undefined =>
  p1.status().root.tunnels.find(({ state }) => state === 'claimed' || state === 'provisional')?.agent;

const revoked = (): boolean => p1.log.some(({ event, agent }) => event === 'claim.unserved' && agent === 'a1');

const BLACK_HOLES: readonly (readonly [string, Manner])[] = [
  ['opens nothing', () => undefined],
  ['opens a stream and says nothing', (agent, connection) => swallowed(agent.carry(connection))],
  [
    'says connected and carries nothing',
    (agent, connection) => {
      const frames = agent.carry(connection);
      sendOutcome(frames, 'connected', '', []);
      swallowed(frames);
    },
  ],
  [
    'sends back something else',
    (agent, connection) => {
      const frames = agent.carry(connection);
      sendOutcome(frames, 'connected', '', []);
      frames.send({ kind: { $case: 'data', value: Buffer.alloc(32) } });
      swallowed(frames);
    },
  ],
  ['ends each stream at once', (agent, connection) => agent.carry(connection).cancel('no')],
];

for (const [what, manner] of BLACK_HOLES) {
  test(`A14: a holder that ${what} loses its claim to who stands by, and is kept away`, async () => {
    const blackHole = await ScriptedAgent.attach(world, p1, 'berlin', 'a1');
    void behave(blackHole, manner);
    await world.agent('berlin', 'a2');
    await eventually('another agent holds the claim', () => holder() === 'a2');
    assert.ok(revoked());
    const { client, head } = await connectThrough(p1.ports.frontDoor, 'web.berlin:80');
    assert.match(head, / 200 /);
    client.socket.destroy();
    blackHole.channel.close();
    await assert.rejects(ScriptedAgent.attach(world, p1, 'berlin', 'a1'), /ended before claimGranted/);
    const refusal = p1.log.findLast(({ event }) => event === 'tunnel.refused');
    assert.match(String(refusal?.['detail']), /held a claim of p1 and did not serve it/);
    assert.equal(holder(), 'a2');
  });
}

test('A14: users of a black hole without a standby are told at once that nobody serves, and other leaf clusters go on', async () => {
  await world.agent('oslo', 'b1');
  const blackHole = await ScriptedAgent.attach(world, p1, 'berlin', 'a1');
  void behave(blackHole, () => undefined);
  await eventually('the claim is gone', () => revoked() && holder() === 'b1');
  const { head } = await connectThrough(p1.ports.frontDoor, 'web.berlin:80');
  assert.match(head, /^HTTP\/1\.1 503 .*Xylem-Outcome: leaf-offline\r\n/s);
  const other = await connectThrough(p1.ports.frontDoor, 'web.oslo:80');
  other.client.say('still here');
  assert.match(await other.client.hears('still here', 5_000), /still here/);
  other.client.socket.destroy();
  blackHole.channel.close();
});

test('a user whose dial was not answered has the holder asked at once', async () => {
  const serving = { ...SERVING, intervalMs: 3_600_000 };
  const slow = await world.proxy('p2', { overrides: { serving, router: { defaultTimeoutMs: 300 } } });
  const blackHole = await ScriptedAgent.attach(world, slow, 'berlin', 'a1');
  void behave(blackHole, () => undefined);
  const { head } = await connectThrough(slow.ports.frontDoor, 'web.berlin:80');
  assert.match(head, /^HTTP\/1\.1 504 /);
  await eventually('the claim is gone', () => slow.log.some(({ event }) => event === 'claim.unserved'));
  blackHole.channel.close();
});

test('an agent that serves keeps its claim, however often it is asked, and nothing of it reaches a node', async () => {
  const seen: unknown[] = [];
  await world.node('quiet', (socket) => seen.push(socket));
  await world.agent('berlin', 'a1');
  await eventually('claimed', () => claimedBy(p1, 'a1'));
  const { client } = await connectThrough(p1.ports.frontDoor, 'web.berlin:80');
  const { tunnel, token } = p1.status().root.tunnels[0] ?? {};
  const asked = async (): Promise<number> => {
    const text = await (await fetch(`http://127.0.0.1:${p1.ports.ops}/metrics`)).text();
    return Number(/^xylem_probe_seconds_count(?:\{[^}]*\})? (\d+)/m.exec(text)?.[1] ?? 0);
  };
  for (let round = 0; (await asked()) < 8; round += 1) {
    client.say(`round ${round};`);
    await client.hears(`round ${round};`, 5_000);
  }
  assert.deepEqual([p1.status().root.tunnels[0]?.tunnel, p1.status().root.tunnels[0]?.token], [tunnel, token]);
  assert.deepEqual(seen, []);
  client.socket.destroy();
});

test('an agent from before there were probes, which knows no such node, keeps its claim', async () => {
  const old = await ScriptedAgent.attach(world, p1, 'berlin', 'a1');
  let asked = 0;
  void behave(old, (agent, connection) => {
    asked += 1;
    refuse(agent.carry(connection), 'no-such-node', 'no such node');
  });
  await eventually('asked six times', () => asked >= 6);
  assert.equal(holder(), 'a1');
  assert.ok(!revoked());
  old.channel.close();
});
