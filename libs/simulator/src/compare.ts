import type { LeafStatus } from '@xylem/discovery';
import type { AgentProcess } from './agent-process.ts';
import type { BalancerPolicy } from './balancer.ts';
import { tapLeaf } from './cores.ts';
import type { CoreMakers } from './cores.ts';
import { World } from './world.ts';

/** A protocol behind a balancer, and how many root proxies it has to find. */
export interface Contestant {
  readonly leaf: CoreMakers['leaf'];
  readonly steering: 'sni' | 'off';
  readonly balancer: BalancerPolicy;
  readonly proxies: number;
  readonly seed: number;
}

/** What is counted of the one agent. */
export interface Observed {
  /** Dials to find and claim root proxies. */
  readonly dials: number;
  /** Dials to a proxy that is held already, through another one: tries to reach it directly. */
  readonly directDials: number;
  /** Tunnels held through another root proxy. */
  readonly relayed: number;
  /** Proxies the agent thinks of, without those that it knows to be gone. */
  readonly pool: number;
}

/** One agent of one leaf cluster and its root cluster, in virtual time. */
export class Contest {
  readonly world: World;
  #agent: AgentProcess | undefined;
  #directDials = 0;

  constructor({ leaf, steering, balancer, proxies, seed }: Contestant) {
    const counted: CoreMakers['leaf'] = (config, host) =>
      tapLeaf(leaf(config, host), {
        effect: (effect) => {
          if (effect.type === 'dial' && effect.replaces !== undefined && this.#holds(effect.target))
            this.#directDials += 1;
          return [effect];
        },
      });
    this.world = new World({ seed, registries: 1, proxies, leaves: {}, balancer, steering, cores: { leaf: counted } });
    this.world.quiet = true;
  }

  startAgent(): void {
    this.#agent = this.world.addAgent('berlin', 'a1');
  }

  runFor(ms: number): void {
    this.world.run(this.world.now + ms);
  }

  /** Runs until the agent holds every live root proxy. @returns Milliseconds it took; undefined when not within `limitMs`. */
  runUntilMesh(limitMs: number): number | undefined {
    return this.runUntil(limitMs, (status) => this.#holdsAll(status));
  }

  /** Runs until the agent's own view is as wanted; looks again whenever the agent did something. */
  runUntil(limitMs: number, wanted: (status: LeafStatus) => boolean): number | undefined {
    const from = this.world.now;
    let looked: number | undefined;
    while (this.world.scheduler.step(from + limitMs)) {
      const turns = this.#agent?.turns;
      if (turns === looked) continue;
      looked = turns;
      const status = this.status();
      if (status !== undefined && wanted(status)) return this.world.now - from;
    }
    return undefined;
  }

  get holdsAll(): boolean {
    const status = this.status();
    return status !== undefined && this.#holdsAll(status);
  }

  #holdsAll({ entries }: LeafStatus): boolean {
    const claimed = new Set(entries.filter(({ state }) => state === 'claimed').map(({ proxy }) => proxy));
    return this.world.liveProxies().every(({ id }) => claimed.has(id));
  }

  status(): LeafStatus | undefined {
    return this.#agent?.brain?.status();
  }

  observe(): Observed {
    const entries = this.status()?.entries ?? [];
    return {
      dials: (this.#agent?.dialsMade ?? 0) - this.#directDials,
      directDials: this.#directDials,
      relayed: entries.filter(({ via }) => via !== undefined).length,
      pool: entries.filter(({ state }) => state !== 'gone').length,
    };
  }

  #holds(proxy: string | undefined): boolean {
    return this.status()?.entries.some((entry) => entry.proxy === proxy && entry.state === 'claimed') === true;
  }
}
