import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { start as startAgent } from '@xylem/leaf-agent';
import type { AgentOverrides, RunningAgent } from '@xylem/leaf-agent';
import { start as startRegistry } from '@xylem/registry';
import type { RunningRegistry } from '@xylem/registry';
import type { Identity } from '@xylem/identity';
import { startTelemetry } from '@xylem/telemetry';
import { start as startProxy } from '../compose.ts';
import type { ProxyOverrides, RunningProxy } from '../compose.ts';
import type { ProxyConfig } from '../config.ts';
import { Balancer, roundRobin } from './balancer.ts';
import type { Policy } from './balancer.ts';
import { Credentials, DOMAIN } from './credentials.ts';
import { OPEN_POLICY } from './policies.ts';
import { RawClient } from './raw-client.ts';

export interface LogLine {
  readonly event: string;
  readonly [field: string]: unknown;
}

export interface WorldProxy extends RunningProxy {
  readonly id: string;
  readonly log: readonly LogLine[];
}

export interface ProxyChanges {
  readonly overrides?: ProxyOverrides;
  readonly frontDoor?: Partial<ProxyConfig['frontDoor']>;
  readonly drain?: ProxyConfig['drain'];
  readonly claimsPerProxy?: number;
  readonly limits?: ProxyConfig['limits'];
  readonly otlpEndpoint?: string;
  readonly ports?: Partial<Record<'tunnel' | 'peer', number>>;
  /** Where it reaches the registry; default: there. */
  readonly registryPort?: number;
}

const ANY = '127.0.0.1:0';
const HOUR_MS = 3_600_000;
const PLENTY = { dialsPerSecond: 10_000, dialBurst: 10_000, connections: 10_000 };

/** A whole deployment in this process: registry with its embedded store, root proxies, balancer, agents, nodes. */
export class World {
  readonly credentials: Credentials;
  readonly balancer: Balancer;
  readonly balancerPort: number;
  registryPort = 0;
  registry: RunningRegistry | undefined;
  /** The first policy. */
  readonly policy: string;
  readonly #requireSigned: boolean;
  readonly #folder = mkdtempSync(join(tmpdir(), 'xylem-root-proxy-'));
  readonly #closers: (() => unknown)[] = [];
  readonly nodes = new Map<string, number>();

  private constructor(
    credentials: Credentials,
    balancer: Balancer,
    balancerPort: number,
    rules: { readonly policy: string; readonly requireSigned: boolean },
  ) {
    this.policy = rules.policy;
    this.#requireSigned = rules.requireSigned;
    this.credentials = credentials;
    this.balancer = balancer;
    this.balancerPort = balancerPort;
  }

  /** @param requireSigned As `grants.requireSigned` of the registry. */
  static async create(policy: Policy = roundRobin, rules = OPEN_POLICY, requireSigned = false): Promise<World> {
    const balancer = new Balancer(policy);
    const world = new World(await Credentials.create(), balancer, await balancer.listen(), {
      policy: rules,
      requireSigned,
    });
    await world.startRegistry();
    return world;
  }

