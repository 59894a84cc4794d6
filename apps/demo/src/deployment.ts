import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { childEnvironment } from './config.ts';
import type { HostTools } from './config.ts';
import { Files } from './files.ts';
import type { PartFolder } from './files.ts';
import { AGENTS, DOMAIN, DRAIN, FIRST_PROXIES, POLICY, PORT } from './layout.ts';
import type { Leaf } from './layout.ts';
import { Nodes } from './nodes.ts';
import { XYLEM_BIN, appMain, ownProgram } from './paths.ts';
import { Ports } from './ports.ts';
import { Service } from './processes/service.ts';
import type { LogLine } from './processes/service.ts';
import { waitPrinted, waitReady } from './readiness.ts';

export interface DeploymentOptions {
  readonly directory: string;
  /** Take well-known ports where they are free. */
  readonly preferDefaults: boolean;
  readonly tools: HostTools;
  readonly onLine: (line: LogLine) => void;
  /** A part is ready, during `start`. */
  readonly onReady?: (name: string) => void;
}

/** A root proxy: a process that comes and goes, with addresses that stay. */
export interface ProxyPart {
  readonly id: string;
  readonly service: Service;
  readonly addresses: ProxyAddresses;
}

export interface ProxyAddresses {
  readonly tunnel: string;
  readonly peer: string;
  readonly access: string;
  readonly frontDoor: string;
  readonly ops: string;
}

/** The balancer's addresses: where agents and users go. */
export interface Doors {
  readonly tunnel: string;
  readonly access: string;
  readonly frontDoor: string;
}

/** Each ends in a moment by itself; on a machine that is busy with other things it takes seconds to be given that moment. */
const STOP_DEADLINE_MS = 15_000;
const DOORS = ['tunnel', 'access', 'frontDoor'] as const satisfies readonly (keyof Doors)[];
const PROXY_ADDRESSES = ['tunnel', 'peer', 'access', 'frontDoor', 'ops'] as const;

/** A whole deployment as real processes on this machine: starts it, changes it, ends it. */
export class Deployment {
  /** Live and dying root proxies by id. */
  readonly proxies = new Map<string, ProxyPart>();
  readonly doors: Doors;
  readonly nodes: Nodes;
  /** Folder of the identity that people use. */
  readonly user: PartFolder;
  /** `xylem` with all its settings, as a script. */
  readonly xylem: string;
  /** For `ssh -F`; undefined without OpenSSH. */
  readonly sshConfig: string | undefined;
  readonly #options: DeploymentOptions;
  readonly #files: Files;
  readonly #ports: Ports;
  readonly #services = new Set<Service>();
  readonly #proxyParts = new Map<string, { readonly folder: PartFolder; readonly addresses: ProxyAddresses }>();
  /** Root proxies and agents. */
  readonly #leaving: Service[] = [];
  #registry = '';
  #balancer: Service | undefined;
  #stopping = false;

  private constructor(
    options: DeploymentOptions,
    files: Files,
    ports: Ports,
    doors: Doors,
    user: PartFolder,
    nodes: Nodes,
  ) {
    this.#options = options;
    this.#files = files;
    this.#ports = ports;
    this.doors = doors;
    this.user = user;
    this.nodes = nodes;
    this.xylem = writeClient(files, doors, user);
    this.sshConfig = nodes.writeSshClient(files, this.xylem);
  }

  /** Writes certificates and configurations; starts nothing. */
  static async prepare(options: DeploymentOptions): Promise<Deployment> {
    const files = await Files.create(options.directory, DOMAIN);
    const ports = new Ports(options.preferDefaults);
    const doors = {
      tunnel: await ports.address(PORT.balancerTunnel),
      access: await ports.address(PORT.balancerAccess),
      frontDoor: await ports.address(PORT.balancerFrontDoor),
    };
    const user = await files.part('you', { kind: 'user', user: 'you' });
    const nodes = await Nodes.prepare(files, ports, options.tools);
    return new Deployment(options, files, ports, doors, user, nodes);
  }

