import { draw } from '../random.ts';
import { actionsOf } from './actions.ts';
import type { Cores } from './draft.ts';
import type { GuardName } from './guards.ts';
import { coresOf, retell, startOf, take } from './play.ts';
import type { Story, Visit } from './play.ts';
import { WALK_BOUNDS } from './state.ts';

export interface WalkOptions {
  readonly without?: GuardName | undefined;
  /** Runs of chance, each drawn from its number. */
  readonly walks: number;
}

export interface Walked {
  readonly walks: number;
  readonly steps: number;
  readonly found: Story | undefined;
}

/** Enough for all tunnels, all faults and both registrations. */
const STEPS = 60;
/** After so many runs what was unfolded of the cores is let go: memory stays bounded. */
const FRESH_EVERY = 1_000;

/** Goes where the draws lead, through wider bounds than a search can exhaust: every fault in one run, four tunnels. */
export function wander({ without, walks }: WalkOptions): Walked {
  let cores = coresOf(without);
  let steps = 0;
  for (let walk = 0; walk < walks; walk += 1) {
    if (walk % FRESH_EVERY === 0) cores = coresOf(without);
    const { last, broken } = walkOnce(cores, walk);
    steps += last.depth;
    if (broken) return { walks: walk + 1, steps, found: retell(cores, last) };
  }
  return { walks, steps, found: undefined };
}

function walkOnce(cores: Cores, walk: number): { last: Visit; broken: boolean } {
  let visit = startOf(cores);
  for (let step = 0; step < STEPS; step += 1) {
    const actions = actionsOf(visit.state, WALK_BOUNDS, cores);
    const action = actions[Math.floor(draw(walk, 'explorer', 'walk', step) * actions.length)];
    if (action === undefined) break;
    const draft = take(cores, visit.state, action);
    const next: Visit = { state: draft.state, parent: visit, action, depth: visit.depth + 1 };
    if (draft.broken !== undefined) return { last: next, broken: true };
    if (draft.state.operations.length <= WALK_BOUNDS.inFlight) visit = next;
  }
  return { last: visit, broken: false };
}
