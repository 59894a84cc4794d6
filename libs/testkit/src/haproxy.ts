import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { freePorts } from './ports.ts';
import { guardChild, programPath, waitForExit } from './process.ts';

/**
 * How connections are spread. `first` sends everything to the first server that is up, `source` everything from one address
 * to one server, `sni` what names `<server>.<domain>` to that server and the rest in turn.
 */
export type HaproxyMode = 'roundrobin' | 'leastconn' | 'source' | 'first' | 'sni';

export interface HaproxyServer {
  /** In `sni` mode the first label of the server name. */
  readonly name: string;
  /** host:port. */
  readonly address: string;
}

export interface HaproxyOptions {
  readonly mode: HaproxyMode;
  /** Needed in `sni` mode. */
  readonly domain?: string;
  readonly servers: readonly HaproxyServer[];
}

/** A real HAProxy on 127.0.0.1 in TCP mode. It dies with this process, however this process ends. */
export interface HaproxyProcess {
  /** host:port; the same after `setServers()`. */
  readonly address: string;
  /** Reloads as an operator would: a new worker takes the new connections, those that are open stay with the old one. */
  setServers(servers: readonly HaproxyServer[]): Promise<void>;
  /** Connections that each server got since the last reload, by its name. */
  sessions(): Promise<ReadonlyMap<string, number>>;
  /** SIGKILL to master and workers: every connection is cut. Idempotent. */
  dispose(): Promise<void>;
}

const DEBIAN_PACKAGE = 'haproxy';
const START_TIMEOUT_MS = 10_000;
const POLL_MS = 20;
const COMMAND_TIMEOUT_MS = 2_000;
const LOG_TAIL_LINES = 8;

/** Starts HAProxy and waits until it takes connections. Rejects with the tail of its log when it does not. */
export async function startHaproxy(options: HaproxyOptions): Promise<HaproxyProcess> {
  const dir = await mkdtemp(join(tmpdir(), 'xylem-haproxy-'));
  const [port] = await freePorts(1);
  if (port === undefined) throw new Error('no free port');
  const haproxy = new Haproxy(dir, port, options);
  try {
    await haproxy.start(options.servers);
    return haproxy;
  } catch (error) {
    await haproxy.dispose();
    throw error;
  }
}

class Haproxy implements HaproxyProcess {
  readonly address: string;
  readonly #dir: string;
  readonly #options: HaproxyOptions;
  #child: ChildProcess | undefined;
  #worker = '';

  constructor(dir: string, port: number, options: HaproxyOptions) {
    this.#dir = dir;
    this.address = `127.0.0.1:${port}`;
    this.#options = options;
  }

