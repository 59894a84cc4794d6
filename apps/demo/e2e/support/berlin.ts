import assert from 'node:assert/strict';
import { EVENT } from '@xylem/telemetry';
import { startHaproxy } from '@xylem/testkit';
import { DOMAIN, ECHO_PORT } from '../../src/layout.ts';
import { JoinedDeployment } from './joined.ts';
import type { AgentChanges, JoinedProxy } from './joined.ts';
import { EchoLoad } from './load.ts';
import type { LoadReport } from './load.ts';

/** For one thing that a deployment does by itself. */
export const DEADLINE_MS = 20_000;
export const ECHO = `echo.berlin:${ECHO_PORT}`;
/** Whose certificates a deployment of this kind renews. */
const MEMBERS = ['p1', 'p2', 'berlin/a1'] as const;
const CONNECTIONS_PER_DOOR = 10;

/** Two root proxies behind HAProxy, and one agent of berlin that joined through it and holds both. */
export interface JoinedBerlin {
  readonly deployment: JoinedDeployment;
  /** The balancer's address. */
  readonly root: string;
  readonly proxies: readonly JoinedProxy[];
  /** Front doors, of each root proxy. */
  readonly doors: readonly string[];
  readonly close: () => Promise<void>;
}

/** What balancers are told of root proxies. */
export function serversOf(proxies: readonly JoinedProxy[]) {
  return proxies.map(({ id, addresses }) => ({ name: id, address: addresses.tunnel }));
}

/** Starts everything and waits until both root proxies are claimed. */
export async function joinedBerlin(certificateTtlMs: number, changes: AgentChanges = {}): Promise<JoinedBerlin> {
  const deployment = await JoinedDeployment.create({ certificateTtlMs });
  const closers = [() => deployment.close()];
  const close = async (): Promise<void> => {
    for (const each of closers) await each();
  };
  try {
    await deployment.startRegistry();
    const proxies = [await deployment.startProxy('p1'), await deployment.startProxy('p2')];
    const balancer = await startHaproxy({ mode: 'roundrobin', domain: DOMAIN, servers: serversOf(proxies) });
    closers.push(() => balancer.dispose());
    await joinBerlin(deployment, balancer.address, await deployment.token('--leaf', 'berlin'));
    await deployment.startAgent('berlin', 'a1', balancer.address, changes);
    const claimed = (): true | undefined =>
      deployment.recorder.events(EVENT.claimRecorded, 'berlin/a1').length >= proxies.length || undefined;
    await deployment.recorder.until('both root proxies claimed', claimed, DEADLINE_MS);
    const doors = proxies.map(({ addresses }) => addresses.frontDoor);
    return { deployment, root: balancer.address, proxies, doors, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** `xylem agent join` for berlin/a1; has to succeed. */
export async function joinBerlin(deployment: JoinedDeployment, root: string, token: string): Promise<void> {
  const directory = deployment.agentFolder('berlin', 'a1');
  const flags = ['--token-file', '-', '--root', root, '--agent', 'a1', '--identity-dir', directory];
  const joined = await deployment.xylem(['agent', 'join', ...flags], token);
  assert.equal(joined.status, 0, joined.err);
}

/** How many times a member's certificate was renewed since then. */
export function renewals(deployment: JoinedDeployment, service: string, since = 0): number {
  return deployment.recorder.events(EVENT.identityRenewed, service, since).length;
}

/** Nothing that a user would notice happened since then. */
export function undisturbed({ recorder }: JoinedDeployment, since: number): void {
  for (const event of [EVENT.tunnelClosed, EVENT.claimLost, EVENT.peerLost, EVENT.identityAlarmRaised]) {
    assert.deepEqual(recorder.events(event, undefined, since), [], event);
  }
}

export interface RenewalReport extends LoadReport {
  readonly seconds: number;
  readonly renewals: Readonly<Record<string, number>>;
}

/**
 * Keeps connections through both front doors busy until every member has renewed its certificate `count` times; rejects
 * when any of them was cut or garbled, or anything was lost meanwhile.
 *
 * @param deadlineMs for all of the renewals; they come at about half of a certificate's life
 */
export async function renewUnderLoad(
  { deployment, doors }: JoinedBerlin,
  count: number,
  deadlineMs: number,
): Promise<RenewalReport> {
  const load = await EchoLoad.start(doors, ECHO, CONNECTIONS_PER_DOOR);
  const since = performance.now();
  const counts = () => Object.fromEntries(MEMBERS.map((name) => [name, renewals(deployment, name, since)]));
  const enough = (): true | undefined =>
    load.failures.length > 0 || Object.values(counts()).every((made) => made >= count) || undefined;
  await deployment.recorder.until(`${count} renewals of each member`, enough, deadlineMs);
  const report = await load.stop();
  const seconds = Math.round((performance.now() - since) / 1_000);
  assert.deepEqual(report.failures, []);
  undisturbed(deployment, since);
  return { ...report, seconds, renewals: counts() };
}
