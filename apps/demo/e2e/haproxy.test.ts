/**
 * Discovery on real processes behind a real HAProxy, in the modes that an agent which cannot name its target is lost behind,
 * too: cold start, one root proxy added, the one that relays killed, all rotated. Figures are printed as diagnostics.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { TestContext } from 'node:test';
import { EVENT } from '@xylem/telemetry';
import { startHaproxy } from '@xylem/testkit';
import type { HaproxyMode, HaproxyProcess } from '@xylem/testkit';
import { EchoConnection } from '../src/check/echo.ts';
import type { ProxyPart } from '../src/deployment.ts';
import { DOMAIN, ECHO_PORT } from '../src/layout.ts';
import { Observer, allClaimed } from '../src/observer.ts';
import { Rig } from './support/rig.ts';

const PROXIES = 10;
/** A direct try for a relayed tunnel, or a change that raced with a dial. */
const SPARE_DIALS = 3;
/** On an idle machine a quarter of a second; tests share theirs. */
const MESH_MAX_MS = 5_000;
/** Ten times N*H(N): a fair balancer is a matter of luck only for agents that do not steer. */
const UNSTEERED_DIALS_MAX = 300;
const DEADLINE_MS = 20_000;

interface Case {
  readonly leaf: string;
  readonly mode: HaproxyMode;
  readonly steering: 'sni' | 'off';
}

const CASES: readonly Case[] = [
  { leaf: 'berlin', mode: 'roundrobin', steering: 'sni' },
  { leaf: 'tokyo', mode: 'source', steering: 'sni' },
  { leaf: 'lima', mode: 'first', steering: 'sni' },
  { leaf: 'oslo', mode: 'sni', steering: 'sni' },
];
/** The article's agent, which takes what the balancer gives it. */
const UNSTEERED: Case = { leaf: 'cairo', mode: 'roundrobin', steering: 'off' };

let rig: Rig;
const live = new Map<string, ProxyPart>();
const balancers = new Map<string, HaproxyProcess>();

before(async () => {
  rig = await Rig.create({ leaseTtlMs: 3_000, heartbeatIntervalMs: 500 });
  await rig.startRegistry();
  await addProxies(1, PROXIES);
});

after(async () => {
  await rig.close();
  await Promise.all([...balancers.values()].map((balancer) => balancer.dispose()));
});

async function addProxies(first: number, count: number, generation = 0): Promise<void> {
  const ids = Array.from({ length: count }, (_, index) => `p${first + index}`);
  for (const part of await Promise.all(ids.map((id) => rig.startProxy(id, generation)))) live.set(part.id, part);
}

function servers(): readonly { readonly name: string; readonly address: string }[] {
  return [...live.values()].map(({ id, addresses }) => ({ name: id, address: addresses.tunnel }));
}

/** Root proxies that an agent holds a claim of, as its own log tells. */
function heldBy(agent: string): ReadonlySet<string> {
  const held = new Map<unknown, string>();
  for (const { service, event, fields } of rig.recorder.lines) {
    if (service !== agent || typeof fields['proxy'] !== 'string') continue;
    if (event === EVENT.claimGranted) held.set(fields['tunnel'], fields['proxy']);
    if (event === EVENT.tunnelClosed || event === EVENT.claimLost) held.delete(fields['tunnel']);
  }
  return new Set(held.values());
}

function holdsAll(leaf: string, deadlineMs = DEADLINE_MS): Promise<void> {
  const wanted = [...live.keys()];
  const complete = (): true | undefined => {
    const held = heldBy(`${leaf}/a1`);
    return wanted.every((id) => held.has(id)) ? true : undefined;
  };
  return rig.recorder.until(`${leaf} holds ${wanted.join(', ')}`, complete, deadlineMs).then(() => undefined);
}

/** Every agent holds every live root proxy, and the root proxies say the same. @returns Milliseconds since `since` by leaf cluster. */
async function allHoldAll(since: number): Promise<ReadonlyMap<string, number>> {
  const times = new Map<string, number>();
  await Promise.all(
    CASES.map(async ({ leaf }) => {
      await holdsAll(leaf);
      times.set(leaf, performance.now() - since);
    }),
  );
  const [anyone] = live.values();
  assert.ok(anyone);
  const observer = new Observer(rig.user, anyone.addresses.access, DOMAIN);
  const leaves = CASES.map(({ leaf }) => leaf);
  const { reached } = await observer.until(allClaimed([...live.keys()], leaves), DEADLINE_MS);
  assert.ok(reached, 'the matrix of the root proxies shows every claim');
  return times;
}

function noticesLossOf(proxy: string, agent: string, since: number): Promise<unknown> {
  const lost = () => rig.recorder.events(EVENT.claimLost, agent, since).find(({ fields }) => fields['proxy'] === proxy);
  return rig.recorder.until(`${agent} loses ${proxy}`, lost, DEADLINE_MS);
}

function dialsOf(leaf: string, since = 0): number {
  return rig.recorder.events(EVENT.dialStarted, `${leaf}/a1`, since).length;
}

function report(context: TestContext, times: ReadonlyMap<string, number>, since: number): void {
  for (const { leaf, mode } of CASES) {
    const ms = (times.get(leaf) ?? Number.NaN).toFixed(0);
    context.diagnostic(`${mode}: every claim after ${ms} ms, ${dialsOf(leaf, since)} dials`);
  }
}

