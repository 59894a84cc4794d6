/** `npm run sim`: one seed with its trace, or many on every core. Exit 0: all promises kept; 1: one broken; 2: bad usage. */
import { compareAll } from './compare.ts';
import { readConfig } from './config.ts';
import type { SimConfig } from './config.ts';
import { runExplorer } from './explore.ts';
import { plantAll } from './planted.ts';
import { keepSmallest } from './regressions.ts';
import { writeArticle } from './timeline-article.ts';
import { writeTimeline } from './timeline.ts';
import { runMany, runOne } from './runs.ts';
import { runScale } from './scale.ts';

/** How many seeds a planted bug may take to be caught. */
const DEFAULT_PLANTED_SEEDS = 2_000;

function draw(config: SimConfig, path: string): boolean {
  return config.article ? writeArticle(path) : writeTimeline({ ...config, balancer: config.balancer }, path);
}

function run(config: SimConfig): boolean | Promise<boolean> {
  if (config.explore || config.without !== undefined) return runExplorer({ ...config, without: config.without });
  if (config.scale) return runScale(config);
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
