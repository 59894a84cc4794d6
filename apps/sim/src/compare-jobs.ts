import { createAgent } from '@xylem/discovery/strategies';
import type { StrategyName } from '@xylem/discovery/strategies';
import { coldStart, oneChanged, rotation } from '@xylem/simulator';
import type { BalancerPolicy, ColdStart, Contestant, OneChanged, Rotation } from '@xylem/simulator';

/** Some seeds of one cell of the comparison; plain data, so that it can be sent to a worker. */
export interface CompareJob {
  readonly trial: 'cold-start' | 'rotation' | 'one-changed';
  readonly strategy: StrategyName;
  readonly steering: 'sni' | 'off';
  readonly balancer: BalancerPolicy;
  readonly proxies: number;
  readonly seeds: number;
}

export interface CompareResult {
  readonly coldStarts: readonly ColdStart[];
  readonly rotations: readonly Rotation[];
  readonly changes: readonly OneChanged[];
}

/** Runs the trial of a job under the seeds 0 to `seeds` - 1. */
export function runCompareJob(job: CompareJob): CompareResult {
  const contestants = Array.from({ length: job.seeds }, (_, seed): Contestant => {
    const { strategy, steering, balancer, proxies } = job;
    return {
      leaf: (config, host) => createAgent(strategy, config, host.random, host.now),
      steering,
      balancer,
      proxies,
      seed,
    };
  });
  return {
    coldStarts: job.trial === 'cold-start' ? contestants.map(coldStart) : [],
    rotations: job.trial === 'rotation' ? contestants.map(rotation) : [],
    changes: job.trial === 'one-changed' ? contestants.map(oneChanged) : [],
  };
}
