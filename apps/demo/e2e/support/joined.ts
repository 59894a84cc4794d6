import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { freeAddress, startEtcd } from '@xylem/testkit';
import type { EtcdProcess } from '@xylem/testkit';
import { stringify } from 'yaml';
import { childEnvironment } from '../../src/config.ts';
import type { ProxyAddresses } from '../../src/deployment.ts';
import { DOMAIN, ECHO_PORT, POLICY } from '../../src/layout.ts';
import { XYLEM_BIN, appMain } from '../../src/paths.ts';
import { Service } from '../../src/processes/service.ts';
import { waitReady } from '../../src/readiness.ts';
import { Recorder } from './recorder.ts';

export interface JoinedOptions {
  /** Life of the certificates of agents and root proxies. */
  readonly certificateTtlMs: number;
  /** YAML; default: everybody may dial everything. */
  readonly policy?: string;
}

export interface AgentChanges {
  /** Beside `echo`. */
  readonly nodes?: readonly { readonly name: string; readonly port: number; readonly address: string }[];
  /** Where it renews, when not at its root. */
  readonly enrol?: readonly string[];
  /** Of the process, when another has the agent's own already. */
  readonly name?: string;
  /** Of the identity, when not `agentFolder`. */
  readonly directory?: string;
}

/** What a command printed, and its exit status. */
export interface Ended {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

export interface JoinedProxy {
  readonly id: string;
  readonly service: Service;
  readonly addresses: ProxyAddresses;
}

interface RegistryPart {
  readonly listen: string;
  readonly enrol: string;
  readonly ops: string;
  readonly dataDir: string;
}

const STOP_DEADLINE_MS = 4_000;
const REGISTRY = 'r1';

/**
 * A deployment whose identities come from the registry alone, on a real etcd: everything that is done to it is done by `xylem`, as a person
 * would. Node `echo`, port 7, is a server of this process.
 */
export class JoinedDeployment {
  readonly recorder = new Recorder();
  readonly folder = mkdtempSync(join(tmpdir(), 'xylem-joined-'));
  readonly #etcd: EtcdProcess;
  readonly #registry: RegistryPart;
  readonly #options: JoinedOptions;
  readonly #services: Service[] = [];
  readonly #echo: Server;