  /** Starts everything; resolves when every service says that it is ready. Rejects with a ServiceFailure. */
  async start(): Promise<void> {
    await Promise.all([this.#startNodes(), this.#startBalancer(), this.#startRegistry()]);
    await Promise.all(FIRST_PROXIES.map((id) => this.startProxy(id)));
    await Promise.all(AGENTS.map((agent, index) => this.#startAgent(agent.leaf, agent.agent, index)));
  }

  /** Starts a root proxy, new or again, and puts it behind the balancer. */
  async startProxy(id: string): Promise<ProxyPart> {
    const { folder, addresses } = this.#proxyParts.get(id) ?? (await this.#prepareProxy(id));
    this.#proxyParts.set(id, { folder, addresses });
    const service = this.#startApp(id, 'root-proxy', folder);
    this.#leaving.push(service);
    await waitReady(service, addresses.ops);
    this.#options.onReady?.(id);
    const part = { id, service, addresses };
    this.proxies.set(id, part);
    this.#tellBalancer();
    void service.exited.then(() => {
      if (this.proxies.get(id)?.service !== service) return;
      this.proxies.delete(id);
      this.#tellBalancer();
    });
    return part;
  }

  /** Announces the end of a root proxy: the balancer sends it nothing more, open connections finish. */
  drainProxy(part: ProxyPart): void {
    this.proxies.delete(part.id);
    this.#tellBalancer();
    part.service.kill('SIGTERM');
  }

  /** The id of a root proxy that was never used here. */
  newProxyId(): string {
    let number = FIRST_PROXIES.length + 1;
    while (this.#proxyParts.has(`p${number}`)) number += 1;
    return `p${number}`;
  }

  /** Every process that was started, in the order of its start. */
  services(): readonly Service[] {
    return [...this.#services];
  }

  get stopping(): boolean {
    return this.#stopping;
  }

  /** Ends everything; resolves with the processes that had to be killed. Idempotent. */
  async stop(): Promise<readonly string[]> {
    this.#stopping = true;
    const killed: string[] = [];
    // Root proxies say goodbye to agents and registry: those who are told go last.
    for (const group of [this.#leaving, [...this.#services]]) {
      const running = group.filter((service) => service.exit === undefined);
      const exits = await Promise.all(running.map((service) => service.stop(STOP_DEADLINE_MS)));
      killed.push(...running.filter((_, index) => exits[index]?.signal === 'SIGKILL').map(({ name }) => name));
    }
    return killed;
  }

  async #startNodes(): Promise<void> {
    await Promise.all(
      this.nodes.programs().map(async ({ name, args, announces }) => {
        const { service, printed } = this.#spawn(name, args, this.#files.plain(name.replaceAll('/', '-')).log);
        if (announces) await waitPrinted(service, printed);
        this.#options.onReady?.(name);
      }),
    );
  }

  async #startBalancer(): Promise<void> {
    const listens = DOORS.flatMap((door) => ['--listen', `${this.doors[door]}=${door}`]);
    const args = [ownProgram('processes/balancer.ts'), ...listens];
    const { service, printed } = this.#spawn('balancer', args, this.#files.plain('balancer').log);
    this.#balancer = service;
    await waitPrinted(service, printed);
    this.#options.onReady?.('balancer');
  }

  #tellBalancer(): void {
    const parts = [...this.proxies.values()];
    const groups = DOORS.map((door) => [door, parts.map(({ addresses }) => addresses[door])] as const);
    this.#balancer?.tell(JSON.stringify(Object.fromEntries(groups)));
  }

  async #startRegistry(): Promise<void> {
    const folder = await this.#files.part('registry', { kind: 'registry', registry: 'r1' });
    const dataDir = join(folder.path, 'store');
    // Each demo starts from nothing: members of the last one would be waited for until their leases lapse.
    rmSync(dataDir, { recursive: true, force: true });
    this.#registry = await this.#ports.address(PORT.registry);
    const ops = await this.#ports.address(PORT.registryOps);
    this.#files.writeConfig(folder, {
      id: 'r1',
      domain: DOMAIN,
      listen: this.#registry,
      store: { kind: 'embedded', dataDir, listen: await this.#ports.address(PORT.store) },
      policy: { file: this.#files.writeText('policy.yaml', POLICY) },
      tls: folder.tls,
      ops: { listen: ops },
    });
    await waitReady(this.#startApp('registry', 'registry', folder), ops);
    this.#options.onReady?.('registry');
  }

  async #prepareProxy(id: string): Promise<{ folder: PartFolder; addresses: ProxyAddresses }> {
    const folder = await this.#files.part(id, { kind: 'proxy', proxy: id });
    const base = PORT.proxyBase + 10 * Number(id.slice(1));
    const [tunnel = '', peer = '', access = '', frontDoor = '', ops = ''] = await Promise.all(
      PROXY_ADDRESSES.map((_, index) => this.#ports.address(base + index)),
    );
    this.#files.writeConfig(folder, {
      id,
      domain: DOMAIN,
      registries: [this.#registry],
      tunnel: { listen: tunnel },
      peer: { listen: peer },
      access: { listen: access },
      frontDoor: { listen: frontDoor },
      drain: DRAIN,
      tls: folder.tls,
      ops: { listen: ops },
    });
    return { folder, addresses: { tunnel, peer, access, frontDoor, ops } };
  }

  async #startAgent(leaf: Leaf, agent: string, index: number): Promise<void> {
    const folder = await this.#files.part(`${leaf}-${agent}`, { kind: 'agent', leaf, agent });
    const ops = await this.#ports.address(PORT.agentOpsBase + index);
    this.#files.writeConfig(folder, {
      leaf,
      agent,
      domain: DOMAIN,
      root: this.doors.tunnel,
      nodes: this.nodes.listOf(leaf),
      tls: folder.tls,
      ops: { listen: ops },
    });
    const service = this.#startApp(`${leaf}/${agent}`, 'leaf-agent', folder);
    this.#leaving.push(service);
    await waitReady(service, ops);
    this.#options.onReady?.(service.name);
  }

  #startApp(name: string, app: string, folder: PartFolder): Service {
    return this.#spawn(name, [appMain(app), '--config', folder.config, '--exit-on-stdin-end'], folder.log).service;
  }

  #spawn(
    name: string,
    args: readonly string[],
    logFile: string,
  ): { readonly service: Service; readonly printed: Promise<void> } {
    if (this.#stopping) throw new Error(`${name} is not started any more: everything ends`);
    const { promise: printed, resolve } = Promise.withResolvers<void>();
    const spec = { name, command: process.execPath, args, env: childEnvironment(), logFile };
    const service = new Service(spec, (line) => {
      if (line.event === 'service.ready') resolve();
      this.#options.onLine(line);
    });
    this.#services.add(service);
    return { service, printed };
  }
}

/** client.yaml, and a script that runs `xylem` with it from anywhere. */
function writeClient(files: Files, doors: Doors, user: PartFolder): string {
  const config = files.plain('you').config;
  files.writeConfig({ ...user, config }, { root: [doors.access], identityDir: user.path, domain: DOMAIN });
  const quoted = [process.execPath, XYLEM_BIN].map((text) => `'${text.replaceAll("'", "'\\''")}'`).join(' ');
  return files.writeScript('xylem', `#!/bin/sh\nXYLEM_CONFIG='${config}' exec ${quoted} "$@"\n`);
}
