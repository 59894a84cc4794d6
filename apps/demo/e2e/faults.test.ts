/**
 * Faults that take only processes and signals: root proxies, agents, registry and etcd killed, stopped and started again,
 * each time with a user's connections open. What was measured is printed; the bounds leave room for a busy machine.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { after, before, describe, test } from 'node:test';
import type { LeafRows } from '@xylem/matrix';
import { EVENT } from '@xylem/telemetry';
import { startEtcd, startHaproxy } from '@xylem/testkit';
import type { EtcdProcess, HaproxyProcess, HaproxyServer } from '@xylem/testkit';
import { openConnect } from '../src/check/connect.ts';
import { EchoConnection } from '../src/check/echo.ts';
import type { ProxyPart } from '../src/deployment.ts';
import { DOMAIN, ECHO_PORT } from '../src/layout.ts';
import { Observer } from '../src/observer.ts';
import type { Service } from '../src/processes/service.ts';
import type { RecordedLine } from './support/recorder.ts';
import { Rig } from './support/rig.ts';
import type { RigOptions } from './support/rig.ts';

const LEASE = { leaseTtlMs: 2_000, heartbeatIntervalMs: 300 } as const;
const DEADLINE_MS = 20_000;
/** A standby is promoted in the turn of the event loop in which the claim's tunnel ends. */
const TAKEOVER_MAX_MS = 2_000;
const RESET_MAX_MS = 3_000;
const RECORDED_MAX_MS = 8_000;

const ECHO = `echo.berlin:${ECHO_PORT}`;

/**
 * A registry, three root proxies behind an HAProxy that routes on server names, so that no tunnel depends on another root
 * proxy, and agent a1 of leaf cluster berlin, which holds all three.
 */
interface World {
  readonly rig: Rig;
  readonly registry: Service;
  readonly proxies: readonly ProxyPart[];
  readonly balancer: HaproxyProcess;
}

let world: World;

async function setUp(options: RigOptions = {}): Promise<World> {
  const rig = await Rig.create({ ...LEASE, ...options });
  const registry = await rig.startRegistry();
  const proxies = await Promise.all(['p1', 'p2', 'p3'].map((id) => rig.startProxy(id)));
  const balancer = await startHaproxy({ mode: 'sni', domain: DOMAIN, servers: serversOf(proxies) });
  await rig.startAgent('berlin', 'a1', { root: balancer.address });
  const recorded = (): true | undefined =>
    rig.recorder.events(EVENT.claimRecorded, 'berlin/a1').length >= proxies.length ? true : undefined;
  await rig.recorder.until('berlin/a1 holds every root proxy', recorded, DEADLINE_MS);
  return { rig, registry, proxies, balancer };
}

function serversOf(proxies: readonly ProxyPart[]): readonly HaproxyServer[] {
  return proxies.map(({ id, addresses }) => ({ name: id, address: addresses.tunnel }));
}

async function tearDown(): Promise<void> {
  await world.rig.close();
  await world.balancer.dispose();
}

function proxy(id: string): ProxyPart {
  const part = world.proxies.find((candidate) => candidate.id === id);
  assert.ok(part);
  return part;
}

function waitFor(
  event: string,
  service: string,
  since: number,
  accepts: (line: RecordedLine) => boolean = () => true,
): Promise<RecordedLine> {
  const find = (): RecordedLine | undefined => world.rig.recorder.events(event, service, since).find(accepts);
  return world.rig.recorder.until(`${service} logs ${event}`, find, DEADLINE_MS);
}

const about =
  (id: string) =>
  ({ fields }: RecordedLine): boolean =>
    fields['proxy'] === id;

function openEchoes(id: string, count: number): Promise<readonly EchoConnection[]> {
  const { frontDoor } = proxy(id).addresses;
  return Promise.all(Array.from({ length: count }, () => EchoConnection.open(frontDoor, ECHO)));
}

