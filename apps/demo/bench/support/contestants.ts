import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { childEnvironment, findTools } from '../../src/config.ts';
import { Files } from '../../src/files.ts';
import type { PartFolder } from '../../src/files.ts';
import { DOMAIN, POLICY } from '../../src/layout.ts';
import { ownProgram, REPOSITORY } from '../../src/paths.ts';
import { Ports } from '../../src/ports.ts';
import { prepareSshd } from '../../src/ssh.ts';
import { LoadConnection } from './load.ts';
import type { Entrance } from './load.ts';

/** One way from this machine to the node. */
export interface Contestant {
  readonly name: string;
  readonly entrance: Entrance;
  /** Whose processor time counts, by role. */
  readonly processes: readonly { readonly role: string; readonly pid: number }[];
}

interface Checkout {
  readonly name: string;
  /** A checkout of this repository, to compare two states of it within one run. */
  readonly folder: string;
  /** Arguments of Node for root proxy and agent, such as `--cpu-prof`. */
  readonly nodeArgs: readonly string[];
}

const READY_MS = 30_000;
const POLL_MS = 100;
const NODE = 'bench';
const LEAF = 'berlin';

/** Starts contestants, all before the same node, and ends their processes. */
export class Contest {
  readonly #files: Files;
  readonly #ports = new Ports(false);
  readonly #children: ChildProcess[] = [];
  readonly #delayMs: number;
  #nodePort = 0;

  private constructor(files: Files, delayMs: number) {
    this.#files = files;
    this.#delayMs = delayMs;
  }

  /** @param delayMs Added each way between the two ends of a tunnel. */
  static async open(folder: string, delayMs: number): Promise<Contest> {
    const contest = new Contest(await Files.create(folder, DOMAIN), delayMs);
    contest.#nodePort = await contest.#program('node.ts', []).then(({ port }) => port);
    return contest;
  }

  /** Two plain relays, one after the other. */
  async relay(): Promise<Contestant> {
    const second = await this.#program('relay.ts', [String(this.#nodePort)]);
    const first = await this.#program('relay.ts', [String(await this.#far(second.port))]);
    const processes = [
      { role: 'first', pid: first.pid },
      { role: 'second', pid: second.pid },
    ];
    return { name: 'relay', entrance: { port: first.port, authority: undefined }, processes };
  }