  private constructor(etcd: EtcdProcess, registry: Omit<RegistryPart, 'dataDir'>, options: JoinedOptions) {
    this.#etcd = etcd;
    this.#registry = { ...registry, dataDir: join(this.folder, REGISTRY) };
    this.#options = options;
    this.#echo = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => socket.destroy());
      socket.pipe(socket);
    });
  }

  static async create(options: JoinedOptions): Promise<JoinedDeployment> {
    const [listen, enrol, ops] = [await freeAddress(), await freeAddress(), await freeAddress()];
    const deployment = new JoinedDeployment(await startEtcd(), { listen, enrol, ops }, options);
    deployment.#echo.listen(0, '127.0.0.1');
    await once(deployment.#echo, 'listening');
    return deployment;
  }

  /** host:port where the registry enrols. */
  get enrol(): string {
    return this.#registry.enrol;
  }

  /** Credentials of the registry's administrator, who is a user, too. */
  get adminDir(): string {
    return join(this.#registry.dataDir, 'admin');
  }

  get echoAddress(): string {
    // A server on a port of this machine always has an AddressInfo.
    return `127.0.0.1:${(this.#echo.address() as AddressInfo).port}`;
  }

  /** Every process that was started, also those that have ended. */
  get services(): readonly Service[] {
    return this.#services;
  }

  async startRegistry(): Promise<Service> {
    const { listen, enrol, ops, dataDir } = this.#registry;
    const service = this.#start(REGISTRY, 'registry', {
      id: REGISTRY,
      listen,
      dataDir,
      enrol: { listen: enrol },
      authority: { certificateTtlMs: this.#options.certificateTtlMs },
      policy: { file: this.#policyFile() },
      store: { kind: 'etcd', endpoints: [this.#etcd.endpoint] },
      ops: { listen: ops },
      leaseTtlMs: 3_000,
      heartbeatIntervalMs: 500,
    });
    await waitReady(service, ops);
    return service;
  }

  /** Joins with a token in a file at first start, and waits until it is registered. */
  async startProxy(id: string): Promise<JoinedProxy> {
    const token = await this.token('--role', 'proxy', '--name', id);
    const tokenFile = join(this.folder, `${id}.token`);
    writeFileSync(tokenFile, token, { mode: 0o600 });
    const [tunnel, peer, access] = [await freeAddress(), await freeAddress(), await freeAddress()];
    const [frontDoor, ops] = [await freeAddress(), await freeAddress()];
    const service = this.#start(id, 'root-proxy', {
      id,
      registries: [this.#registry.listen],
      identity: { dir: join(this.folder, id), tokenFile, enrol: [this.#registry.enrol] },
      tunnel: { listen: tunnel },
      peer: { listen: peer },
      access: { listen: access },
      frontDoor: { listen: frontDoor },
      ops: { listen: ops },
    });
    await waitReady(service, ops);
    return { id, service, addresses: { tunnel, peer, access, frontDoor, ops } };
  }

  /** Starts an agent with the identity in its folder, see `agentFolder`; does not wait for anything. */
  async startAgent(leaf: string, agent: string, root: string, changes: AgentChanges = {}): Promise<Service> {
    const {
      nodes = [],
      enrol,
      name: service = `${leaf}/${agent}`,
      directory = this.agentFolder(leaf, agent),
    } = changes;
    const echo = { name: 'echo', port: ECHO_PORT, address: this.echoAddress };
    return this.#start(service, 'leaf-agent', {
      leaf,
      agent,
      root,
      identity: { dir: directory, ...(enrol === undefined ? {} : { enrol }) },
      nodes: [echo, ...nodes].map(({ name, port, address }) => ({ name, ports: [{ port, address }] })),
      ops: { listen: await freeAddress() },
    });
  }

  agentFolder(leaf: string, agent: string): string {
    return join(this.folder, `${leaf}-${agent}`);
  }

  /** A join token, made by `xylem tokens add`. */
  async token(...flags: readonly string[]): Promise<string> {
    const { out } = await this.administer('tokens', 'add', ...flags);
    return out.trim();
  }

  /** `xylem <command>` as the registry's administrator; has to succeed. */
  async administer(...args: readonly string[]): Promise<Ended> {
    const ended = await this.xylem([...args, '--admin-dir', this.adminDir, '--registry', this.#registry.listen]);
    assert.equal(ended.status, 0, `xylem ${args.join(' ')}: ${ended.err}`);
    return ended;
  }

  /** `xylem` with something on its standard input. */
  async xylem(args: readonly string[], input = ''): Promise<Ended> {
    const child = spawn(process.execPath, [XYLEM_BIN, ...args], {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { ...childEnvironment(), HOME: this.folder },
    });
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
    const [out, err] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
    return { status: child.exitCode, out, err };
  }

  /** Ends everything. */
  async close(): Promise<void> {
    await Promise.all(this.#services.map((service) => service.stop(STOP_DEADLINE_MS)));
    this.#echo.close();
    await this.#etcd.dispose();
    rmSync(this.folder, { recursive: true, force: true });
  }

  #policyFile(): string {
    const path = join(this.folder, 'policy.yaml');
    writeFileSync(path, this.#options.policy ?? POLICY);
    return path;
  }

  #start(name: string, app: string, config: object): Service {
    const base = join(this.folder, name.replace('/', '-'));
    writeFileSync(`${base}.yaml`, stringify({ domain: DOMAIN, ...config }), { mode: 0o600 });
    const args = [appMain(app), '--config', `${base}.yaml`, '--exit-on-stdin-end'];
    const spec = { name, command: process.execPath, args, env: childEnvironment(), logFile: `${base}.log` };
    const service = new Service(spec, this.recorder.take);
    this.#services.push(service);
    return service;
  }
}
