/** `npm run sim`: one seed with its trace, or many on every core. Exit 0: all promises kept; 1: one broken; 2: bad usage. */
import { formatTraceLine } from '@xylem/simulator';
import { compareAll } from './compare.ts';
import { readConfig } from './config.ts';
import type { SimConfig } from './config.ts';
import { runExplorer } from './explore.ts';
import { plantAll } from './planted.ts';
import { runSeeds } from './pool.ts';
import { runSeed } from './seeds.ts';
import { keepSmallest } from './regressions.ts';
import { writeArticle } from './timeline-article.ts';
import { writeTimeline } from './timeline.ts';
import { describeSummary, summarise } from './summary.ts';

/** How many seeds a planted bug may take to be caught. */
const DEFAULT_PLANTED_SEEDS = 300;

function runOne(config: SimConfig): boolean {
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

async function runMany(config: SimConfig): Promise<boolean> {
  const { seed: first, seeds: count, strategy, balancer } = config;
  const started = performance.now();
  const results = await runSeeds({ first, count, strategy, balancer });
  const summary = summarise(results, performance.now() - started);
  console.log(config.json ? JSON.stringify(summary) : describeSummary(summary));
  return summary.violations === 0;
}

function draw(config: SimConfig, path: string): boolean {
  return config.article ? writeArticle(path) : writeTimeline({ ...config, balancer: config.balancer }, path);
}

function run(config: SimConfig): boolean | Promise<boolean> {
  if (config.explore || config.without !== undefined) return runExplorer({ ...config, without: config.without });
  if (config.planted) return plantAll(config.seeds === 1 ? DEFAULT_PLANTED_SEEDS : config.seeds);
  if (config.compare) return compareAll();
  if (config.shrink) return keepSmallest(config.seed);
  if (config.html !== undefined) return draw(config, config.html);
  return config.seeds === 1 ? runOne(config) : runMany(config);
}

const outcome = readConfig({ argv: process.argv.slice(2), env: {} });
if (outcome.kind === 'loaded') {
  process.exitCode = (await run(outcome.config)) ? 0 : 1;
} else if (outcome.kind === 'shown') {
  console.log(outcome.text);
} else {
  console.error(outcome.text);
  process.exitCode = 2;
}
