import { Contest } from './compare.ts';
import type { Contestant } from './compare.ts';

/** How an agent that held every root proxy lived through two changes. Virtual milliseconds. */
export interface OneChanged {
  /** From the start of one more root proxy until it was held. */
  readonly addedMs: number | undefined;
  /** From the death of a root proxy until the agent sought it no more. */
  readonly soughtMs: number | undefined;
}

const MESH_MS = 600_000;
const SETTLED_MS = 30_000;
const SEEN_MS = 600_000;

/** One root proxy is added to a full mesh; later one dies, and its record in the store lapses. */
export function oneChanged(contestant: Contestant): OneChanged {
  const contest = new Contest(contestant);
  const { world } = contest;
  world.run(SETTLED_MS / 6);
  contest.startAgent();
  contest.runUntilMesh(MESH_MS);
  contest.runFor(SETTLED_MS);
  world.addProxy();
  const addedMs = contest.runUntilMesh(SEEN_MS);
  contest.runFor(SETTLED_MS);
  const [victim] = world.liveProxies();
  if (victim !== undefined) world.crash(victim);
  const soughtMs = contest.runUntil(SEEN_MS, ({ wanted, entries }) => {
    return wanted === 0 && entries.every(({ proxy, state }) => proxy !== victim?.id || state === 'gone');
  });
  return { addedMs, soughtMs };
}
