import { SITUATIONS } from '@xylem/simulator';
import type { SeedResult } from './seeds.ts';

export interface Summary {
  readonly seeds: number;
  readonly violations: number;
  /** Seeds that broke a promise, by promise; the first few of each. */
  readonly broken: Readonly<Record<string, readonly number[]>>;
  readonly steps: number;
  readonly tookMs: number;
  /** Virtual milliseconds from healing to everything as promised. */
  readonly convergedP50Ms: number;
  readonly convergedP99Ms: number;
  readonly convergedMaxMs: number;
  readonly quietDials: number;
  /** Situations that matter and that no seed reached. */
  readonly unreached: readonly string[];
}

const SHOWN_SEEDS = 10;
/** So many seeds have to reach every situation that matters. */
export const REACH_ALL_SEEDS = 2_000;

export function summarise(results: readonly SeedResult[], tookMs: number): Summary {
  const broken: Record<string, number[]> = {};
  for (const { seed, violation } of results) {
    if (violation === undefined) continue;
    const seeds = (broken[violation.promise] ??= []);
    if (seeds.length < SHOWN_SEEDS) seeds.push(seed);
  }
  const converged = results
    .flatMap(({ convergedMs }) => (convergedMs === undefined ? [] : [convergedMs]))
    .sort((a, b) => a - b);
  const quantile = (part: number): number =>
    converged[Math.min(converged.length - 1, Math.floor(part * converged.length))] ?? 0;
  return {
    seeds: results.length,
    violations: results.filter(({ violation }) => violation !== undefined).length,
    broken,
    steps: results.reduce((sum, { steps }) => sum + steps, 0),
    tookMs: Math.round(tookMs),
    convergedP50Ms: quantile(0.5),
    convergedP99Ms: quantile(0.99),
    convergedMaxMs: quantile(1),
    quietDials: results.reduce((sum, { quietDials }) => sum + quietDials, 0),
    unreached: unreached(results),
  };
}

function unreached(results: readonly SeedResult[]): readonly string[] {
  const reached = new Set(results.flatMap((result) => result.reached));
  return SITUATIONS.map(({ name }) => name).filter((name) => !reached.has(name));
}

/** The summary for a person. */
export function describeSummary(summary: Summary): string {
  const { seeds, violations, broken, steps, tookMs, convergedP50Ms, convergedP99Ms, convergedMaxMs } = summary;
  const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
  const lines = [
    `${String(seeds)} seeds, ${String(violations)} violations, ${String(steps)} steps in ${seconds(tookMs)}`,
    `whole again after healing: p50 ${seconds(convergedP50Ms)}, p99 ${seconds(convergedP99Ms)}, at most ${seconds(convergedMaxMs)} of virtual time`,
  ];
  for (const [promise, list] of Object.entries(broken))
    lines.push(`  ${promise} broken by seed ${list.join(', ')}: npm run sim -- --seed ${String(list[0])} --trace`);
  if (seeds >= REACH_ALL_SEEDS) lines.push(...summary.unreached.map((name) => `  never reached: ${name}`));
  return lines.join('\n');
}
