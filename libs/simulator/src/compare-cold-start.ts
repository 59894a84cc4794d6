import { FAIR_POLICIES } from './balancer.ts';
import type { BalancerPolicy } from './balancer.ts';
import { Contest } from './compare.ts';
import type { Contestant, Observed } from './compare.ts';

/** How an agent that knows nothing found a root cluster that runs. Times in virtual milliseconds. */
export interface ColdStart {
  /** From the agent's start until it held every root proxy; undefined when it never did. */
  readonly meshMs: number | undefined;
  /** Dials made to find and claim, until the end of the run. Direct tries for relayed tunnels are `directDials`. */
  readonly dials: number;
  /** Tunnels that reached their proxy through another one, when the mesh was complete. */
  readonly relayed: number;
  /** Dials to find and claim in the minute that follows. */
  readonly quietDials: number;
  /** Tries to replace a relayed tunnel by a direct one, in that minute. */
  readonly directDials: number;
  /** Proxies the agent thinks of at the end. */
  readonly pool: number;
}

/** The root cluster runs for this long before the agent starts: every proxy is registered and told the others. */
const STARTED_MS = 5_000;
/** Longest search, where chance reaches every proxy in the end: the worst of a hundred seeds needs a third of it. */
const CHANCE_MS = 3_600_000;
/** Longest search, where it does not. */
const HOPELESS_MS = 120_000;
const SETTLE_MS = 2_000;
const QUIET_MS = 60_000;

/** One agent starts before a root cluster that runs. */
export function coldStart(contestant: Contestant): ColdStart {
  const contest = new Contest(contestant);
  contest.world.run(STARTED_MS);
  contest.startAgent();
  const { balancer, proxies } = contestant;
  const meshMs = contest.runUntilMesh(chanceReachesAll(balancer, proxies) ? CHANCE_MS : HOPELESS_MS);
  const { relayed } = contest.observe();
  contest.runFor(SETTLE_MS);
  const before = contest.observe();
  contest.runFor(QUIET_MS);
  return { meshMs, relayed, ...outcome(before, contest.observe()) };
}

function outcome(before: Observed, after: Observed): Omit<ColdStart, 'meshMs' | 'relayed'> {
  return {
    dials: before.dials,
    quietDials: after.dials - before.dials,
    directDials: after.directDials - before.directDials,
    pool: after.pool,
  };
}

/** Whether chance alone meets every one of `proxies` behind this balancer: round robin that moves on by 2 misses half of an even number. */
export function chanceReachesAll(balancer: BalancerPolicy, proxies: number): boolean {
  if (balancer === 'round-robin-2') return proxies % 2 !== 0;
  if (balancer === 'round-robin-3') return proxies % 3 !== 0;
  return FAIR_POLICIES.has(balancer);
}
