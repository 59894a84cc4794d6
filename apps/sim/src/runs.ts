import { formatTraceLine } from '@xylem/simulator';
import type { SimConfig } from './config.ts';
import { runSeeds } from './pool.ts';
import { runSeed } from './seeds.ts';
import { describeSummary, REACH_ALL_SEEDS, summarise } from './summary.ts';

/** One seed. False when a promise broke. */
export function runOne(config: SimConfig): boolean {
  const report = runSeed({ ...config, balancer: config.balancer, keepTrace: config.trace });
  if (config.trace) for (const line of report.trace) console.log(formatTraceLine(line));
  const { seed, balancer, steering, faults, violation, convergedMs, dials, quietDials, hash } = report;
  if (config.json) {
    console.log(JSON.stringify({ seed, balancer, steering, faults, violation, convergedMs, dials, quietDials, hash }));
    return violation === undefined;
  }
  console.log(
    `seed ${String(seed)}: ${balancer} balancer, steering ${steering}, ${String(faults.length)} faults, ${String(dials)} dials, trace ${hash}`,
  );
  for (const { kind, at, forMs } of faults)
    console.log(`  ${(at / 1000).toFixed(3).padStart(7)}s  ${kind} (${forMs.toFixed(0)} ms)`);
  if (violation === undefined)
    console.log(`every promise kept; whole again ${((convergedMs ?? 0) / 1000).toFixed(2)} s after healing`);
  else console.log(`BROKEN ${violation.promise} at ${(violation.at / 1000).toFixed(3)} s: ${violation.detail}`);
  return violation === undefined;
}

/** Many seeds on every core. False when a promise broke. */
export async function runMany(config: SimConfig): Promise<boolean> {
  const { seed: first, seeds: count, strategy, balancer } = config;
  const started = performance.now();
  const results = await runSeeds({ first, count, strategy, balancer });
  const summary = summarise(results, performance.now() - started);
  console.log(config.json ? JSON.stringify(summary) : describeSummary(summary));
  // Promises that were kept where nothing happened prove nothing. Few seeds, or another deployment, need not reach all.
  const mayMiss = config.seeds < REACH_ALL_SEEDS || config.strategy !== 'stamped' || config.balancer !== undefined;
  return summary.violations === 0 && (mayMiss || summary.unreached.length === 0);
}
