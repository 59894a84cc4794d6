import type { Chaos } from './chaos.ts';
import type { Checkers } from './checkers.ts';
import { notConverged, patience } from './convergence.ts';
import type { World } from './world.ts';

/** After healing everything is as promised within this (FAULTS row 29; L9 for restored stores). */
const CONVERGE_MS = 30_000;
/** Unsteered, chance alone decides: enough backoffs for a coupon collector's bad day. */
const CONVERGE_BY_CHANCE_MS = 400_000;
/** What agents believe that nobody vouches for any more expires. */
const PATIENCE_MS = 180_000;
/** Healing ends processes and connections: the news of it is on its way for a moment. */
const ARRIVAL_MS = 250;
const LOOK_EVERY_MS = 250;
/** L2 is watched for this long once all is claimed. */
const QUIET_MS = 60_000;
/** One jittered probe a minute. */
const QUIET_DIALS = 1;
/** A claim that moves to another tunnel is recorded anew within this. */
const REPLACED_MS = 1_000;

/** One simulation under way. */
export interface Run {
  readonly world: World;
  readonly chaos: Chaos;
  readonly checkers: Checkers;
  /** Called after each step; touches nothing. */
  readonly observe: (() => void) | undefined;
}

/** Runs on until then, or to the first broken promise. */
export function advance({ world, chaos, checkers, observe }: Run, until: number): void {
  for (let at = world.now; at < until && checkers.violation === undefined;) {
    at = Math.min(at + LOOK_EVERY_MS, until);
    while (checkers.violation === undefined && world.scheduler.step(at)) {
      checkers.afterStep();
      observe?.();
    }
    checkers.look(chaos.calm);
  }
}

/** Runs a healed world until all is as promised; how long that took, or undefined when it took too long. */
export function converge(run: Run, steering: 'sni' | 'off'): number | undefined {
  const { world, checkers } = run;
  const from = world.now;
  const boundMs = steering === 'off' ? CONVERGE_BY_CHANCE_MS : CONVERGE_MS;
  let due = from + boundMs;
  for (let at = from + ARRIVAL_MS; ; at += LOOK_EVERY_MS) {
    advance(run, at);
    if (checkers.violation !== undefined) return undefined;
    const reason = notConverged(world);
    if (reason === undefined) return world.now - from;
    if (at >= due && (checkers.isEpochDrawnAgain || patience(world) !== undefined))
      due = Math.min(at + boundMs, from + boundMs + PATIENCE_MS);
    if (at > due) {
      checkers.fail('L1', `${reason}, ${(at - from).toFixed(0)} ms after everything healed`);
      return undefined;
    }
  }
}

/** What is not as promised and stays so: a relayed tunnel that is just being replaced by a direct one is recorded anew. */
function staysUnmet(run: Run): string | undefined {
  const { world } = run;
  const until = world.now + REPLACED_MS;
  while (notConverged(world) !== undefined && world.now < until) advance(run, world.now + LOOK_EVERY_MS);
  return notConverged(world);
}

/** L2: nothing to do means nothing is dialled. L4: users of every claimed tunnel are served. */
export function watchQuiet(run: Run): number {
  const { world, checkers } = run;
  const before = new Map([...world.agents.values()].map((agent) => [agent, agent.dialsMade]));
  for (const proxy of world.liveProxies()) proxy.dialNodes();
  advance(run, world.now + QUIET_MS);
  let total = 0;
  for (const [agent, dials] of before) {
    const made = agent.dialsMade - dials;
    total += made;
    if (made > QUIET_DIALS) checkers.fail('L2', `${agent.host.name} dialled ${String(made)} times in a quiet minute`);
  }
  const reason = staysUnmet(run);
  if (reason !== undefined) checkers.fail('L1', `lost again in a quiet minute: ${reason}`);
  const unserved = world.liveProxies().flatMap((proxy) => proxy.unserved.map((dial) => `${dial} of ${proxy.id}`));
  if (unserved.length > 0 && !checkers.isEpochDrawnAgain)
    checkers.fail('L4', `not served while all is well: ${unserved.join(', ')}`);
  return total;
}
