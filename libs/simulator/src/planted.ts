import { LEAF_BUGS } from './planted-leaf.ts';
import { LINK_BUGS } from './planted-link.ts';
import { REGISTRY_BUGS } from './planted-registry.ts';
import { ROOT_BUGS } from './planted-root.ts';
import type { PlantedBug } from './planted-tap.ts';
import { simulate } from './run.ts';

export interface Catch {
  readonly name: string;
  /** Undefined when no seed showed it. */
  readonly promise: string | undefined;
  readonly seed: number;
  /** Faults chosen by hand instead of the seed's own. */
  readonly chosen: boolean;
  readonly detail: string;
}

/** Every planted bug, in the order of the table. */
export const PLANTED_BUGS: readonly PlantedBug[] = [...LEAF_BUGS, ...ROOT_BUGS, ...LINK_BUGS, ...REGISTRY_BUGS];

/** The planted bug of this name; undefined when there is none. */
export function plantedBug(name: string): PlantedBug | undefined {
  return PLANTED_BUGS.find((bug) => bug.name === name);
}

/** Runs seeds from `first` on until a checker finds the bug; at last the faults that were chosen for it. */
export function catchBug(bug: PlantedBug, first: number, maxSeeds: number): Catch {
  const { name, overrides, shownBy } = bug;
  for (let seed = first; seed < first + maxSeeds; seed += 1) {
    const { violation } = simulate({ seed, overrides });
    if (violation !== undefined) return { name, ...violation, seed, chosen: false };
  }
  const violation = shownBy === undefined ? undefined : simulate({ ...shownBy, overrides }).violation;
  if (shownBy !== undefined && violation !== undefined) return { name, ...violation, seed: shownBy.seed, chosen: true };
  const detail = `no seed of ${String(maxSeeds)} showed it`;
  return { name, promise: undefined, seed: first + maxSeeds - 1, chosen: false, detail };
}