  async start(servers: readonly HaproxyServer[]): Promise<void> {
    this.#write(servers);
    const log = openSync(this.#path('log'), 'w');
    try {
      // In a process group of its own, so that workers of earlier configurations end with the master.
      const args = ['-W', '-S', this.#path('master'), '-f', this.#path('haproxy.cfg')];
      const child = spawn(programPath('haproxy', DEBIAN_PACKAGE), args, {
        stdio: ['ignore', log, log],
        detached: true,
      });
      this.#child = child;
      guardChild(child, this.#dir, 'group');
    } finally {
      closeSync(log);
    }
    await this.#newWorker();
    await this.#until('its master did not answer', async () =>
      (await this.#ask('master', 'show proc')).includes('worker'),
    );
  }

  async setServers(servers: readonly HaproxyServer[]): Promise<void> {
    this.#write(servers);
    // Not by SIGUSR2: a master that has just started loses the signal. It cuts the connection instead of answering.
    await this.#ask('master', 'reload').catch(() => '');
    await this.#newWorker();
  }

  async sessions(): Promise<ReadonlyMap<string, number>> {
    const [header = '', ...rows] = (await this.#ask('stats', 'show stat')).split('\n');
    const columns = header.replace(/^# /, '').split(',');
    const [name, total] = [columns.indexOf('svname'), columns.indexOf('stot')];
    const sums = new Map<string, number>();
    for (const row of rows) {
      const cells = row.split(',');
      const server = cells[name] ?? '';
      if (server === '' || server === 'FRONTEND' || server === 'BACKEND') continue;
      sums.set(server, (sums.get(server) ?? 0) + Number(cells[total]));
    }
    return sums;
  }

  async dispose(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child?.pid !== undefined) {
      killGroup(child.pid);
      await waitForExit(child);
    }
    await rm(this.#dir, { recursive: true, force: true });
  }

  #write(servers: readonly HaproxyServer[]): void {
    writeFileSync(this.#path('haproxy.cfg'), configuration(this.address, this.#path('stats'), this.#options, servers));
  }

  /** Waits until a worker that was not there before answers on the statistics socket; it listens by then. */
  async #newWorker(): Promise<void> {
    await this.#until('it did not take its configuration', async () => {
      const pid = /^Pid: (\d+)$/m.exec(await this.#ask('stats', 'show info'))?.[1];
      if (pid === undefined || pid === this.#worker) return false;
      this.#worker = pid;
      return true;
    });
  }

  async #until(problem: string, reached: () => Promise<boolean>): Promise<void> {
    const deadline = performance.now() + START_TIMEOUT_MS;
    while (performance.now() < deadline) {
      if (this.#child === undefined || this.#child.exitCode !== null) throw this.#failure('HAProxy ended');
      if (await reached().catch(() => false)) return;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    throw this.#failure(`HAProxy at ${this.address}: ${problem} within ${START_TIMEOUT_MS} ms`);
  }

  async #ask(socketName: 'stats' | 'master', command: string): Promise<string> {
    const socket = connect(this.#path(socketName));
    socket.setTimeout(COMMAND_TIMEOUT_MS, () => socket.destroy(new Error('HAProxy does not answer')));
    // The end says that there are no more commands: a master would wait for them.
    socket.end(`${command}\n`);
    return text(socket);
  }

  #path(name: string): string {
    return join(this.#dir, name);
  }

  #failure(what: string): Error {
    const lines = readFileSync(this.#path('log'), 'utf8').trimEnd().split('\n');
    return new Error(`${what}; end of its log:\n${lines.slice(-LOG_TAIL_LINES).join('\n')}`);
  }
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

const HEAD = `global
  maxconn 4096
  stats socket 'STATS' mode 600 level admin expose-fd listeners
defaults
  mode tcp
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  timeout tunnel 1h
  retries 3
  option redispatch 1
`;

/** Servers are checked, so that a dead one is passed over as soon as in a real deployment. */
function configuration(
  address: string,
  stats: string,
  { mode, domain }: HaproxyOptions,
  servers: readonly HaproxyServer[],
): string {
  const lines = servers.map(
    ({ name, address: to }) => `server ${name} ${to} check inter 1s fastinter 200ms fall 2 rise 1`,
  );
  const frontend = ['frontend door', `bind ${address}`, 'default_backend any'];
  const backends = [['backend any', `balance ${mode === 'sni' ? 'roundrobin' : mode}`, ...lines]];
  if (mode === 'sni') {
    if (domain === undefined) throw new Error('the domain is needed to route on server names');
    frontend.push('tcp-request inspect-delay 5s', 'tcp-request content accept if { req.ssl_hello_type 1 }');
    for (const [index, { name }] of servers.entries()) {
      frontend.push(`use_backend only_${name} if { req.ssl_sni -i ${name}.${domain} }`);
      backends.push([`backend only_${name}`, ...lines.slice(index, index + 1)]);
    }
  }
  const sections = [frontend, ...backends].map(([title = '', ...rest]) => `${title}\n  ${rest.join('\n  ')}\n`);
  return [HEAD.replace('STATS', stats), ...sections].join('\n');
}