  async startRegistry(): Promise<void> {
    const tls = await this.credentials.files({ kind: 'registry', registry: 'r1' }, this.#folder);
    const policyFile = join(this.#folder, 'policy.yaml');
    writeFileSync(policyFile, this.policy);
    this.registry = await startRegistry(
      {
        ...common(tls),
        id: 'r1',
        listen: `127.0.0.1:${this.registryPort}`,
        store: { kind: 'embedded', dataDir: join(this.#folder, 'store'), listen: ANY },
        authority: { certificateTtlMs: HOUR_MS, userTtlMs: HOUR_MS },
        enrol: { listen: ANY },
        policy: { file: policyFile },
        grants: { offlineMs: 900_000, requireSigned: this.#requireSigned },
        leaseTtlMs: 2_000,
        heartbeatIntervalMs: 500,
      },
      { telemetry: telemetryTo('registry', 'r1', []) },
    );
    this.registryPort = this.registry.port;
    await this.registry.ready();
  }

  /** Writes new credentials where a process of this world reads its own. */
  async renew(identity: Identity): Promise<void> {
    await this.credentials.files(identity, this.#folder);
  }

  async proxy(id: string, changes: ProxyChanges = {}): Promise<WorldProxy> {
    const tls = await this.credentials.files({ kind: 'proxy', proxy: id }, this.#folder);
    const log: LogLine[] = [];
    const config: ProxyConfig = {
      ...common(tls),
      id,
      registries: [`127.0.0.1:${changes.registryPort ?? this.registryPort}`],
      tunnel: { listen: `127.0.0.1:${changes.ports?.tunnel ?? 0}` },
      peer: { listen: `127.0.0.1:${changes.ports?.peer ?? 0}` },
      access: { listen: ANY },
      frontDoor: { listen: ANY, anonymous: 'loopback', ...changes.frontDoor },
      claimsPerProxy: changes.claimsPerProxy ?? 1,
      generation: 0,
      limits: changes.limits ?? { perUser: PLENTY, perLeaf: PLENTY },
      drain: changes.drain ?? { spreadMs: 50, deadlineMs: 5_000 },
    };
    const telemetry = telemetryTo('root-proxy', id, log, changes.otlpEndpoint);
    const running = await startProxy(config, { telemetry, ...changes.overrides });
    this.balancer.backends.push(running.ports.tunnel);
    let over = false;
    const end = async (how: () => Promise<void>): Promise<void> => {
      over = true;
      this.balancer.backends = this.balancer.backends.filter((port) => port !== running.ports.tunnel);
      await how();
    };
    this.#closers.push(() => (over ? undefined : running.kill()));
    return { ...running, id, log, stop: () => end(() => running.stop()), kill: () => end(() => running.kill()) };
  }

  /** An agent that offers every node of this world. */
  async agent(
    leaf: string,
    agent: string,
    overrides: AgentOverrides = {},
    steering: 'sni' | 'off' = 'sni',
    telemetry: { readonly otlpEndpoint?: string } = {},
  ): Promise<RunningAgent> {
    const tls = await this.credentials.files({ kind: 'agent', leaf, agent }, this.#folder);
    const running = await startAgent(
      {
        ...common(tls),
        telemetry,
        leaf,
        agent,
        root: `127.0.0.1:${this.balancerPort}`,
        steering,
        nodes: [...this.nodes].map(([name, port]) => ({ name, ports: [{ port: 80, address: `127.0.0.1:${port}` }] })),
        drain: { deadlineMs: 2_000 },
        maxConnectionsPerTunnel: 900,
      },
      { logDestination: sink(), ...overrides },
    );
    let over = false;
    this.#closers.push(() => (over ? undefined : running.stop()));
    return {
      ...running,
      async stop() {
        over = true;
        await running.stop();
      },
    };
  }

  /** A TCP server that agents offer under `name`, port 80. */
  async node(name: string, serve: (socket: Socket) => void): Promise<Server> {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => undefined);
      serve(socket);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    this.nodes.set(name, typeof address === 'object' && address !== null ? address.port : 0);
    this.#closers.push(() => server.close());
    return server;
  }

  /** A node that sends back what it gets, and ends when its client ends. */
  async echoNode(name: string): Promise<Server> {
    return this.node(name, (socket) => socket.pipe(socket));
  }

  async close(): Promise<void> {
    for (const close of this.#closers.reverse()) await close();
    await this.registry?.kill();
    this.balancer.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** CONNECT through a front door; answers with the client and the head of the answer. */
export async function connectThrough(
  port: number,
  authority: string,
): Promise<{ readonly client: RawClient; readonly head: string }> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  await once(socket, 'connect');
  const client = new RawClient(socket);
  client.say(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  const head = await client.hears('\r\n\r\n', 15_000);
  return { client, head };
}

/** Looks until `look` finds something, with a deadline; for states that other processes reach in their own time. */
export async function eventually<T>(what: string, look: () => T | undefined | false, withinMs = 10_000): Promise<T> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const found = look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`);
    await sleep(10);
  }
}

/** Whether this proxy has a recorded claim of the agent, and the policy to serve dials by. */
export function claimedBy(proxy: RunningProxy, agent: string): boolean {
  if ((proxy.status().policyVersion ?? 0) === 0) return false;
  return proxy.status().root.tunnels.some((tunnel) => tunnel.agent === agent && tunnel.state === 'claimed');
}

function common(tls: { readonly ca: string; readonly cert: string; readonly key: string }) {
  return {
    domain: DOMAIN,
    tls,
    ops: { listen: ANY },
    log: { level: 'debug' as const },
    audit: { required: false },
    telemetry: {},
  };
}

function telemetryTo(service: string, instance: string, lines: LogLine[], otlpEndpoint?: string) {
  return startTelemetry({
    service,
    instance,
    version: '0.0.0',
    logLevel: 'debug',
    logDestination: sink(lines),
    otlpEndpoint,
  });
}

function sink(lines?: LogLine[]): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      if (lines !== undefined)
        for (const line of chunk.toString().split('\n')) if (line !== '') lines.push(JSON.parse(line));
      done();
    },
  });
}
