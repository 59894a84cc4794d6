import type { Tap } from './cores.ts';
import type { Fault } from './faults.ts';
import type { Overrides } from './run.ts';

/** A mistake put around a core: the checkers have to find it. */
export interface PlantedBug {
  readonly name: string;
  readonly overrides: Overrides;
  /** Why it breaks no promise here: another defence mends it. Such a bug is not expected to be caught. */
  readonly harmless?: string;
  /** What shows it, where chance rarely brings that together. */
  readonly shownBy?: { readonly seed: number; readonly faults: readonly Fault[] };
}

/** Without the effects of one type. */
export function dropEffect<Effect extends { readonly type: string }>(type: Effect['type']): Tap<never, Effect> {
  return { effect: (effect) => (effect.type === type ? [] : [effect]) };
}
