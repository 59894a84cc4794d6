import { spawn } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import type { Identity } from '@xylem/identity';
import { childEnvironment } from '../../src/config.ts';
import type { ProxyAddresses, ProxyPart } from '../../src/deployment.ts';
import { Files } from '../../src/files.ts';
import type { PartFolder } from '../../src/files.ts';
import { DOMAIN, ECHO_PORT, POLICY } from '../../src/layout.ts';
import { XYLEM_BIN, appMain } from '../../src/paths.ts';
import { Ports } from '../../src/ports.ts';
import { Service } from '../../src/processes/service.ts';
import { waitReady } from '../../src/readiness.ts';
import { Recorder } from './recorder.ts';

export interface RigOptions {
  /** etcd client URLs; none: the registry's embedded store. */
  readonly etcd?: readonly string[];
  readonly leaseTtlMs?: number;
  readonly heartbeatIntervalMs?: number;
  readonly otlpEndpoint?: string;
  /** YAML; default: everybody may dial everything. */
  readonly policy?: string;
  /** Default info. */
  readonly logLevel?: 'debug';
}

export interface AgentChanges {
  readonly steering?: 'sni' | 'off';
  /** host:port of the load balancer. */
  readonly root: string;
  /** host:port of node `echo`. Default: a server of this process. */
  readonly echo?: string;
  /** Where its metrics are. Default: somewhere. */
  readonly ops?: string;
}

interface RegistryPart {
  readonly folder: PartFolder;
  readonly ops: string;
}

const STOP_DEADLINE_MS = 4_000;
const DRAIN = { spreadMs: 300, deadlineMs: 15_000 };
const ADDRESSES = ['tunnel', 'peer', 'access', 'frontDoor', 'ops'] as const satisfies readonly (keyof ProxyAddresses)[];

/**
 * Services as real processes, put together by the test: one registry, root proxies and agents as they come. Their node
 * `echo`, port 7, is a server of this process.
 */
export class Rig {
  readonly recorder = new Recorder();
  readonly user: PartFolder;
  readonly #files: Files;
  readonly #ports = new Ports(false);
  readonly #options: RigOptions;
  readonly #services: Service[] = [];
  readonly #folder: string;
  readonly #echo: Server;
  readonly #proxies = new Map<string, { readonly folder: PartFolder; readonly addresses: ProxyAddresses }>();
  readonly #registryAddress: string;
  #registry: RegistryPart | undefined;

