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
  readonly detail: string;
}

/** Every planted bug, in the order of the table. */
export const PLANTED_BUGS: readonly PlantedBug[] = [...LEAF_BUGS, ...ROOT_BUGS, ...LINK_BUGS, ...REGISTRY_BUGS];

/** The planted bug of this name; undefined when there is none. */
export function plantedBug(name: string): PlantedBug | undefined {
  return PLANTED_BUGS.find((bug) => bug.name === name);
}

/** Runs seeds from `first` on until a checker finds the bug. */
export function catchBug(bug: PlantedBug, first: number, maxSeeds: number): Catch {
  for (let seed = first; seed < first + maxSeeds; seed += 1) {
    const { violation } = simulate({ seed, overrides: bug.overrides });
    if (violation !== undefined) return { name: bug.name, promise: violation.promise, seed, detail: violation.detail };
  }
  return {
    name: bug.name,
    promise: undefined,
    seed: first + maxSeeds - 1,
    detail: `no seed of ${String(maxSeeds)} showed it`,
  };
}
