import type { ProxyId } from '@xylem/discovery';
import type { ScaleAgent } from './agent.ts';
import { ScaleWorld } from './world.ts';
import type { ScaleOptions } from './world.ts';

/** One phase of the run, measured from its beginning to the moment all hold what they should. */
export interface ScalePhase {
  readonly name: string;
  /** Whether all held all in the end. */
  readonly reached: boolean;
  /** Virtual milliseconds until an agent held it, over all agents. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  readonly gossipMessagesPerProxy: number;
  readonly gossipBytesPerProxy: number;
  readonly peakHandshakesPerProxy: number;
  readonly peakHandshakes: number;
  readonly handshakes: number;
  readonly dials: number;
  /** Connections closed at their ClientHello because too many came. */
  readonly shed: number;
  readonly storeWrites: number;
  /** Virtual length of the phase. */
  readonly lastedMs: number;
}

export interface ScaleReport {
  readonly phases: readonly ScalePhase[];
  readonly steps: number;
}

/** Agents start within this, as after a power cut of everything. */
const START_SPREAD_MS = 1_000;
const REGISTER_MS = 10_000;
const QUIET_MS = 15_000;
/** For every reset to arrive. */
const CUT_MS = 50;
/** A phase that takes longer has failed. */
const PHASE_LIMIT_MS = 900_000;

class ScaleRun {
  readonly #world: ScaleWorld;
  readonly #onPhase: (phase: ScalePhase) => void;
  readonly #phases: ScalePhase[] = [];

  constructor(options: ScaleOptions, onPhase: (phase: ScalePhase) => void) {
    this.#world = new ScaleWorld(options);
    this.#onPhase = onPhase;
  }

  run(): ScaleReport {
    const world = this.#world;
    world.run(REGISTER_MS, () => false);
    this.#phase('cold start', () => {
      for (let index = 0; index < world.options.agents; index += 1)
        world.later((START_SPREAD_MS * index) / world.options.agents, () => world.addAgent());
      const { proxies } = world.options;
      return (agent) => agent.claimed.size === proxies;
    });
    this.#phase('quiet', () => {
      world.run(QUIET_MS, () => false);
      return () => true;
    });
    this.#phase('one drained and replaced', () => {
      const [old] = world.proxies.values();
      const { id } = world.addProxy();
      if (old !== undefined) world.drain(old);
      return holds(id);
    });
    world.run(QUIET_MS, () => false);
    this.#phase('one killed and replaced', () => {
      const [old] = world.proxies.values();
      if (old !== undefined) world.kill(old);
      return holds(world.addProxy().id);
    });
    world.run(QUIET_MS, () => false);
    const live = world.proxies.size;
    if (world.options.cutAll === true)
      this.#phase('all cut at once', () => {
        world.cutAll();
        world.run(CUT_MS, () => false);
        return (agent) => agent.claimed.size === live;
      });
    return { phases: this.#phases, steps: world.scheduler.steps };
  }

  #phase(name: string, begin: () => (agent: ScaleAgent) => boolean): void {
    const world = this.#world;
    world.meters.restart();
    const from = world.now;
    const dials = this.#dials();
    const revision = world.store.store.revision;
    const isDone = begin();
    const times: number[] = [];
    const done = new Set<ScaleAgent>();
    const look = (agent: ScaleAgent): void => {
      if (done.has(agent) || !isDone(agent)) return;
      done.add(agent);
      times.push(world.now - from);
    };
    world.onClaimed = look;
    for (const agent of world.agents) look(agent);
    const reached = world.run(PHASE_LIMIT_MS, () => done.size === world.options.agents);
    times.sort((one, other) => one - other);
    const quantile = (part: number): number => times[Math.min(times.length - 1, Math.floor(part * times.length))] ?? 0;
    const { meters, proxies } = world;
    const phase: ScalePhase = {
      name,
      reached,
      p50Ms: quantile(0.5),
      p99Ms: quantile(0.99),
      maxMs: quantile(1),
      gossipMessagesPerProxy: meters.sum(({ gossipMessages }) => gossipMessages) / proxies.size,
      gossipBytesPerProxy: meters.sum(({ gossipBytes }) => gossipBytes) / proxies.size,
      peakHandshakesPerProxy: meters.peakOfOne(),
      peakHandshakes: meters.peakOfAll(),
      handshakes: meters.sum(({ handshakes }) => handshakes),
      shed: meters.sum(({ shed }) => shed),
      dials: this.#dials() - dials,
      storeWrites: Number(world.store.store.revision - revision),
      lastedMs: world.now - from,
    };
    this.#phases.push(phase);
    this.#onPhase(phase);
  }

  #dials(): number {
    return this.#world.agents.reduce((sum, { dialsMade }) => sum + dialsMade, 0);
  }
}

/** Cold start to a full mesh; a quarter of a quiet minute; one root proxy drained and replaced; one killed and replaced. Tells each phase when it is over. */
export function runScaled(options: ScaleOptions, onPhase: (phase: ScalePhase) => void): ScaleReport {
  return new ScaleRun(options, onPhase).run();
}

function holds(proxy: ProxyId): (agent: ScaleAgent) => boolean {
  return (agent) => agent.claimed.has(proxy);
}