  /** `ssh -R`: an sshd in the place of the root proxy, and a client in that of the agent. */
  async ssh(cipher: string | undefined): Promise<Contestant> {
    const name = cipher === undefined ? 'ssh' : `ssh-${cipher.split('@')[0]}`;
    const tools = findTools();
    const address = await this.#ports.address(0);
    const sshd = await prepareSshd(tools, this.#files.plain('ssh'), this.#files, address);
    if (sshd === undefined || tools.ssh === undefined) throw new Error('OpenSSH is not installed');
    const server = this.#start(name, sshd.sshd, ['-D', '-e', '-f', sshd.configFile]);
    const port = portOf(await this.#ports.address(0));
    await this.#listening(portOf(address));
    const args = ['-N', '-R', `127.0.0.1:${port}:127.0.0.1:${this.#nodePort}`, '-i', sshd.userKey];
    const options = [
      'StrictHostKeyChecking=no',
      'UserKnownHostsFile=/dev/null',
      'ExitOnForwardFailure=yes',
      ...(cipher === undefined ? [] : [`Ciphers=${cipher}`]),
    ].flatMap((option) => ['-o', option]);
    const way = await this.#far(portOf(address));
    const client = this.#start(name, tools.ssh, ['-F', 'none', ...args, ...options, '-p', String(way), '127.0.0.1']);
    const entrance = { port, authority: undefined };
    await this.#listening(port);
    const processes = [
      { role: 'sshd', pid: server.pid ?? 0 },
      { role: 'ssh', pid: client.pid ?? 0 },
    ];
    return { name, entrance, processes };
  }

  /** Registry, root proxy and agent, each a process, without a balancer. */
  async chain({ name, folder, nodeArgs }: Checkout): Promise<Contestant> {
    const [registry = '', store = '', tunnel = '', peer = '', access = '', frontDoor = ''] = await Promise.all(
      Array.from({ length: 6 }, () => this.#ports.address(0)),
    );
    const app = (part: PartFolder, of: string, args: readonly string[] = []): ChildProcess => {
      const main = join(folder, 'apps', of, 'src', 'main.ts');
      return this.#start(part.path, process.execPath, [...args, main, '--config', part.config, '--exit-on-stdin-end']);
    };
    const r1 = await this.#part(
      `${name}-r1`,
      { kind: 'registry', registry: 'r1' },
      {
        id: 'r1',
        listen: registry,
        store: { kind: 'embedded', dataDir: join(this.#files.root, `${name}-store`), listen: store },
        policy: { file: this.#files.writeText('policy.yaml', POLICY) },
      },
    );
    app(r1, 'registry');
    const p1 = await this.#part(
      `${name}-p1`,
      { kind: 'proxy', proxy: 'p1' },
      {
        id: 'p1',
        registries: [registry],
        tunnel: { listen: tunnel },
        peer: { listen: peer },
        access: { listen: access },
        frontDoor: { listen: frontDoor },
        limits: LIMITS,
      },
    );
    const proxy = app(p1, 'root-proxy', nodeArgs);
    await this.#listening(portOf(tunnel));
    const a1 = await this.#part(
      `${name}-a1`,
      { kind: 'agent', leaf: LEAF, agent: 'a1' },
      {
        leaf: LEAF,
        agent: 'a1',
        root: `127.0.0.1:${await this.#far(portOf(tunnel))}`,
        nodes: [{ name: NODE, ports: [{ port: 80, address: `127.0.0.1:${this.#nodePort}` }] }],
      },
    );
    const agent = app(a1, 'leaf-agent', nodeArgs);
    const entrance = { port: portOf(frontDoor), authority: `${NODE}.${LEAF}:80` };
    await this.#reached(entrance);
    const processes = [
      { role: 'root-proxy', pid: proxy.pid ?? 0 },
      { role: 'leaf-agent', pid: agent.pid ?? 0 },
    ];
    return { name, entrance, processes };
  }

  /** Ends everything; with time for a profile to be written. */
  async close(): Promise<void> {
    await Promise.all(
      this.#children.map(async (child) => {
        if (child.exitCode !== null || child.signalCode !== null) return;
        const exited = once(child, 'exit');
        child.stdin?.end();
        const timers = [setTimeout(() => child.kill('SIGTERM'), 500), setTimeout(() => child.kill('SIGKILL'), 10_000)];
        await exited;
        timers.forEach(clearTimeout);
      }),
    );
  }

  /** The port itself, or one that leads to it over a long way. */
  async #far(port: number): Promise<number> {
    if (this.#delayMs === 0) return port;
    return (await this.#program('relay.ts', [String(port), String(this.#delayMs)])).port;
  }

  async #part(
    name: string,
    identity: Parameters<Files['part']>[1],
    config: Readonly<Record<string, unknown>>,
  ): Promise<PartFolder> {
    const folder = await this.#files.part(name, identity);
    const ops = { listen: await this.#ports.address(0) };
    this.#files.writeConfig(folder, { domain: DOMAIN, tls: folder.tls, ops, ...config });
    return folder;
  }

  async #program(name: string, args: readonly string[]): Promise<{ readonly port: number; readonly pid: number }> {
    const child = spawn(process.execPath, [ownProgram(`../bench/processes/${name}`), ...args], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#children.push(child);
    const [port]: unknown[] = await once(child.stdout, 'data');
    return { port: Number(String(port)), pid: child.pid ?? 0 };
  }

  /** `name`: whose log it writes, when it is a part's folder. */
  #start(name: string, command: string, args: readonly string[]): ChildProcess {
    const log = openSync(name.startsWith('/') ? join(name, 'log.jsonl') : join(this.#files.root, `${name}.log`), 'a');
    const child = spawn(command, args, { stdio: ['pipe', log, log], env: childEnvironment() });
    this.#children.push(child);
    return child;
  }

  async #listening(port: number): Promise<void> {
    await this.#reached({ port, authority: undefined });
  }

  async #reached(entrance: Entrance): Promise<void> {
    const deadline = performance.now() + READY_MS;
    for (;;) {
      try {
        (await LoadConnection.open(entrance)).close();
        return;
      } catch (error) {
        if (performance.now() > deadline) throw new Error(`not ready within ${READY_MS} ms`, { cause: error });
        await delay(POLL_MS);
      }
    }
  }
}

export interface Selection {
  /** Of relay, ssh, ssh-aes128-gcm, xylem. */
  readonly only: readonly string[];
  /** `name=/path/of/another/checkout --node-arg ...` */
  readonly against: readonly string[];
  readonly nodeArgs: readonly string[];
}

/** Starts those that were asked for. */
export async function contestantsOf(contest: Contest, selection: Selection): Promise<readonly Contestant[]> {
  const { only, against, nodeArgs } = selection;
  const contestants: Contestant[] = [];
  if (only.includes('relay')) contestants.push(await contest.relay());
  if (only.includes('ssh')) contestants.push(await contest.ssh(undefined));
  if (only.includes('ssh-aes128-gcm')) contestants.push(await contest.ssh('aes128-gcm@openssh.com'));
  for (const other of against) {
    const at = other.indexOf('=');
    const [folder = '', ...args] = other.slice(at + 1).split(' ');
    contestants.push(await contest.chain({ name: other.slice(0, at), folder, nodeArgs: [...nodeArgs, ...args] }));
  }
  if (only.includes('xylem')) contestants.push(await contest.chain({ name: 'xylem', folder: REPOSITORY, nodeArgs }));
  return contestants;
}

/** Dials as fast as they are answered: what is measured is not the limit. */
const LIMITS = {
  perUser: { dialsPerSecond: 10_000, dialBurst: 10_000 },
  perLeaf: { dialsPerSecond: 10_000, dialBurst: 10_000 },
};

function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(':') + 1));
}
