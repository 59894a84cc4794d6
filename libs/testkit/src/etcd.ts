import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts } from './ports.ts';
import { guardChild, programPath, waitForExit, waitStopped } from './process.ts';

/** Settings of one etcd process. Times in milliseconds. */
export interface EtcdOptions {
  /** Default 10 for one etcd, 50 for a cluster. */
  readonly heartbeatIntervalMs?: number;
  /** Default 100 for one etcd, 500 for a cluster, so that a busy machine does not lose its leader. */
  readonly electionTimeoutMs?: number;
  /** Sync to the disk before answering, as in production. Default false: tests are faster, and only a power cut would tell. */
  readonly durable?: boolean;
  /** Further command-line flags, e.g. `--quota-backend-bytes=16777216`. */
  readonly flags?: readonly string[];
  /** How long a start may take until /health says true. Default 15_000. */
  readonly startTimeoutMs?: number;
}

/** A real etcd on 127.0.0.1 with its data in a temporary folder. It dies with this process, however this process ends. */
export interface EtcdProcess {
  /** URL, e.g. `http://127.0.0.1:40001`; the same after `restart()`. */
  readonly endpoint: string;
  /** host:port of the same. */
  readonly address: string;
  readonly port: number;
  /** SIGKILL; resolves when the process is gone. Idempotent. */
  kill(): Promise<void>;
  /** SIGSTOP: connections stay open and nothing answers from here on. */
  stop(): void;
  /** SIGCONT. */
  resume(): void;
  /** Kills it if it runs, then starts it with the same data and port and waits until it is ready. */
  restart(): Promise<void>;
  /** Kills it and removes its folder. Idempotent. */
  dispose(): Promise<void>;
}

export interface EtcdCluster {
  readonly endpoints: readonly string[];
  readonly members: readonly EtcdProcess[];
  dispose(): Promise<void>;
}

const DEBIAN_PACKAGE = { etcd: 'etcd-server', etcdctl: 'etcd-client' } as const;
const DEFAULTS = { durable: false, flags: [], startTimeoutMs: 15_000 };
const START_ATTEMPTS = 5;
const HEALTH_ATTEMPT_MS = 500;
const HEALTH_PAUSE_MS = 15;
const LOG_TAIL_LINES = 8;

/** Another process took a port between choosing and binding it. */
class PortTakenError extends Error {}

interface MemberPlan {
  readonly name: string;
  readonly dir: string;
  readonly port: number;
  readonly peerPort: number;
  readonly initialCluster: string;
  readonly options: Required<EtcdOptions>;
}

/** Starts one etcd and waits until it serves. Rejects with the tail of its log when it does not. */
export async function startEtcd(options: EtcdOptions = {}): Promise<EtcdProcess> {
  const cluster = await startWithRetry(1, { heartbeatIntervalMs: 10, electionTimeoutMs: 100, ...options });
  const [member] = cluster;
  if (member === undefined) throw new Error('no etcd was started');
  return member;
}

/** Starts `size` etcds that form one cluster and waits until each of them sees a leader. */
export async function startEtcdCluster(size: number, options: EtcdOptions = {}): Promise<EtcdCluster> {
  const members = await startWithRetry(size, { heartbeatIntervalMs: 50, electionTimeoutMs: 500, ...options });
  return {
    members,
    endpoints: members.map((member) => member.endpoint),
    dispose: async () => {
      await Promise.all(members.map((member) => member.dispose()));
    },
  };
}

async function startWithRetry(size: number, options: EtcdOptions): Promise<readonly EtcdProcess[]> {
  const settings = { heartbeatIntervalMs: 10, electionTimeoutMs: 100, ...DEFAULTS, ...options };
  for (let attempt = 1; ; attempt += 1) {
    const members = (await planMembers(size, settings)).map((plan) => new Member(plan));
    try {
      await Promise.all(members.map((member) => member.restart()));
      return members;
    } catch (error) {
      await Promise.all(members.map((member) => member.dispose()));
      if (!(error instanceof PortTakenError) || attempt === START_ATTEMPTS) throw error;
    }
  }
}

async function planMembers(size: number, options: Required<EtcdOptions>): Promise<readonly MemberPlan[]> {
  const ports = await freePorts(2 * size);
  const drafts = [];
  for (let index = 0; index < size; index += 1) {
    const port = ports[2 * index];
    const peerPort = ports[2 * index + 1];
    if (port === undefined || peerPort === undefined) throw new Error('fewer free ports than asked for');
    const dir = await mkdtemp(join(tmpdir(), 'xylem-etcd-'));
    drafts.push({ name: `e${index + 1}`, dir, port, peerPort, options });
  }
  const initialCluster = drafts.map((draft) => `${draft.name}=http://127.0.0.1:${draft.peerPort}`).join(',');
  return drafts.map((draft) => ({ ...draft, initialCluster }));
}

class Member implements EtcdProcess {
  readonly endpoint: string;
  readonly address: string;
  readonly port: number;
  readonly #plan: MemberPlan;
  readonly #logPath: string;
  #child: ChildProcess | undefined;

