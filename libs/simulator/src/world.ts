import { RelayPolicy, defaultLeafConfig, defaultRelayConfig, serverNameFor } from '@xylem/discovery';
import type { AgentId, DialFailure, LeafConfig, LeafId, ProxyId, RootConfig } from '@xylem/discovery';
import { AgentProcess } from './agent-process.ts';
import { Balancer } from './balancer.ts';
import type { Backend, BalancerPolicy } from './balancer.ts';
import { PRODUCTION } from './cores.ts';
import type { CoreMakers } from './cores.ts';
import { GossipFaults } from './gossip-faults.ts';
import { Host } from './host.ts';
import { Network } from './network.ts';
import type { End } from './network.ts';
import { ProxyProcess } from './proxy-process.ts';
import { KeyedRandom } from './random.ts';
import { RegistryProcess } from './registry-process.ts';
import { Scheduler } from './scheduler.ts';
import { StoreModel } from './store-model.ts';
import { Trace } from './trace.ts';

const DOMAIN = 'xylem.internal';
/** How often the balancer's health check looks. */
const HEALTH_INTERVAL_MS = 1_000;
/** How often users dial over every tunnel. */
const TRAFFIC_INTERVAL_MS = 2_000;

export interface WorldOptions {
  readonly seed: number;
  readonly registries: number;
  readonly proxies: number;
  /** Agents of each leaf cluster, by its name. */
  readonly leaves: Readonly<Record<string, number>>;
  readonly balancer: BalancerPolicy;
  readonly steering: 'sni' | 'off';
  /** In place of the product's cores: other strategies, planted bugs. */
  readonly cores?: Partial<CoreMakers>;
  readonly rootConfig?: Partial<RootConfig>;
  readonly leafConfig?: Partial<LeafConfig>;
  readonly keepTrace?: boolean;
  /** Clock rates differ by up to this part; 0 for exact clocks. */
  readonly drift?: number;
}

/** A whole simulated deployment: the product's cores, and everything between them under control of one seed. */
export class World {
  readonly seed: number;
  readonly scheduler: Scheduler;
  readonly network: Network;
  readonly store: StoreModel;
  readonly trace: Trace;
  readonly gossip = new GossipFaults();
  readonly balancer: Balancer;
  readonly registries = new Map<string, RegistryProcess>();
  /** By host. */
  readonly proxies = new Map<string, ProxyProcess>();
  readonly agents = new Map<string, AgentProcess>();
  readonly #options: WorldOptions;
  readonly #cores: CoreMakers;
  readonly #random: KeyedRandom;
  readonly #relays = new Map<string, RelayPolicy>();
  readonly #healthy = new Set<string>();
  /** Set to end the users' dials. */
  quiet = false;
  /** Root proxies that the balancer's operator has taken out: they live, and it sends them nobody. */
  readonly outOfRotation = new Set<string>();
  /** Starts of root proxies that became members, by number. */
  readonly registeredLives = new Set<number>();
  #nextProxy = 0;
  #births = 0;

  constructor(options: WorldOptions) {
    this.seed = options.seed;
    this.#options = options;
    this.#cores = { ...PRODUCTION, ...options.cores };
    this.scheduler = new Scheduler(options.seed);
    this.network = new Network(options.seed, this.scheduler);
    this.trace = new Trace(options.keepTrace ?? false);
    this.store = new StoreModel(options.seed, this.scheduler, (what) => this.trace.add(this.now, 'store', what));
    this.balancer = new Balancer(options.balancer, options.seed);
    this.#random = new KeyedRandom(options.seed, 'world');
    for (let index = 1; index <= options.registries; index += 1) this.#addRegistry(`r${String(index)}`);
    for (let index = 1; index <= options.proxies; index += 1) this.addProxy();
    for (const [leaf, count] of Object.entries(options.leaves)) {
      for (let index = 1; index <= count; index += 1) this.addAgent(leaf, `${leaf}-${String(index)}`);
    }
    this.#checkHealth();
    this.#traffic();
  }

  get now(): number {
    return this.scheduler.now;
  }

