import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { refuse } from '@xylem/carrier';
import { status } from '@grpc/grpc-js';
import { createChannel, StatusError } from '@xylem/grpc';
import { AccessService, MAX_ANSWER_BYTES, RawFrameMethods } from '@xylem/wire';
import { DOMAIN } from './testing/credentials.ts';
import { ScriptedAgent } from './testing/scripted-agent.ts';
import { claimedBy, connectThrough, eventually, World } from './testing/world.ts';
import type { WorldProxy } from './testing/world.ts';

/** What an agent can do to users, operators and other agents by saying the wrong thing. */

let world: World;
let p1: WorldProxy;
let agent: ScriptedAgent;

beforeEach(async () => {
  world = await World.create();
  p1 = await world.proxy('p1');
  agent = await ScriptedAgent.attach(world, p1, 'berlin', 'a1');
});
afterEach(async () => {
  agent.channel.close();
  await world.close();
});

test('a Carry that fails before its outcome answers the user at once', async () => {
  const began = performance.now();
  const answer = connectThrough(p1.ports.frontDoor, 'web.berlin:80');
  const { value: dial } = await agent.hears('dialRequest');
  const broken = agent.carry(dial.connection);
  // A stream that is given up before it has begun was never there for the root proxy.
  agent.say({ $case: 'ping', value: { nonce: 1n } });
  await agent.hears('pong');
  broken.cancel('something broke');
  const { head } = await answer;
  assert.match(head, /^HTTP\/1\.1 502 .*Xylem-Outcome: tunnel-lost\r\n/s);
  assert.ok(performance.now() - began < 5_000, `${performance.now() - began} ms of the dial's 10 s`);
});

test("A2: another agent's Carry never answers a dial, though it knows the connection's name", async () => {
  const other = await ScriptedAgent.attach(world, p1, 'paris', 'b1');
  const answer = connectThrough(p1.ports.frontDoor, 'web.berlin:80');
  const { value: dial } = await agent.hears('dialRequest');
  const stolen = other.carry(dial.connection);
  refuse(stolen, 'refused', 'mine now');
  const unattached = createChannel({
    address: `127.0.0.1:${p1.ports.tunnel}`,
    tls: await world.credentials.source({ kind: 'agent', leaf: 'berlin', agent: 'a1' }),
    serverName: DOMAIN,
  });
  const stray = unattached.duplex(RawFrameMethods.carry, { 'xylem-connection': dial.connection });
  const code = await new Promise((resolve) => {
    stray.on('status', (end: { readonly code: number }) => resolve(end.code));
    stray.resume();
  });
  assert.equal(code, status.FAILED_PRECONDITION, 'the same agent on another connection is not the tunnel');
  unattached.close();
  refuse(agent.carry(dial.connection), 'unreachable', 'the node is away');
  assert.match((await answer).head, /Xylem-Outcome: unreachable\r\n/);
  const audited = p1.log.find(({ event, subject }) => event === 'audit' && subject === 'carry');
  assert.equal(audited?.['actor'], 'leaf/paris/agent/b1');
  assert.match(JSON.stringify(audited), /"rule":"cross_tenant"/);
  other.channel.close();
});

test('A24: the words of an agent are cut to one line of printable characters, for users and in logs', async () => {
  const answer = connectThrough(p1.ports.frontDoor, 'web.berlin:80');
  const { value: dial } = await agent.hears('dialRequest');
  refuse(agent.carry(dial.connection), 'refused', `\u001b[31mred\r\nX-Evil: 1\r\n${'x'.repeat(10_000)}`);
  const { client } = await answer;
  const heard = await client.closes();
  assert.ok(heard.length < 1_000, `${heard.length} bytes`);
  assert.doesNotMatch(heard, /\u001b|\nX-Evil/);
  const line = await eventually('the log line', () => p1.log.find(({ event }) => event === 'connection.refused'));
  assert.ok(String(line['detail']).length <= 300);
});

test('streams that nobody asked for are refused at once, and an agent that opens them in a loop is sent away', async () => {
  const limits = { dialsPerSecond: 1, dialBurst: 20, connections: 100 };
  const strict = await world.proxy('p2', { limits: { perUser: limits, perLeaf: limits } });
  const loop = await ScriptedAgent.attach(world, strict, 'berlin', 'a1');
  const began = performance.now();
  const first = await loop.carry('made-up').first(20_000);
  assert.ok(first.kind === 'over' && /nobody waits/.test(first.end.detail), JSON.stringify(first));
  assert.ok(performance.now() - began < 5_000, 'without waiting for its first frame');
  const streams = Array.from({ length: 60 }, (_, index) => loop.carry(`made-up-${index}`).first(20_000));
  const { value } = await loop.hears('goodbye');
  assert.match(value.detail, /more streams than it is asked for/);
  assert.ok((await Promise.all(streams)).every(({ kind }) => kind === 'over'));
  loop.channel.close();
});

test("an agent that leaves dials unanswered fills its own leaf cluster's share, and others are served", async () => {
  const small = await world.proxy('p2', { overrides: { router: { maxPendingPerLeaf: 2 } } });
  const silent = await ScriptedAgent.attach(world, small, 'berlin', 'a1');
  const other = await ScriptedAgent.attach(world, small, 'paris', 'b1');
  const dial = (leaf: string) => connectThrough(small.ports.frontDoor, `web.${leaf}:80`);
  const unanswered = [dial('berlin'), dial('berlin')];
  for (const _ of unanswered) await silent.hears('dialRequest');
  const { head } = await dial('berlin');
  assert.match(head, /^HTTP\/1\.1 503 .*Xylem-Outcome: overloaded\r\n/s);
  const served = dial('paris');
  const { value } = await other.hears('dialRequest');
  refuse(other.carry(value.connection), 'refused', 'closed');
  assert.match((await served).head, /Xylem-Outcome: refused\r\n/);
  for (const { channel } of [other, silent]) channel.close();
  await Promise.allSettled(unanswered);
});

test('A23: a pool report as long as an agent likes leaves the matrix whole', async () => {
  const entries = Array.from({ length: 900 }, (_, n) => ({
    proxy: `p${n}`,
    state: 'backoff',
    why: 'w'.repeat(80),
    via: 'not a name!',
  }));
  const strange = { proxy: '../etc', state: 'x'.repeat(1_000), why: '', via: '' };
  agent.say({ $case: 'poolReport', value: { entries: [strange, ...entries], dialsTotal: 1n, wastedDialsTotal: 0n } });
  const tls = await world.credentials.source({ kind: 'user', user: 'ada' });
  const channel = createChannel({
    address: `127.0.0.1:${p1.ports.access}`,
    tls,
    serverName: DOMAIN,
    maxMessageBytes: MAX_ANSWER_BYTES,
  });
  const pool = await eventuallyPool(channel);
  assert.equal(pool.length, 900);
  assert.ok(pool.every(({ via, why }) => via === '' && why.length <= 128));
  channel.close();
  assert.equal(claimedBy(p1, 'a1'), true);
});

async function eventuallyPool(channel: ReturnType<typeof createChannel>) {
  const deadline = performance.now() + 5_000;
  for (;;) {
    const { proxies } = await channel.unary(AccessService.getStatus, {}, 2_000).catch((error: unknown) => {
      assert.ok(error instanceof StatusError);
      throw error;
    });
    const entries = proxies[0]?.tunnels[0]?.pool?.entries ?? [];
    if (entries.length > 0) return entries;
    assert.ok(performance.now() < deadline, 'the report did not come');
  }
}
