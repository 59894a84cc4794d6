import { execFile } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { duration } from '@xylem/matrix';
import type { Matrix } from '@xylem/matrix';
import type { HostTools } from '../config.ts';
import { childEnvironment } from '../config.ts';
import type { Deployment, ProxyPart } from '../deployment.ts';
import { CLOSED_PORT, DRAIN, ECHO_PORT, FIRST_PROXIES, HTTP_PORT, LEAVES } from '../layout.ts';
import { allClaimed } from '../observer.ts';
import type { Observer } from '../observer.ts';
import { describeExit } from '../processes/service.ts';
import { ConnectRefused, openConnect } from './connect.ts';
import { EchoConnection } from './echo.ts';
import { download, fetchText, upload } from './transfer.ts';
import type { Transfer } from './transfer.ts';

/** What the steps work on. */
export interface Subject {
  readonly deployment: Deployment;
  readonly observer: Observer;
  readonly tools: HostTools;
  /** From now on this process may end. */
  readonly expectEnd: (part: ProxyPart) => void;
}

/** One thing that must work. Resolves with its figures; rejects with what was wrong. */
export interface Step {
  readonly name: string;
  readonly run: (subject: Subject) => Promise<string>;
}

const TRANSFER_BYTES = 64 * 1_048_576;
const MESH_DEADLINE_MS = 15_000;
const COMMAND_TIMEOUT_MS = 15_000;
/** Longer than the members' lease. */
const FORGET_DEADLINE_MS = 20_000;
const WEB = `web.berlin:${HTTP_PORT}`;
const run = promisify(execFile);

export const STEPS: readonly Step[] = [
  { name: 'every root proxy claimed', run: fullMesh },
  { name: 'HTTP through CONNECT', run: http },
  { name: 'wrong addresses answered', run: wrongAddresses },
  {
    name: '64 MiB down, SHA-256 equal',
    run: ({ deployment }) => transfer(download(deployment.doors.frontDoor, WEB, TRANSFER_BYTES)),
  },
  {
    name: '64 MiB up, SHA-256 equal',
    run: ({ deployment }) => transfer(upload(deployment.doors.frontDoor, WEB, TRANSFER_BYTES)),
  },
  { name: 'SSH command', run: ssh },
  { name: 'xylem ls, xylem status', run: cli },
  { name: 'root proxy drained', run: drain },
  { name: 'one killed, a new one added', run: replace },
  { name: 'killed one forgotten', run: forgotten },
  { name: 'traffic through what is left', run: http },
];

async function fullMesh({ observer }: Subject): Promise<string> {
  const started = performance.now();
  const matrix = await claimed(observer, FIRST_PROXIES);
  const rows = matrix.leaves.flatMap(({ agents }) => agents);
  const dials = rows.reduce((sum, row) => sum + row.dials, 0);
  const wasted = rows.reduce((sum, row) => sum + row.wastedDials, 0);
  const claims = LEAVES.length * FIRST_PROXIES.length;
  return `${claims} claims by ${rows.length} agents, ${dials} dials, ${wasted} wasted, ${since(started)}`;
}

async function http({ deployment }: Subject): Promise<string> {
  const started = performance.now();
  for (const leaf of LEAVES) {
    const body = await fetchText(deployment.doors.frontDoor, `web.${leaf}:${HTTP_PORT}`, '/');
    if (!body.includes(`leaf cluster ${leaf}`))
      throw new Error(`web.${leaf} answered ${JSON.stringify(body.slice(0, 80))}`);
  }
  return `${LEAVES.map((leaf) => `web.${leaf}`).join(', ')} in ${since(started)}`;
}

async function wrongAddresses({ deployment }: Subject): Promise<string> {
  const expected = [
    ['not-an-address', 400],
    [`web.nowhere:${HTTP_PORT}`, 404],
    [`nobody.berlin:${HTTP_PORT}`, 404],
    [`web.berlin:${CLOSED_PORT}`, 502],
  ] as const;
  for (const [authority, status] of expected) {
    const answer = await openConnect(deployment.doors.frontDoor, authority).then(
      () => 200,
      (error: unknown) => (error instanceof ConnectRefused ? error.status : error),
    );
    if (answer !== status) throw new Error(`${authority} was answered ${String(answer)} instead of ${status}`);
  }
  return expected.map(([, status]) => status).join(', ');
}

async function transfer(running: Promise<Transfer>): Promise<string> {
  const { bytes, ms, sha256, expected } = await running;
  if (sha256 !== expected) throw new Error(`SHA-256 ${sha256} instead of ${expected}`);
  return `${duration(ms)}, ${(bytes / 1_000 / ms).toFixed(0)} MB/s`;
}