  /** Starts a root proxy with a name never used before. */
  addProxy(generation = 0): ProxyProcess {
    this.#nextProxy += 1;
    const name = `p${String(this.#nextProxy)}`;
    return this.#startProxy(name as ProxyId, name, generation);
  }

  /** Starts a root proxy under the name of another, on a host of its own: what is done for one that seems to be dead. */
  replaceProxy(old: ProxyProcess): ProxyProcess {
    return this.#startProxy(old.id, `${old.host.name}b`, old.generation);
  }

  /** Every process that bears this name, oldest first. */
  instances(id: string): readonly ProxyProcess[] {
    return [...this.proxies.values()].filter((proxy) => proxy.id === id);
  }

  #startProxy(id: ProxyId, host: string, generation: number): ProxyProcess {
    const proxy = new ProxyProcess({
      id,
      host: this.#host(host),
      generation,
      config: this.#options.rootConfig ?? {},
      registries: [...this.registries.keys()],
      connect: (from, registry, answer) => this.#openSession(from, registry, answer),
      cores: this.#cores,
      gossip: this.gossip,
      trace: this.trace,
      clock: () => this.now,
      birth: () => (this.#births += 1),
      onRegistered: (birth) => this.registeredLives.add(birth),
    });
    this.proxies.set(host, proxy);
    proxy.start();
    return proxy;
  }

  /** A process dies: kill -9, or with `silently` its whole host vanishes. */
  crash(process: ProxyProcess | AgentProcess | RegistryProcess, silently = false): void {
    this.network.crash(process.host, silently);
    process.crash();
  }

  /** Runs until `until` on the virtual clock, calling `check` after each step. */
  run(until: number, check?: () => void): void {
    while (this.scheduler.step(until)) check?.();
  }

  /** Root proxies that are up and not on their way out. */
  liveProxies(): readonly ProxyProcess[] {
    return [...this.proxies.values()].filter(
      (proxy) => proxy.host.alive && !proxy.host.paused && proxy.root?.status().draining === false,
    );
  }