  constructor(plan: MemberPlan) {
    this.#plan = plan;
    this.#logPath = join(plan.dir, 'etcd.log');
    this.port = plan.port;
    this.address = `127.0.0.1:${plan.port}`;
    this.endpoint = `http://${this.address}`;
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined) return;
    child.kill('SIGKILL');
    await waitForExit(child);
  }

  stop(): void {
    const pid = this.#child?.pid;
    if (pid === undefined) return;
    this.#child?.kill('SIGSTOP');
    waitStopped(pid);
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
  }

  async restart(): Promise<void> {
    await this.kill();
    const program = programPath('etcd', DEBIAN_PACKAGE.etcd);
    const log = openSync(this.#logPath, 'w');
    try {
      const child = spawn(program, flags(this.#plan, program), { stdio: ['ignore', log, log], cwd: this.#plan.dir });
      guardChild(child, this.#plan.dir);
      this.#child = child;
      await this.#ready(child);
    } finally {
      closeSync(log);
    }
  }

  async dispose(): Promise<void> {
    await this.kill();
    await rm(this.#plan.dir, { recursive: true, force: true });
  }

  async #ready(child: ChildProcess): Promise<void> {
    const deadline = performance.now() + this.#plan.options.startTimeoutMs;
    while (performance.now() < deadline) {
      if (child.exitCode !== null || child.signalCode !== null) throw this.#failure('etcd ended while starting');
      if (await healthy(this.endpoint)) return;
      await new Promise((resolve) => setTimeout(resolve, HEALTH_PAUSE_MS));
    }
    throw this.#failure(`etcd at ${this.endpoint} was not ready within ${this.#plan.options.startTimeoutMs} ms`);
  }

  #failure(what: string): Error {
    const log = readFileSync(this.#logPath, 'utf8').trimEnd();
    const text = `${what}; end of its log:\n${log.split('\n').slice(-LOG_TAIL_LINES).join('\n')}`;
    return log.includes('address already in use') ? new PortTakenError(text) : new Error(text);
  }
}

async function healthy(endpoint: string): Promise<boolean> {
  try {
    const response = await fetch(`${endpoint}/health`, { signal: AbortSignal.timeout(HEALTH_ATTEMPT_MS) });
    return (await response.text()).includes('"health":"true"');
  } catch {
    return false;
  }
}

function flags(plan: MemberPlan, program: string): readonly string[] {
  const clientUrl = `http://127.0.0.1:${plan.port}`;
  const peerUrl = `http://127.0.0.1:${plan.peerPort}`;
  return [
    `--name=${plan.name}`,
    `--data-dir=${join(plan.dir, 'data')}`,
    `--listen-client-urls=${clientUrl}`,
    `--advertise-client-urls=${clientUrl}`,
    `--listen-peer-urls=${peerUrl}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    `--initial-cluster=${plan.initialCluster}`,
    `--heartbeat-interval=${plan.options.heartbeatIntervalMs}`,
    `--election-timeout=${plan.options.electionTimeoutMs}`,
    '--logger=zap',
    '--log-level=warn',
    ...(!plan.options.durable && knowsNoFsync(program) ? ['--unsafe-no-fsync'] : []),
    ...plan.options.flags,
  ];
}

let noFsync: boolean | undefined;

/** The flag came during 3.4 and is not in its help. */
function knowsNoFsync(program: string): boolean {
  noFsync ??= spawnSync(program, ['--unsafe-no-fsync', '--version'], { stdio: 'ignore' }).status === 0;
  return noFsync;
}

/** What one etcdctl command printed. */
export interface EtcdctlResult {
  readonly stdout: string;
  readonly stderr: string;
  /** Exit status; 124 when it was ended by the deadline. */
  readonly code: number;
}

const ETCDCTL_DEADLINE_MS = 10_000;
const TIMED_OUT = 124;

/** Runs real etcdctl (API 3) against a URL or host:port, with `stdin` as its whole input, for at most 10 s. */
export async function etcdctl(endpoint: string, args: readonly string[], stdin = ''): Promise<EtcdctlResult> {
  const child = startEtcdctl(endpoint, args);
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdin.on('error', () => undefined); // it may end without reading
  child.stdin.end(stdin);
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    child.kill('SIGKILL');
  }, ETCDCTL_DEADLINE_MS);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  clearTimeout(timer);
  return { stdout, stderr, code: timedOut ? TIMED_OUT : (code ?? 1) };
}

/** etcdctl 3.4 puts the URL of a plaintext endpoint into `:authority` for `endpoint status`, which servers other than Go's refuse. */
const PLAINTEXT = 'http://';

/** Starts an etcdctl that goes on (watch, lease keep-alive); the caller ends it. It dies with this process. */
export function startEtcdctl(endpoint: string, args: readonly string[]) {
  const program = programPath('etcdctl', DEBIAN_PACKAGE.etcdctl);
  const address = endpoint.replaceAll(PLAINTEXT, '');
  const child = spawn(program, [`--endpoints=${address}`, ...args], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, ETCDCTL_API: '3' },
  });
  guardChild(child);
  return child;
}