async function ssh({ deployment, tools }: Subject): Promise<string> {
  const { sshConfig } = deployment;
  if (sshConfig === undefined || tools.ssh === undefined)
    return 'skipped: OpenSSH client and server are not both installed';
  const started = performance.now();
  const answer = await command(tools.ssh, ['-F', sshConfig, 'web.berlin', 'echo xylem-$((6 * 7))']);
  if (answer.trim() !== 'xylem-42') throw new Error(`ssh answered ${JSON.stringify(answer)}`);
  return `web.berlin in ${since(started)}`;
}

async function cli({ deployment }: Subject): Promise<string> {
  const nodes = await command(deployment.xylem, ['ls']);
  for (const leaf of LEAVES)
    if (!nodes.includes(`web.${leaf}`)) throw new Error(`xylem ls does not show web.${leaf}:\n${nodes}`);
  const status: unknown = JSON.parse(await command(deployment.xylem, ['status', '--json']));
  if (typeof status !== 'object' || status === null || !('complete' in status) || status.complete !== true) {
    throw new Error('xylem status does not call the matrix complete');
  }
  return `${nodes.trim().split('\n').length - 1} nodes, matrix complete`;
}

/** A connection that was open before the drain works during it and ends in order; then the proxy leaves by itself. */
async function drain({ deployment, expectEnd }: Subject): Promise<string> {
  const part = proxyOf(deployment, 'p1');
  const connection = await EchoConnection.open(part.addresses.frontDoor, `echo.berlin:${ECHO_PORT}`);
  await connection.exchange();
  expectEnd(part);
  deployment.drainProxy(part);
  const started = performance.now();
  let survived = 0;
  // Twice the spread: by then every agent has moved on.
  while (performance.now() - started < 2 * DRAIN.spreadMs) {
    await connection.exchange();
    survived = performance.now() - started;
    await delay(DRAIN.spreadMs / 10);
  }
  if (part.service.exit !== undefined)
    throw new Error(`p1 ${describeExit(part.service.exit)} with a connection still open`);
  await connection.end();
  const exit = await part.service.exited;
  if (exit.code !== 0) throw part.service.failure(`${describeExit(exit)} after the drain:`);
  return `open connection went on for ${duration(survived)} and ended in order, p1 left ${since(started)} after SIGTERM`;
}

async function replace({ deployment, observer, expectEnd }: Subject): Promise<string> {
  const part = proxyOf(deployment, 'p2');
  expectEnd(part);
  const id = deployment.newProxyId();
  part.service.kill('SIGKILL');
  await part.service.exited;
  const killed = performance.now();
  await deployment.startProxy(id);
  const ready = performance.now();
  await claimed(observer, [...deployment.proxies.keys()]);
  return `p2 killed, ${id} claimed by every leaf ${since(ready)} after it was ready (${since(killed)} after the kill)`;
}

async function forgotten({ observer }: Subject): Promise<string> {
  const started = performance.now();
  const gone = (matrix: Matrix): boolean => matrix.proxies.every(({ proxy }) => proxy !== 'p1' && proxy !== 'p2');
  const { reached, matrix } = await observer.until((seen) => gone(seen) && seen.complete, FORGET_DEADLINE_MS);
  if (!reached)
    throw new Error(`still there: ${matrix?.proxies.map(({ proxy }) => proxy).join(', ') ?? 'nobody answers'}`);
  return `${matrix?.proxies.map(({ proxy }) => proxy).join(' and ') ?? ''} left, ${since(started)}`;
}

async function claimed(observer: Observer, proxies: readonly string[]): Promise<Matrix> {
  const { reached, matrix } = await observer.until(allClaimed(proxies, LEAVES), MESH_DEADLINE_MS);
  if (matrix === undefined) throw new Error(`no root proxy answers GetStatus within ${MESH_DEADLINE_MS / 1_000} s`);
  if (reached) return matrix;
  const missing = matrix.leaves.flatMap(({ leaf, unclaimed }) =>
    unclaimed.map((proxy) => `${leaf} does not hold ${proxy}`),
  );
  throw new Error(
    `not every root proxy is claimed after ${MESH_DEADLINE_MS / 1_000} s: ${missing.join('; ') || 'agents are missing'}`,
  );
}

function proxyOf(deployment: Deployment, id: string): ProxyPart {
  const part = deployment.proxies.get(id);
  if (part === undefined) throw new Error(`${id} is not running`);
  return part;
}

async function command(program: string, args: readonly string[]): Promise<string> {
  try {
    const { stdout } = await run(program, args, { timeout: COMMAND_TIMEOUT_MS, env: childEnvironment() });
    return stdout;
  } catch (error) {
    const stderr = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
    const name = program.slice(program.lastIndexOf('/') + 1);
    throw new Error(`${name} ${args.join(' ')} failed: ${stderr === '' ? String(error) : stderr}`, { cause: error });
  }
}

function since(started: number): string {
  return duration(performance.now() - started);
}
