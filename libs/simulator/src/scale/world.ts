import type { DialId, GossipMessage, ProxyId, TunnelId } from '@xylem/discovery';
import { RegistryCore } from '@xylem/membership';
import { Host } from '../host.ts';
import { Network } from '../network.ts';
import type { End } from '../network.ts';
import { RegistryProcess } from '../registry-process.ts';
import { Scheduler } from '../scheduler.ts';
import { StoreModel } from '../store-model.ts';
import { Trace } from '../trace.ts';
import { ScaleAgent } from './agent.ts';
import { Meters } from './meters.ts';
import { ScaleProxy } from './proxy.ts';

export interface ScaleOptions {
  /** Leaf clusters of one agent each: every agent claims every root proxy. */
  readonly agents: number;
  readonly proxies: number;
  readonly seed: number;
  /** A root proxy begins at most so many handshakes a second; undefined: as many as come. */
  readonly handshakesPerSecond: number | undefined;
  /** Cut every tunnel at once in the end, as a restarted balancer does. */
  readonly cutAll?: boolean;
  /** Bytes of a discovery request on the wire. */
  readonly sizeOf: (message: GossipMessage) => number;
}

/** One dial on its way. */
export interface Attempt {
  readonly agent: ScaleAgent;
  readonly dial: DialId;
  readonly target: ProxyId | undefined;
  readonly tunnel: TunnelId;
  readonly replaces: TunnelId | undefined;
}

const REGISTRIES = ['r1', 'r2'];

/**
 * A deployment of very many agents. The cores are the product's; what surrounds them is less than in `World`: nothing fails unasked,
 * the balancer routes on the server name, tunnels carry no PING, clocks agree, and no checker looks at each step.
 */
export class ScaleWorld {
  readonly options: ScaleOptions;
  readonly seed: number;
  readonly scheduler: Scheduler;
  readonly meters = new Meters();
  readonly store: StoreModel;
  readonly proxies = new Map<ProxyId, ScaleProxy>();
  readonly agents: ScaleAgent[] = [];
  /** Told of each claim that an agent hears it was granted. */
  onClaimed: ((agent: ScaleAgent, proxy: ProxyId) => void) | undefined;
  readonly #network: Network;
  readonly #registries = new Map<string, RegistryProcess>();
  /** One message is sent to thousands: it is measured once. */
  readonly #sizes = new WeakMap<GossipMessage, number>();
  #proxyCount = 0;
  #turn = 0;

  constructor(options: ScaleOptions) {
    this.options = options;
    this.seed = options.seed;
    this.scheduler = new Scheduler(options.seed);
    this.#network = new Network(options.seed, this.scheduler);
    const trace = new Trace(false);
    this.store = new StoreModel(options.seed, this.scheduler, () => undefined);
    const maxClaims = 2 * options.agents * options.proxies;
    for (const name of REGISTRIES) {
      const make = (config: ConstructorParameters<typeof RegistryCore>[0], host: Host): RegistryCore =>
        new RegistryCore({ ...config, maxClaims }, host.now);
      const registry = new RegistryProcess(this.#host(name), this.store, make, trace, () => this.now);
      this.#registries.set(name, registry);
      registry.start();
    }
    for (let index = 0; index < options.proxies; index += 1) this.addProxy();
  }

  get now(): number {
    return this.scheduler.now;
  }

  later(delayMs: number, work: () => void): void {
    this.scheduler.after(delayMs, work);
  }

  addProxy(): ScaleProxy {
    this.#proxyCount += 1;
    const host = this.#host(`p${String(this.#proxyCount).padStart(3, '0')}`);
    // Half of them try one registry first, half the other.
    const registries = this.#proxyCount % 2 === 0 ? REGISTRIES : [...REGISTRIES].reverse();
    const proxy = new ScaleProxy(this, host, this.#proxyCount, registries);
    this.proxies.set(proxy.id, proxy);
    return proxy;
  }

  addAgent(): void {
    this.agents.push(new ScaleAgent(this, this.agents.length));
  }

  /** The process dies. */
  kill(proxy: ScaleProxy): void {
    this.#network.crash(proxy.host, false);
    proxy.crash();
    this.proxies.delete(proxy.id);
  }

  /** The balancer restarts: every tunnel goes. */
  cutAll(): void {
    for (const proxy of this.proxies.values()) proxy.cut();
  }

  drain(proxy: ScaleProxy): void {
    proxy.drain(() => this.kill(proxy));
  }

  claimed(agent: ScaleAgent, proxy: ProxyId): void {
    this.onClaimed?.(agent, proxy);
  }

  sizeOf(message: GossipMessage): number {
    let size = this.#sizes.get(message);
    if (size === undefined) {
      size = this.options.sizeOf(message);
      this.#sizes.set(message, size);
    }
    return size;
  }

  /** One connection to the balancer, which hands it to the root proxy named, or to the next in turn. */
  dial(attempt: Attempt): void {
    const { agent, dial, target } = attempt;
    // TCP to the balancer, then the ClientHello.
    this.later(3 * agent.latencyMs, () => {
      const proxy = target === undefined ? this.#nextProxy() : this.proxies.get(target);
      if (proxy === undefined) return this.later(agent.latencyMs, () => agent.dialFailed(dial, 'unreachable'));
      proxy.arrive(attempt);
    });
  }

  #nextProxy(): ScaleProxy | undefined {
    this.#turn += 1;
    const all = [...this.proxies.values()];
    return all[this.#turn % Math.max(1, all.length)];
  }

  openSession(proxy: ScaleProxy, name: string, answer: (end: End | undefined) => void): void {
    this.later(1, () => {
      const registry = this.#registries.get(name);
      if (registry === undefined || !proxy.host.alive) return this.later(1, () => answer(undefined));
      const connection = this.#network.connect(proxy.host, registry.host);
      registry.host.run(() => registry.accept(connection.ends[1], proxy.id));
      answer(connection.ends[0]);
    });
  }

  /** Runs for so long at most, until `done`. False when it is not. */
  run(forMs: number, done: () => boolean): boolean {
    const end = this.now + forMs;
    while (!done()) {
      const until = Math.min(end, this.now + 100);
      while (this.scheduler.step(until));
      if (this.now >= end) return done();
    }
    return true;
  }

  #host(name: string): Host {
    return new Host(name, this.seed, this.scheduler, { offsetMs: 0, rate: 1 });
  }
}
