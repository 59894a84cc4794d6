/**
 * Proves docker-compose.yml: builds it on base images made from Debian's packages, starts it, reaches nodes through the root
 * cluster that the root cluster itself cannot reach, checks the trace of such a connection, and takes everything down.
 *
 * Needs root and Debian; installs docker.io, docker-compose and debootstrap where they are missing. An engine that is
 * already running is used; otherwise one is started with a data folder of its own and ended afterwards.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

const ROOT = join(import.meta.dirname, '..');
const PROJECT = 'xylem-check';
const BUILD_LIMIT_MS = 15 * 60_000;
const READY_LIMIT_MS = 120_000;
const SPANS_LIMIT_MS = 30_000;

interface Run {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

const engine: { env: NodeJS.ProcessEnv; daemon: ChildProcess | undefined } = {
  env: { ...process.env, COMPOSE_PROJECT_NAME: PROJECT },
  daemon: undefined,
};

function run(command: string, args: readonly string[], limitMs = 60_000): Run {
  const result = spawnSync(command, args, {
    cwd: ROOT,
    env: engine.env,
    encoding: 'utf8',
    timeout: limitMs,
    maxBuffer: 1 << 26,
  });
  return {
    status: result.status ?? 1,
    stdout: result.stdout ?? '',
    stderr: (result.stderr ?? '') + (result.error?.message ?? ''),
  };
}

function demand(command: string, args: readonly string[], limitMs?: number): string {
  const { status, stdout, stderr } = run(command, args, limitMs);
  if (status !== 0)
    throw new Error(
      `${command} ${args.join(' ')} failed (${String(status)}):\n${(stderr || stdout).trim().split('\n').slice(-15).join('\n')}`,
    );
  return stdout;
}

function compose(args: readonly string[], limitMs?: number): string {
  return demand('docker-compose', ['--env-file', 'deploy/local-images.env', ...args], limitMs);
}

/** Runs a command on the user's machine of the deployment. */
function asUser(args: readonly string[]): Run {
  return run('docker-compose', ['--env-file', 'deploy/local-images.env', 'run', '--rm', '-T', 'user', ...args], 60_000);
}

function say(text: string): void {
  process.stdout.write(`compose: ${text}\n`);
}

function installMissing(): void {
  const packages = [
    ['dockerd', 'docker.io'],
    ['docker-compose', 'docker-compose'],
    ['debootstrap', 'debootstrap'],
    ['iptables', 'iptables'],
  ] as const;
  const missing = packages
    .filter(([tool]) => run('sh', ['-c', `command -v ${tool}`]).status !== 0)
    .map(([, name]) => name);
  if (missing.length === 0) return;
  if (process.getuid?.() !== 0)
    throw new Error(`missing ${missing.join(', ')}: run 'apt-get install ${missing.join(' ')}' as root`);
  say(`installing ${missing.join(', ')} with apt-get`);
  demand('apt-get', ['update', '-qq'], 120_000);
  demand(
    'env',
    ['DEBIAN_FRONTEND=noninteractive', 'apt-get', 'install', '-y', '-qq', '--no-install-recommends', ...missing],
    600_000,
  );
}

async function startEngine(): Promise<void> {
  if (run('docker', ['info']).status === 0) return;
  const home = join(tmpdir(), 'xylem-compose-check');
  mkdirSync(home, { recursive: true });
  const socket = `unix://${join(home, 'docker.sock')}`;
  // A client of another origin may come first in PATH; Debian's belongs to the engine.
  engine.env = { ...engine.env, DOCKER_HOST: socket, PATH: `/usr/bin:/usr/sbin:${engine.env['PATH'] ?? ''}` };
  say('starting a Docker engine');
  engine.daemon = spawn(
    'dockerd',
    [
      '--data-root',
      join(home, 'data'),
      '--exec-root',
      join(home, 'exec'),
      '--pidfile',
      join(home, 'pid'),
      '-H',
      socket,
    ],
    { stdio: 'ignore', env: engine.env },
  );
  const deadline = performance.now() + 30_000;
  while (run('docker', ['info']).status !== 0) {
    if (performance.now() > deadline) throw new Error('the Docker engine did not answer within 30 s');
    await delay(500);
  }
}

/** Asks until `check` answers; the last error tells what was missing. */
async function until<T>(
  what: string,
  limitMs: number,
  check: () => T | undefined | Promise<T | undefined>,
): Promise<T> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const answer = await check();
    if (answer !== undefined) return answer;
    if (performance.now() > deadline) throw new Error(`${what}: not within ${String(limitMs / 1000)} s`);
    await delay(1_000);
  }
}

function expectOutput(what: string, args: readonly string[], wanted: string): void {
  const { status, stdout, stderr } = asUser(args);
  if (status !== 0 || stdout.trim() !== wanted) {
    throw new Error(`${what}: wanted '${wanted}', got status ${String(status)}, '${stdout.trim()}' ${stderr.trim()}`);
  }
  say(`${what}: ${wanted}`);
}