  private constructor(folder: string, files: Files, user: PartFolder, registry: string, options: RigOptions) {
    this.#folder = folder;
    this.#files = files;
    this.user = user;
    this.#registryAddress = registry;
    this.#options = options;
    this.#echo = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => socket.destroy());
      socket.pipe(socket);
    });
  }

  static async create(options: RigOptions = {}): Promise<Rig> {
    const folder = mkdtempSync(join(tmpdir(), 'xylem-rig-'));
    const files = await Files.create(folder, DOMAIN);
    const user = await files.part('you', { kind: 'user', user: 'you' });
    const registry = await new Ports(false).address(0);
    const rig = new Rig(folder, files, user, registry, options);
    rig.#echo.listen(0, '127.0.0.1');
    await once(rig.#echo, 'listening');
    return rig;
  }

  /** Starts the registry, or starts it again with the same addresses and data. */
  async startRegistry(): Promise<Service> {
    this.#registry ??= await this.#prepareRegistry();
    const { folder, ops } = this.#registry;
    const service = this.#start('registry', 'registry', folder);
    await waitReady(service, ops);
    return service;
  }

  /** Starts a root proxy, new or again, and waits until it is registered. */
  async startProxy(id: string, generation = 0): Promise<ProxyPart> {
    const { folder, addresses } = this.#proxies.get(id) ?? (await this.#prepareProxy(id, generation));
    this.#proxies.set(id, { folder, addresses });
    const service = this.#start(id, 'root-proxy', folder);
    await waitReady(service, addresses.ops);
    return { id, service, addresses };
  }

  /** Starts an agent; does not wait for anything. */
  async startAgent(leaf: string, agent: string, changes: AgentChanges): Promise<Service> {
    const { root, steering = 'sni', echo, ops } = changes;
    const folder = await this.#files.part(`${leaf}-${agent}`, { kind: 'agent', leaf, agent });
    // A server on a port of this machine always has an AddressInfo.
    const { port } = this.#echo.address() as AddressInfo;
    this.#write(folder, {
      leaf,
      agent,
      root,
      steering,
      nodes: [{ name: 'echo', ports: [{ port: ECHO_PORT, address: echo ?? `127.0.0.1:${port}` }] }],
      ops: { listen: ops ?? (await this.freeAddress()) },
    });
    return this.#start(`${leaf}/${agent}`, 'leaf-agent', folder);
  }

  /** A certificate of this deployment's authority, for a test that speaks for itself. */
  credentials(name: string, identity: Identity): Promise<PartFolder> {
    return this.#files.part(name, identity);
  }

  /** A free port of this machine, for a program of the test's own. */
  freeAddress(): Promise<string> {
    return this.#ports.address(0);
  }

  /** The folder of everything: configurations, certificates, logs. */
  get folder(): string {
    return this.#folder;
  }

  /** `xylem connect` to an address, through the AccessService of one root proxy. */
  connect({ id, addresses }: ProxyPart, address: string): ChildProcessByStdio<Writable, Readable, null> {
    const { config } = this.#files.plain(`client-${id}`);
    const settings = { root: [addresses.access], identityDir: this.user.path, domain: DOMAIN };
    this.#files.writeConfig({ ...this.user, config }, settings);
    const env = { ...childEnvironment(), XYLEM_CONFIG: config };
    return spawn(process.execPath, [XYLEM_BIN, 'connect', address], { stdio: ['pipe', 'pipe', 'ignore'], env });
  }

  /** Ends everything. */
  async close(): Promise<void> {
    await Promise.all(
      this.#services.map((service) => {
        service.kill('SIGCONT');
        return service.stop(STOP_DEADLINE_MS);
      }),
    );
    this.#echo.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async #prepareRegistry(): Promise<RegistryPart> {
    const folder = await this.#files.part('registry', { kind: 'registry', registry: 'r1' });
    const ops = await this.#ports.address(0);
    const { etcd, leaseTtlMs, heartbeatIntervalMs } = this.#options;
    const embedded = async (): Promise<object> => ({
      kind: 'embedded',
      dataDir: join(folder.path, 'store'),
      listen: await this.#ports.address(0),
    });
    this.#write(folder, {
      id: 'r1',
      listen: this.#registryAddress,
      store: etcd === undefined ? await embedded() : { kind: 'etcd', endpoints: etcd },
      policy: { file: this.#files.writeText('policy.yaml', this.#options.policy ?? POLICY) },
      ops: { listen: ops },
      ...(leaseTtlMs === undefined ? {} : { leaseTtlMs }),
      ...(heartbeatIntervalMs === undefined ? {} : { heartbeatIntervalMs }),
    });
    return { folder, ops };
  }

  async #prepareProxy(id: string, generation: number): Promise<{ folder: PartFolder; addresses: ProxyAddresses }> {
    const folder = await this.#files.part(id, { kind: 'proxy', proxy: id });
    const [tunnel = '', peer = '', access = '', frontDoor = '', ops = ''] = await Promise.all(
      ADDRESSES.map(() => this.#ports.address(0)),
    );
    this.#write(folder, {
      id,
      registries: [this.#registryAddress],
      tunnel: { listen: tunnel },
      peer: { listen: peer },
      access: { listen: access },
      frontDoor: { listen: frontDoor },
      generation,
      drain: DRAIN,
      ops: { listen: ops },
    });
    return { folder, addresses: { tunnel, peer, access, frontDoor, ops } };
  }

  #write(folder: PartFolder, config: object): void {
    const { otlpEndpoint, logLevel } = this.#options;
    const telemetry = otlpEndpoint === undefined ? {} : { telemetry: { otlpEndpoint } };
    const log = logLevel === undefined ? {} : { log: { level: logLevel } };
    this.#files.writeConfig(folder, { domain: DOMAIN, tls: folder.tls, ...telemetry, ...log, ...config });
  }

  #start(name: string, app: string, folder: PartFolder): Service {
    const args = [appMain(app), '--config', folder.config, '--exit-on-stdin-end'];
    const spec = { name, command: process.execPath, args, env: childEnvironment(), logFile: folder.log };
    const service = new Service(spec, this.recorder.take);
    this.#services.push(service);
    return service;
  }
}