/** A new user reaches the echo node through this root proxy. */
async function answersAt(id: string, address = ECHO): Promise<void> {
  const connection = await EchoConnection.open(proxy(id).addresses.frontDoor, address);
  await connection.exchange();
  connection.close();
}

/**
 * Sends and receives without a break, and tells how that ended. The kernel closes the sockets of a killed process with a
 * reset only where something was on its way in; an idle one it ends with a FIN (docs/LIMITS.md).
 */
function pump(socket: Socket): Promise<string> {
  const chunk = Buffer.alloc(65_536);
  const push = (): void => {
    while (socket.writable && socket.write(chunk));
  };
  return new Promise((resolve) => {
    socket.on('end', () => resolve('a clean end'));
    socket.on('error', (error) => resolve('code' in error ? String(error.code) : error.message));
    socket.on('drain', push).resume();
    push();
  });
}

async function exchangeAll(connections: readonly EchoConnection[]): Promise<void> {
  await Promise.all(connections.map((connection) => connection.exchange()));
}

/** How many milliseconds a wait took from `since`. */
const ms = (line: { readonly at: number }, since: number): string => `${(line.at - since).toFixed(0)} ms`;

describe('with the embedded store', () => {
  before(async () => {
    world = await setUp();
  });
  after(tearDown);

  test('SIGKILL of a root proxy: what runs through it is reset, never ended; the rest goes on; a restarted one is claimed', async (context) => {
    const victim = proxy('p1');
    const busy = await Promise.all(Array.from({ length: 5 }, () => openConnect(victim.addresses.frontDoor, ECHO)));
    const ends = busy.map(pump);
    const piped = world.rig.connect(victim, ECHO);
    const pipedEnd = once(piped, 'close');
    piped.stdin.write('hello');
    assert.equal(String((await once(piped.stdout, 'data'))[0]), 'hello');
    const others = await openEchoes('p2', 5);

    const killedAt = performance.now();
    victim.service.kill('SIGKILL');
    assert.deepEqual(new Set(await Promise.all(ends)), new Set(['ECONNRESET']));
    const resetMs = performance.now() - killedAt;
    assert.ok(resetMs < RESET_MAX_MS);
    const [code]: unknown[] = await pipedEnd;
    assert.notEqual(code, 0, 'xylem connect tells a loss from an end');
    await exchangeAll(others);
    await answersAt('p3');

    const restartedAt = performance.now();
    await world.rig.startProxy('p1');
    const readyAt = performance.now();
    const claimed = await waitFor(EVENT.claimRecorded, 'berlin/a1', restartedAt, about('p1'));
    context.diagnostic(
      `reset after ${resetMs.toFixed(0)} ms; the restarted one was recorded as claimed ${ms(claimed, readyAt)} after it was ready`,
    );
    await answersAt('p1');
    await exchangeAll(others);
    for (const connection of others) await connection.end();
  });

  test('SIGSTOP of a root proxy past its lease, then SIGCONT: no effect of the old incarnation, registered anew', async (context) => {
    const { rig } = world;
    const zombie = proxy('p2');
    const earlier = rig.recorder.events(EVENT.registryConnected, 'p2').at(-1)?.fields['incarnation'];
    const others = await openEchoes('p3', 3);
    const stoppedAt = performance.now();
    zombie.service.kill('SIGSTOP');
    context.after(() => zombie.service.kill('SIGCONT'));
    const lapsed = await waitFor(EVENT.gossipReceived, 'berlin/a1', stoppedAt);
    const dropped = await waitFor(EVENT.claimLost, 'berlin/a1', stoppedAt, about('p2'));
    await exchangeAll(others);
    const resumedAt = performance.now();
    zombie.service.kill('SIGCONT');
    const registered = await waitFor(EVENT.registryConnected, 'p2', resumedAt);
    const claimed = await waitFor(EVENT.claimRecorded, 'berlin/a1', resumedAt, about('p2'));
    context.diagnostic(
      `gossiped to be gone after ${ms(lapsed, stoppedAt)}, dropped by the agent after ${ms(dropped, stoppedAt)}, ` +
        `registered ${ms(registered, resumedAt)} and claimed ${ms(claimed, resumedAt)} after SIGCONT`,
    );
    const now = registered.fields['incarnation'];
    assert.ok(Number(now) > Number(earlier), `incarnation ${String(now)} follows ${String(earlier)}`);
    const recorded = rig.recorder.events(EVENT.claimRecorded, 'berlin/a1', resumedAt).filter(about('p2'));
    for (const line of recorded)
      assert.equal(line.fields['incarnation'], now, 'no claim of the old incarnation is recorded');
    await exchangeAll(others);
    await answersAt('p2');
    for (const connection of others) await connection.end();
  });

  test('SIGKILL of the registry with its store: no connection notices; a new agent is provisional, and recorded after the return', async (context) => {
    const { rig, registry, balancer, proxies } = world;
    const kept = await openEchoes('p2', 5);
    // Dials without a registry go by standing grants, which are given for leaf clusters that have been there.
    const earlier = await rig.startAgent('tokyo', 'a0', { root: balancer.address });
    await Promise.all(proxies.map(({ id }) => waitFor(EVENT.claimRecorded, 'tokyo/a0', 0, about(id))));
    await answersAt('p3', `echo.tokyo:${ECHO_PORT}`);
    await earlier.stop(DEADLINE_MS);
    const killedAt = performance.now();
    registry.kill('SIGKILL');
    await registry.exited;
    await rig.startAgent('tokyo', 'a1', { root: balancer.address });
    const granted = await Promise.all(
      proxies.map(({ id }) => waitFor(EVENT.claimGranted, 'tokyo/a1', killedAt, about(id))),
    );
    assert.equal(rig.recorder.events(EVENT.claimRecorded, 'tokyo/a1').length, 0, 'there is nowhere to record it');
    const provisional = await EchoConnection.open(proxy('p3').addresses.frontDoor, `echo.tokyo:${ECHO_PORT}`);
    await exchangeAll([...kept, provisional]);
    const returningAt = performance.now();
    await rig.startRegistry();
    const readyAt = performance.now();
    const recorded = await Promise.all(
      proxies.map(({ id }) => waitFor(EVENT.claimRecorded, 'tokyo/a1', returningAt, about(id))),
    );
    const last = recorded.toSorted((a, b) => b.at - a.at)[0];
    assert.ok(last);
    assert.ok(last.at - readyAt < RECORDED_MAX_MS);
    await exchangeAll([...kept, provisional]);
    for (const connection of [...kept, provisional]) await connection.end();
    const dial = rig.recorder.events(EVENT.dialStarted, 'tokyo/a1')[0];
    assert.ok(dial);
    context.diagnostic(
      `provisional claims ${granted.map((line) => ms(line, dial.at)).join(', ')} after the first dial; ` +
        `recorded ${ms(last, readyAt)} after the registry was ready; down for ${(readyAt - killedAt).toFixed(0)} ms`,
    );
    assert.deepEqual(rig.recorder.events(EVENT.tunnelClosed, undefined, killedAt), [], 'no tunnel ended');
  });

  for (const [mode, leaf] of [
    ['sni', 'oslo'],
    ['first', 'cairo'],
  ] as const) {
    const way = mode === 'sni' ? 'directly' : 'through relays';
    test(`SIGKILL of an agent that holds every claim ${way}: the standby is promoted at once, the matrix shows it`, async (context) => {
      const { rig, proxies } = world;
      const balancer = await startHaproxy({ mode, domain: DOMAIN, servers: serversOf(proxies) });
      context.after(() => balancer.dispose());
      const [holder, heir] = [`${leaf}/a1`, `${leaf}/a2`];
      const agent = await rig.startAgent(leaf, 'a1', { root: balancer.address });
      for (const { id } of proxies) await waitFor(EVENT.claimRecorded, holder, 0, about(id));
      await rig.startAgent(leaf, 'a2', { root: balancer.address });
      for (const { id } of proxies) await waitFor(EVENT.standbyKept, heir, 0, about(id));
      const relayed = rig.recorder
        .events(EVENT.dialSucceeded, heir)
        .filter(({ fields }) => fields['via'] !== undefined);
      assert.equal(relayed.length, mode === 'sni' ? 0 : proxies.length - 1);

      const observer = new Observer(rig.user, proxy('p1').addresses.access, DOMAIN);
      const killedAt = performance.now();
      agent.kill('SIGKILL');
      const promoted = await Promise.all(
        proxies.map(({ id }) => waitFor(EVENT.standbyPromoted, heir, killedAt, about(id))),
      );
      const onlyHeir = (row: LeafRows): boolean =>
        row.leaf === leaf && row.unclaimed.length === 0 && row.agents.every((candidate) => candidate.agent === 'a2');
      const { reached } = await observer.until(({ leaves }) => leaves.some(onlyHeir), DEADLINE_MS);
      const shownMs = performance.now() - killedAt;
      assert.ok(reached);
      await answersAt('p2', `echo.${leaf}:${ECHO_PORT}`);
      const times = promoted.map((line) => ms(line, killedAt)).join(', ');
      context.diagnostic(`promoted after ${times}; shown by the matrix after ${shownMs.toFixed(0)} ms`);
      for (const { at } of promoted) assert.ok(at - killedAt < TAKEOVER_MAX_MS);
      assert.equal(rig.recorder.events(EVENT.dialStarted, heir, killedAt).length, 0, 'nothing had to be dialled');
    });
  }
});

