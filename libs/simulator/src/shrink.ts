import type { Fault } from './faults.ts';
import { simulate } from './run.ts';
import type { Overrides } from './run.ts';

/** A failure worth keeping: replayed for ever once it is mended. */
export interface Regression {
  readonly seed: number;
  readonly faults: readonly Fault[];
  /** The promise that broke. */
  readonly promise: string;
  /** The planted bug that breaks it still; without one, the mistake was nowhere near a core and is gone. */
  readonly planted?: string;
}

const SHORTEST_MS = 50;

/**
 * The fewest and shortest faults under which `seed` still breaks the same promise; undefined when it breaks none.
 * Works because every draw is keyed: leaving one fault out changes nothing else.
 */
export function shrink(seed: number, overrides: Overrides = {}): Regression | undefined {
  const first = simulate({ seed, overrides });
  const promise = first.violation?.promise;
  if (promise === undefined) return undefined;
  const breaks = (faults: readonly Fault[]): boolean =>
    simulate({ seed, overrides, faults }).violation?.promise === promise;
  const fewest = remove(first.faults, breaks);
  return { seed, promise, faults: shorten(fewest, breaks) };
}

/** Delta debugging: leaves out halves, then quarters, down to single faults, until nothing more can go. */
function remove(faults: readonly Fault[], breaks: (faults: readonly Fault[]) => boolean): readonly Fault[] {
  let kept = faults;
  for (let size = Math.ceil(kept.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < kept.length;) {
      const without = [...kept.slice(0, at), ...kept.slice(at + size)];
      if (breaks(without)) kept = without;
      else at += size;
    }
  }
  return kept;
}

function shorten(faults: readonly Fault[], breaks: (faults: readonly Fault[]) => boolean): readonly Fault[] {
  let kept = faults;
  for (let index = 0; index < kept.length; index += 1) {
    for (;;) {
      const halved = kept.map((fault, at) => (at === index ? { ...fault, forMs: fault.forMs / 2 } : fault));
      if ((halved[index]?.forMs ?? 0) < SHORTEST_MS || !breaks(halved)) break;
      kept = halved;
    }
  }
  return kept;
}