/** A user reaches every leaf cluster through every live root proxy. */
async function everyoneServes(): Promise<void> {
  for (const { id, addresses } of live.values()) {
    for (const { leaf } of CASES) {
      const opening = EchoConnection.open(addresses.frontDoor, `echo.${leaf}:${ECHO_PORT}`);
      const connection = await opening.catch((cause: unknown) => {
        throw new Error(`echo.${leaf} through ${id}`, { cause });
      });
      await connection.exchange();
      connection.close();
    }
  }
}

for (const { leaf, mode, steering } of [...CASES, UNSTEERED]) {
  test(`cold start behind ${mode}, steering ${steering}: all ${PROXIES} claimed`, async (context) => {
    const balancer = await startHaproxy({ mode, domain: DOMAIN, servers: servers() });
    balancers.set(leaf, balancer);
    const agent = await rig.startAgent(leaf, 'a1', { root: balancer.address, steering });
    await holdsAll(leaf);
    const name = `${leaf}/a1`;
    const done = await rig.recorder.until('done', () => rig.recorder.events(EVENT.meshCompleted, name)[0], DEADLINE_MS);
    const dials = dialsOf(leaf);
    const sessions = await balancer.sessions();
    const used = [...sessions].filter(([, count]) => count > 0).length;
    context.diagnostic(
      `${String(done.fields['tookMs'])} ms, ${dials} dials over ${used} of ${PROXIES} backends for ${PROXIES} root proxies`,
    );
    if (steering === 'sni') assert.equal(dials, PROXIES, 'one dial for each root proxy, whatever the balancer does');
    else assert.ok(dials <= UNSTEERED_DIALS_MAX, `${dials} dials`);
    assert.ok(Number(done.fields['tookMs']) < MESH_MAX_MS, `${String(done.fields['tookMs'])} ms`);
    const connections = [...sessions.values()].reduce((sum, count) => sum + count, 0);
    assert.equal(connections, dials, 'one connection through the balancer for each dial');
    if (mode === 'source' || mode === 'first') assert.equal(used, 1, 'the balancer sent everything to one root proxy');
    // What changes later it would find, too, but by luck, and in its own time.
    if (steering === 'off') agent.kill('SIGTERM');
  });
}

test('every leaf cluster is reached through every root proxy', everyoneServes);

test('one root proxy added: every agent claims it', async (context) => {
  const since = performance.now();
  await addProxies(PROXIES + 1, 1);
  const ready = performance.now();
  await Promise.all([...balancers.values()].map((balancer) => balancer.setServers(servers())));
  report(context, await allHoldAll(ready), since);
  for (const { leaf } of CASES) {
    assert.ok(dialsOf(leaf, since) <= 1 + SPARE_DIALS, `${leaf}: ${dialsOf(leaf, since)} dials`);
  }
});

test('the root proxy that relays for others killed: all that live are claimed again', async (context) => {
  const relays = rig.recorder.events(EVENT.dialSucceeded, 'tokyo/a1').map(({ fields }) => fields['via']);
  const victim = [...live.values()].find(({ id }) => relays.includes(id));
  assert.ok(victim, 'behind a source hash one root proxy relays for the others');
  live.delete(victim.id);
  const killedAt = performance.now();
  victim.service.kill('SIGKILL');
  await victim.service.exited;
  await Promise.all(CASES.map(({ leaf }) => noticesLossOf(victim.id, `${leaf}/a1`, killedAt)));
  report(context, await allHoldAll(killedAt), killedAt);
  await Promise.all([...balancers.values()].map((balancer) => balancer.setServers(servers())));
});

test('all root proxies rotated: a new generation is claimed while the old one serves, then the old one leaves', async (context) => {
  const since = performance.now();
  const old = [...live.values()];
  await addProxies(2 * PROXIES, PROXIES, 1);
  const ready = performance.now();
  context.diagnostic(`${PROXIES} more processes up after ${(ready - since).toFixed(0)} ms`);
  await Promise.all([...balancers.values()].map((balancer) => balancer.setServers(servers())));
  report(context, await allHoldAll(ready), since);
  const heldAt = performance.now();
  const kept = await EchoConnection.open(old[0]?.addresses.frontDoor ?? '', `echo.tokyo:${ECHO_PORT}`);
  await kept.exchange();

  const drainedAt = performance.now();
  for (const { id } of old) live.delete(id);
  await Promise.all([...balancers.values()].map((balancer) => balancer.setServers(servers())));
  for (const { service } of old) service.kill('SIGTERM');
  await allHoldAll(drainedAt);
  const wholeAt = performance.now();
  await kept.exchange();
  await kept.end();
  const endedAt = performance.now();
  await everyoneServes();
  const servedAt = performance.now();
  const exits = await Promise.all(old.map(({ service }) => service.exited));
  assert.deepEqual(
    exits.map(({ code }) => code),
    old.map(() => 0),
    'drained root proxies end by themselves',
  );
  const ms = (at: number): string => `${(at - drainedAt).toFixed(0)} ms`;
  context.diagnostic(
    `drain after ${(drainedAt - heldAt).toFixed(0)} ms: whole ${ms(wholeAt)} later, the last connection ended after ${ms(endedAt)}, ` +
      `every way tried after ${ms(servedAt)}, all ${old.length} old ones had left after ${ms(performance.now())}`,
  );
});