describe('with real etcd', () => {
  let etcd: EtcdProcess;
  before(async () => {
    etcd = await startEtcd();
    world = await setUp({ etcd: [etcd.endpoint] });
  });
  after(async () => {
    await tearDown();
    await etcd.dispose();
  });

  for (const [leaf, what, fail, heal] of [
    ['tokyo', 'stopped', () => Promise.resolve(etcd.stop()), () => Promise.resolve(etcd.resume())],
    ['lima', 'killed', () => etcd.kill(), () => etcd.restart()],
  ] as const) {
    test(`etcd ${what} for longer than a lease: tunnels, connections and dials go on; new claims are recorded when it is back`, async (context) => {
      const { rig, balancer, proxies } = world;
      const kept = await openEchoes('p1', 5);
      const failedAt = performance.now();
      await fail();
      await waitFor(EVENT.storeUnreachable, 'registry', failedAt);
      await rig.startAgent(leaf, 'a1', { root: balancer.address });
      await Promise.all(proxies.map(({ id }) => waitFor(EVENT.claimGranted, `${leaf}/a1`, failedAt, about(id))));
      const fresh = await EchoConnection.open(proxy('p2').addresses.frontDoor, ECHO);
      while (performance.now() - failedAt < 2 * LEASE.leaseTtlMs) await exchangeAll([...kept, fresh]);
      const healedAt = performance.now();
      await heal();
      const recorded = await Promise.all(
        proxies.map(({ id }) => waitFor(EVENT.claimRecorded, `${leaf}/a1`, healedAt, about(id))),
      );
      await exchangeAll([...kept, fresh]);
      for (const connection of [...kept, fresh]) await connection.end();
      assert.deepEqual(rig.recorder.events(EVENT.tunnelClosed, undefined, failedAt), [], 'no tunnel ended');
      context.diagnostic(
        `away for ${(healedAt - failedAt).toFixed(0)} ms; claims recorded ${recorded.map((line) => ms(line, healedAt)).join(', ')} after its return`,
      );
    });
  }
});
