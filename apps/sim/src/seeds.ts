import { createAgent } from '@xylem/discovery/strategies';
import type { StrategyName } from '@xylem/discovery/strategies';
import { simulate } from '@xylem/simulator';
import type { BalancerPolicy, RunOptions, RunReport, Violation } from '@xylem/simulator';

/** What a batch of seeds is run with; plain data, so that it can be sent to a worker. */
export interface Batch {
  readonly first: number;
  readonly count: number;
  readonly strategy: StrategyName;
  readonly balancer: BalancerPolicy | undefined;
}

/** What is kept of a seed. */
export interface SeedResult {
  readonly seed: number;
  readonly balancer: BalancerPolicy;
  readonly steering: 'sni' | 'off';
  readonly violation: Violation | undefined;
  readonly convergedMs: number | undefined;
  readonly dials: number;
  readonly quietDials: number;
  readonly steps: number;
  /** Names of the situations that came up. */
  readonly reached: readonly string[];
}

/** One seed in this many is run twice, and both runs must be the same to the last step. */
const TWICE_EVERY = 20;

export function runSeed(
  options: { readonly seed: number; readonly keepTrace?: boolean } & Pick<Batch, 'strategy' | 'balancer'>,
): RunReport {
  const { seed, strategy, balancer, keepTrace = false } = options;
  const run: RunOptions = {
    seed,
    keepTrace,
    ...(balancer === undefined ? {} : { balancer }),
    overrides: { cores: { leaf: (config, host) => createAgent(strategy, config, host.random, host.now) } },
  };
  const report = simulate(run);
  if (seed % TWICE_EVERY !== 0 || report.violation !== undefined) return report;
  const again = simulate(run);
  if (again.hash === report.hash) return report;
  const detail = `two runs of one seed differ: ${report.hash} and ${again.hash}`;
  return { ...report, violation: { promise: 'determinism', at: 0, detail } };
}

export function runBatch(batch: Batch): readonly SeedResult[] {
  return Array.from({ length: batch.count }, (_, index) => {
    const { seed, balancer, steering, violation, convergedMs, dials, quietDials, steps, reached } = runSeed({
      ...batch,
      seed: batch.first + index,
    });
    return { seed, balancer, steering, violation, convergedMs, dials, quietDials, steps, reached };
  });
}