/** The root cluster must have no way to a node of its own. */
function expectIsolation(proxy: string, node: string): void {
  const ids = compose(['ps', '-q', node]).trim();
  const address = demand('docker', [
    'inspect',
    '-f',
    '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}',
    ids,
  ]).trim();
  const script = `const s=require('net').connect({host:'${address}',port:22,timeout:3000});s.on('connect',()=>process.exit(0));s.on('timeout',()=>process.exit(7));s.on('error',()=>process.exit(7))`;
  const { status } = run('docker-compose', ['exec', '-T', proxy, 'node', '-e', script]);
  if (status !== 7)
    throw new Error(
      `${proxy} must not reach ${node} (${address}) directly, but the probe ended with ${String(status)}`,
    );
  say(`${proxy} cannot reach ${node} (${address}) by itself`);
}

interface Span {
  readonly service: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
}

const WANTED_SPANS = ['xylem.front_door', 'xylem.tunnel.dial', 'xylem.node.connect'] as const;

async function expectTrace(): Promise<void> {
  const names = await until('one trace from front door to node', SPANS_LIMIT_MS, async () => {
    const text = await fetch('http://127.0.0.1:16686/spans').then((response) => response.text());
    const spans = text
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Span);
    const traces = Map.groupBy(spans, (span) => span.traceId);
    const whole = [...traces.values()].find((trace) =>
      WANTED_SPANS.every((name) => trace.some((span) => span.name === name)),
    );
    if (
      whole === undefined ||
      !whole.every((span) => !span.parentSpanId || whole.some(({ spanId }) => spanId === span.parentSpanId))
    )
      return undefined;
    return whole.map((span) => `${span.service}/${span.name}`);
  });
  say(`one trace: ${names.join(' > ')}`);
}

/** What `xylem status --json` prints, as far as it matters here. */
interface Matrix {
  readonly complete: boolean;
  readonly proxies: readonly unknown[];
  readonly leaves: readonly unknown[];
}

function allClaimed(): true | undefined {
  const { status, stdout } = asUser(['xylem', 'status', '--json']);
  if (status !== 0) return undefined;
  const { complete, proxies, leaves } = JSON.parse(stdout) as Matrix;
  return complete && proxies.length === 3 && leaves.length === 2 ? true : undefined;
}

async function proveDeployment(): Promise<void> {
  installMissing();
  await startEngine();
  demand('sh', ['deploy/local-images.sh'], BUILD_LIMIT_MS);
  say('building the images');
  compose(['--profile', 'tools', 'build', '-q'], BUILD_LIMIT_MS);
  compose(['up', '-d'], 180_000);
  const started = performance.now();
  await until('every root proxy claimed by both leaf clusters', READY_LIMIT_MS, allClaimed);
  say(
    `3 root proxies claimed by 2 leaf clusters within ${((performance.now() - started) / 1000).toFixed(1)} s of the containers being up`,
  );
  expectIsolation('p1', 'berlin-web');
  expectOutput(
    'curl through the root',
    ['curl', '-sS', '-p', '-x', 'https://xylem.internal:7280', 'http://web.berlin/'],
    'Hello from berlin-web',
  );
  expectOutput('ssh through the root', ['ssh', 'web.berlin', 'hostname'], 'berlin-web');
  expectOutput('ssh to the other leaf cluster', ['ssh', 'db.tokyo', 'hostname'], 'tokyo-db');
  await expectTrace();
  await expectSecondStarts();
}

/** Identities stay where a container goes, tokens are handed out where one is gone, and nobody has to do anything for it. */
async function expectSecondStarts(): Promise<void> {
  const starts: readonly (readonly [string, () => void])[] = [
    ['up a second time', () => compose(['up', '-d'], 180_000)],
    ['one root proxy recreated', () => compose(['up', '-d', '--force-recreate', 'p1'], 180_000)],
    ['a root proxy and an agent without what they had', startEmpty],
    ['all containers down, and up again', startAnew],
  ];
  for (const [what, start] of starts) {
    start();
    await until(what, READY_LIMIT_MS, allClaimed);
    expectOutput(what, ['ssh', 'web.berlin', 'hostname'], 'berlin-web');
  }
}

function startEmpty(): void {
  const gone = ['p2', 'tokyo-a'];
  compose(['rm', '-sf', ...gone], 60_000);
  demand('docker', ['volume', 'rm', ...gone.map((name) => `${PROJECT}_${name}`)]);
  compose(['up', '-d'], 180_000);
}

function startAnew(): void {
  compose(['down', '--remove-orphans', '-t', '10'], 180_000);
  compose(['up', '-d'], 180_000);
}

async function main(): Promise<void> {
  let failed = false;
  try {
    await proveDeployment();
    say('all passed');
  } catch (error) {
    failed = true;
    process.stdout.write(run('docker-compose', ['logs', '--tail=20']).stdout);
    say(error instanceof Error ? error.message : String(error));
  } finally {
    if (!process.argv.includes('--keep')) {
      run('docker-compose', ['down', '-v', '--remove-orphans', '-t', '5'], 180_000);
      engine.daemon?.kill('SIGTERM');
      const socket = join(tmpdir(), 'xylem-compose-check', 'docker.sock');
      if (existsSync(socket)) rmSync(socket, { force: true });
    }
  }
  process.exitCode = failed ? 1 : 0;
}

await main();
