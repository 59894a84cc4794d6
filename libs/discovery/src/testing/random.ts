import type { Random } from '../shared/time.ts';

/** Reproducible chance: a small 32-bit generator (mulberry32). All sites share one sequence. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return {
    next() {
      state = (state + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    },
  };
}

/** Always the same draw: 0 makes every jittered wait its shortest. */
export function fixedRandom(draw: number): Random {
  return { next: () => draw };
}
