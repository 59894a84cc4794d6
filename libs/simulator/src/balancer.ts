import { draw, hashText, KeyedRandom } from './random.ts';

/** Every way of spreading connections that a real deployment has shown, the unfair ones included. */
export const BALANCER_POLICIES = [
  'round-robin',
  'round-robin-2',
  'round-robin-3',
  'random',
  'least-connections',
  'source-hash',
  'flow-hash',
  'first',
  'stale-health',
  'adversary',
  'sni',
] as const;
export type BalancerPolicy = (typeof BALANCER_POLICIES)[number];

/** Policies under which chance alone reaches every backend, so that unsteered discovery converges too. */
export const FAIR_POLICIES: ReadonlySet<BalancerPolicy> = new Set([
  'round-robin',
  'random',
  'least-connections',
  'stale-health',
  'sni',
]);

export interface Backend {
  readonly name: string;
  /** The root proxy it is, where that is not its name. */
  readonly identity?: string;
  /** What the balancer's health check last saw. */
  readonly healthy: boolean;
  readonly draining: boolean;
  readonly connections: number;
}

export interface Attempt {
  /** Who connects; a source-hash balancer sees nothing else. */
  readonly source: string;
  /** Server name of the ClientHello, where the balancer reads it. */
  readonly serverName: string | undefined;
  /** Backends this source is connected to already: what an adversary uses. */
  readonly held: ReadonlySet<string>;
}

/** Chooses the backend of each connection. */
export class Balancer {
  readonly policy: BalancerPolicy;
  readonly #random: KeyedRandom;
  readonly #seed: number;
  #turn = 0;

  constructor(policy: BalancerPolicy, seed: number) {
    this.policy = policy;
    this.#seed = seed;
    this.#random = new KeyedRandom(seed, 'balancer');
  }

  /** The backend for one attempt; undefined when there is none to choose. `backends` in a stable order. */
  choose(attempt: Attempt, backends: readonly Backend[]): string | undefined {
    const usable = this.policy === 'stale-health' ? backends : backends.filter((backend) => backend.healthy);
    if (usable.length === 0) return undefined;
    return this.#pick(attempt, usable, backends)?.name;
  }

  #pick(attempt: Attempt, usable: readonly Backend[], all: readonly Backend[]): Backend | undefined {
    switch (this.policy) {
      case 'round-robin':
      case 'stale-health':
        return this.#rotate(usable, 1);
      case 'round-robin-2':
        return this.#rotate(usable, 2);
      case 'round-robin-3':
        return this.#rotate(usable, 3);
      case 'random':
        return this.#random.pick('choice', usable);
      case 'least-connections':
        return this.#least(usable);
      case 'source-hash':
        return usable[hashText(attempt.source) % usable.length];
      case 'flow-hash':
        return this.#flow(attempt, usable, all);
      case 'first':
        return usable[0];
      case 'adversary':
        return usable.find((backend) => attempt.held.has(identityOf(backend))) ?? usable[0];
      case 'sni':
        return usable.find((backend) => identityOf(backend) === attempt.serverName) ?? this.#rotate(usable, 1);
    }
  }

  /** `stride` connections of one attempt: health probe and dial, say, so that some backends are never met. */
  #rotate(usable: readonly Backend[], stride: number): Backend | undefined {
    const chosen = usable[this.#turn % usable.length];
    this.#turn += stride;
    return chosen;
  }

  #least(usable: readonly Backend[]): Backend | undefined {
    const fewest = Math.min(...usable.map((backend) => backend.connections));
    return this.#random.pick(
      'tie',
      usable.filter((backend) => backend.connections === fewest),
    );
  }

  /** Keeps a flow with its first backend, even while that one drains (network balancers track flows by address pair). */
  #flow(attempt: Attempt, usable: readonly Backend[], all: readonly Backend[]): Backend | undefined {
    const draining = all.filter((backend) => backend.draining);
    if (draining.length > 0 && draw(this.#seed, attempt.source, 'sticky', 0) < 0.5) return draining[0];
    return usable[hashText(`flow/${attempt.source}`) % usable.length];
  }
}

function identityOf({ name, identity }: Backend): string {
  return identity ?? name;
}