  #addRegistry(name: string): void {
    const registry = new RegistryProcess(
      this.#host(name),
      this.store,
      this.#cores.registry,
      this.trace,
      () => this.now,
    );
    this.registries.set(name, registry);
    registry.start();
  }

  /** Starts an agent on host `host` under the name `name`: its own, or, by mistake, that of another. */
  addAgent(leaf: string, name: string, host = name): AgentProcess {
    const config: LeafConfig = {
      ...defaultLeafConfig(leaf as LeafId, name as AgentId),
      steering: this.#options.steering,
      ...this.#options.leafConfig,
    };
    const agent = new AgentProcess({
      host: this.#host(host),
      config,
      cores: this.#cores,
      dial: (from, target, answer) => this.#dial(from, target, answer),
      trace: this.trace,
      clock: () => this.now,
    });
    this.agents.set(host, agent);
    agent.start();
    return agent;
  }

  #host(name: string): Host {
    const random = new KeyedRandom(this.seed, `clock/${name}`);
    const drift = this.#options.drift ?? 0;
    const rate = 1 + random.between('drift', -drift, drift);
    return new Host(name, this.seed, this.scheduler, { offsetMs: Math.floor(random.between('offset', 0, 1e6)), rate });
  }

  // ---- registry sessions -------------------------------------------------------------------------------------------

  #openSession(proxy: ProxyProcess, name: string, answer: (end: End | undefined) => void): void {
    this.#travel(() => {
      const registry = this.registries.get(name);
      if (registry === undefined || !registry.host.alive) return this.#travel(() => answer(undefined));
      const connection = this.network.connect(proxy.host, registry.host);
      registry.host.run(() => registry.accept(connection.ends[1], proxy.id));
      answer(connection.ends[0]);
    });
  }

  // ---- tunnels through the balancer --------------------------------------------------------------------------------

  #dial(agent: AgentProcess, target: ProxyId | undefined, answer: (reached: End | DialFailure) => void): void {
    this.#travel(() => {
      const attempt = { source: agent.host.name, serverName: target, held: agent.connectedProxies };
      const chosen = this.balancer.choose(attempt, this.#backends());
      const proxy = chosen === undefined ? undefined : this.proxies.get(chosen);
      // One that drains has closed its listener.
      if (proxy === undefined || !proxy.host.alive || isDraining(proxy))
        return this.#travel(() => answer('unreachable'));
      // The kernel accepts at once; what the process does with it waits until it runs.
      proxy.host.run(() => this.#arrive(agent, proxy, target, answer));
    });
  }

  /** The proxy that received the connection has read the ClientHello. */
  #arrive(
    agent: AgentProcess,
    proxy: ProxyProcess,
    target: ProxyId | undefined,
    answer: (reached: End | DialFailure) => void,
  ): void {
    const name = target === undefined ? undefined : serverNameFor(target, DOMAIN);
    const relay = this.#relayOf(proxy);
    const addressOf = (id: ProxyId): string | undefined => proxy.link?.view()?.member(id)?.tunnelAddress;
    const decision = relay.decide({ name, source: agent.host.name, relayed: false }, addressOf, proxy.host.now);
    if (decision.kind === 'refuse' || decision.kind === 'enrol') return this.#travel(() => answer('lost'));
    if (decision.kind === 'serve') {
      if (target !== undefined && target !== proxy.id) return this.#travel(() => answer('handshake'));
      const connection = this.network.connect(agent.host, proxy.host);
      proxy.accept(connection.ends[1], undefined);
      return this.#travel(() => answer(connection.ends[0]));
    }
    // One relay ends with its connection; the simulator counts those that are being set up.
    relay.finished();
    this.#travel(() => {
      const peer = this.proxies.get(hostOf(decision.address));
      if (peer === undefined || !peer.host.alive || !proxy.host.alive) return this.#travel(() => answer('lost'));
      const connection = this.network.connect(agent.host, peer.host, proxy.host);
      peer.host.run(() => peer.accept(connection.ends[1], proxy.id));
      this.#travel(() => answer(connection.ends[0]));
    });
  }

  #relayOf({ id, host }: ProxyProcess): RelayPolicy {
    let policy = this.#relays.get(host.name);
    if (policy === undefined) {
      policy = new RelayPolicy(defaultRelayConfig(id, DOMAIN));
      this.#relays.set(host.name, policy);
    }
    return policy;
  }

  #backends(): readonly Backend[] {
    return [...this.proxies.values()]
      .filter((proxy) => this.#healthy.has(proxy.host.name) || proxy.host.alive)
      .filter((proxy) => !this.outOfRotation.has(proxy.id))
      .map((proxy) => ({
        name: proxy.host.name,
        identity: proxy.id,
        healthy: this.#healthy.has(proxy.host.name),
        draining: isDraining(proxy),
        connections: proxy.tunnelEnds().length,
      }));
  }

  /** Hosts that the balancer sends agents to, though nothing runs there. */
  staleBackends(): readonly string[] {
    return [...this.proxies.values()]
      .filter(({ host }) => !host.alive && this.#healthy.has(host.name))
      .map(({ host }) => host.name);
  }

  #checkHealth(): void {
    for (const proxy of this.proxies.values()) {
      if (proxy.host.alive && !proxy.host.paused && !isDraining(proxy)) this.#healthy.add(proxy.host.name);
      else if (this.balancer.policy !== 'stale-health' || this.#random.chance('health', 0.05))
        this.#healthy.delete(proxy.host.name);
    }
    this.scheduler.after(HEALTH_INTERVAL_MS, () => this.#checkHealth());
  }

  /** Users keep coming, to proxies that are stopped, too: those find them when they go on. */
  #traffic(): void {
    for (const proxy of this.proxies.values()) proxy.host.run(() => proxy.dialNodes());
    this.scheduler.after(TRAFFIC_INTERVAL_MS, () => {
      if (!this.quiet) this.#traffic();
    });
  }

  #travel(work: () => void): void {
    this.scheduler.after(this.#random.between('travel', this.network.minDelayMs, this.network.maxDelayMs), work);
  }
}

function isDraining(proxy: ProxyProcess): boolean {
  return proxy.root?.status().draining === true;
}

/** Of `host:port`. */
function hostOf(address: string): string {
  return address.slice(0, address.indexOf(':'));
}
