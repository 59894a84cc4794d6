import type { BalancerPolicy } from './balancer.ts';
import type { CoreMakers } from './cores.ts';
import { World } from './world.ts';

/** One cell of the comparison: a protocol behind a balancer. */
export interface Contest {
  readonly leaf: CoreMakers['leaf'];
  readonly steering: 'sni' | 'off';
  readonly balancer: BalancerPolicy;
  readonly proxies: number;
  readonly seed: number;
}

export interface ContestResult {
  /** Virtual milliseconds until the agent held every live proxy for the first time; undefined when it never did. */
  readonly meshMs: number | undefined;
  /** Whether it held them all at the end, after rotation and a calm. */
  readonly converged: boolean;
  readonly dials: number;
  readonly quietDials: number;
  /** Proxies the agent still thinks of at the end. */
  readonly pool: number;
}

const ROTATIONS = 3;
const FIRST_ROTATION_MS = 40_000;
const ROTATION_MS = 10_000;
const CALM_MS = 120_000;
const QUIET_MS = 60_000;

/**
 * One agent finds `proxies` root proxies; three are replaced, one every 10 s, while gossip is up to 3 s late, a tenth of it lost and a
 * tenth repeated. Then two calm minutes, and a minute in which dials are counted.
 */
export function contest({ leaf, steering, balancer, proxies, seed }: Contest): ContestResult {
  const world = new World({ seed, registries: 1, proxies, leaves: { berlin: 1 }, balancer, steering, cores: { leaf } });
  Object.assign(world.gossip, { dropChance: 0.1, duplicateChance: 0.1, maxDelayMs: 3_000 });
  world.quiet = true;
  for (let index = 0; index < ROTATIONS; index += 1)
    world.scheduler.at(FIRST_ROTATION_MS + index * ROTATION_MS, () => rotate(world));
  const chaosEnd = FIRST_ROTATION_MS + ROTATIONS * ROTATION_MS;
  let meshMs: number | undefined;
  for (let at = 50; at <= chaosEnd; at += 50) {
    world.run(at);
    if (meshMs === undefined && holdsAll(world)) meshMs = at;
  }
  world.gossip.quiet();
  world.run(chaosEnd + CALM_MS);
  const dials = dialsOf(world);
  world.run(chaosEnd + CALM_MS + QUIET_MS);
  return { meshMs, converged: holdsAll(world), dials, quietDials: dialsOf(world) - dials, pool: poolOf(world) };
}

/** A new proxy comes, the oldest one goes. */
function rotate(world: World): void {
  const [oldest] = world.liveProxies();
  world.addProxy();
  if (oldest !== undefined) world.crash(oldest);
}

function holdsAll(world: World): boolean {
  return world
    .liveProxies()
    .every((proxy) => proxy.root?.status().tunnels.some(({ state }) => state === 'claimed') === true);
}

function dialsOf(world: World): number {
  return [...world.agents.values()].reduce((sum, agent) => sum + agent.dialsMade, 0);
}

function poolOf(world: World): number {
  const entries = [...world.agents.values()].flatMap((agent) => agent.brain?.status().entries ?? []);
  return entries.filter(({ state }) => state !== 'gone').length;
}
