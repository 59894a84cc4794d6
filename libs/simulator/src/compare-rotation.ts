import { Contest } from './compare.ts';
import type { Contestant } from './compare.ts';

/** How an agent lived through a rotation of root proxies. Times in virtual milliseconds. */
export interface Rotation {
  /** After each replacement, until every live root proxy was held; undefined when it was not before the next one. */
  readonly healedMs: readonly (number | undefined)[];
  /** Whether it held them all at the end, after a calm. */
  readonly converged: boolean;
  /** Dials from the first replacement until the calm is over. */
  readonly dials: number;
  /** Dials in the minute after it. */
  readonly quietDials: number;
  /** Proxies the agent thinks of at the end. */
  readonly pool: number;
}

const ROTATIONS = 3;
const FIRST_ROTATION_MS = 40_000;
/** From one replacement to the next, virtual milliseconds. */
export const ROTATION_MS = 20_000;
const CALM_MS = 120_000;
const QUIET_MS = 60_000;

/**
 * Three root proxies are replaced, one every 20 s, while gossip is up to 3 s late, a tenth of it lost and a tenth repeated.
 * Then two calm minutes, and a minute in which dials are counted.
 */
export function rotation(contestant: Contestant): Rotation {
  const contest = new Contest(contestant);
  const { world } = contest;
  contest.startAgent();
  world.run(FIRST_ROTATION_MS);
  Object.assign(world.gossip, { dropChance: 0.1, duplicateChance: 0.1, maxDelayMs: 3_000 });
  const atFirst = contest.observe().dials;
  const healedMs: (number | undefined)[] = [];
  for (let index = 0; index < ROTATIONS; index += 1) {
    const until = world.now + ROTATION_MS;
    replaceOldest(contest);
    healedMs.push(contest.runUntilMesh(ROTATION_MS));
    world.run(until);
  }
  world.gossip.quiet();
  contest.runFor(CALM_MS);
  const before = contest.observe();
  contest.runFor(QUIET_MS);
  const { dials, pool } = contest.observe();
  return {
    healedMs,
    converged: contest.holdsAll,
    dials: before.dials - atFirst,
    quietDials: dials - before.dials,
    pool,
  };
}

/** A new proxy comes, the oldest one dies. */
function replaceOldest({ world }: Contest): void {
  const [oldest] = world.liveProxies();
  world.addProxy();
  if (oldest !== undefined) world.crash(oldest);
}
