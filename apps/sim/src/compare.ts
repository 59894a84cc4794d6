import type { StrategyName } from '@xylem/discovery/strategies';
import { BALANCER_POLICIES, chanceReachesAll } from '@xylem/simulator';
import type { BalancerPolicy } from '@xylem/simulator';
import { anchorRows, coldStartRows, ownRows, rotationRows } from './compare-tables.ts';
import type { Cell, Entrant } from './compare-tables.ts';
import type { CompareJob, CompareResult } from './compare-jobs.ts';
import { writeTable } from './document.ts';
import { inWorkers } from './pool.ts';

const OURS: Entrant = { name: 'stamped, steered', strategy: 'stamped', steering: 'sni' };
const UNSTEERED: readonly Entrant[] = (['naive', 'grow-only', 'expiry', 'stamped'] satisfies StrategyName[]).map(
  (strategy) => ({ name: strategy === 'stamped' ? 'stamped, unsteered' : strategy, strategy, steering: 'off' }),
);
const ENTRANTS: readonly Entrant[] = [...UNSTEERED, OURS];
/** Seeds of each cell; the large ones take long. */
const SIZES: readonly { readonly proxies: number; readonly coldStarts: number; readonly rotations: number }[] = [
  { proxies: 3, coldStarts: 100, rotations: 20 },
  { proxies: 10, coldStarts: 100, rotations: 20 },
  { proxies: 50, coldStarts: 20, rotations: 5 },
];
/** A search that cannot end takes its whole time, the same way under each seed. */
const HOPELESS_SEEDS = 5;
/** Enough for a 99th percentile. */
const ANCHOR_SEEDS = 300;
const ANCHOR_PROXIES = 10;

interface Plan {
  readonly entrant: Entrant;
  readonly job: CompareJob;
}

function plan(
  trial: CompareJob['trial'],
  seedsOf: (entrant: Entrant, balancer: BalancerPolicy, size: number) => number,
): Plan[] {
  return SIZES.flatMap(({ proxies }, size) =>
    BALANCER_POLICIES.flatMap((balancer) =>
      ENTRANTS.map((entrant) => {
        const { strategy, steering } = entrant;
        const seeds = seedsOf(entrant, balancer, size);
        return { entrant, job: { trial, strategy, steering, balancer, proxies, seeds } };
      }),
    ),
  );
}

/** Every protocol behind every balancer, on every core, into docs/SIMULATION.md. */
export async function compareAll(): Promise<boolean> {
  const started = performance.now();
  const coldStarts = plan('cold-start', ({ steering }, balancer, size) => {
    const seeds = SIZES[size]?.coldStarts ?? 0;
    return steering === 'off' && !chanceReachesAll(balancer, SIZES[size]?.proxies ?? 0)
      ? Math.min(seeds, HOPELESS_SEEDS)
      : seeds;
  });
  const rotations = plan('rotation', (_, __, size) => SIZES[size]?.rotations ?? 0);
  const anchors = (['cold-start', 'one-changed'] as const).map((trial): Plan => {
    const { strategy, steering } = OURS;
    const job = {
      trial,
      strategy,
      steering,
      balancer: 'random',
      proxies: ANCHOR_PROXIES,
      seeds: ANCHOR_SEEDS,
    } as const;
    return { entrant: OURS, job };
  });
  const cells = await run([...coldStarts, ...rotations, ...anchors]);
  const [cold, rotated, anchored] = [
    cells.slice(0, coldStarts.length),
    cells.slice(coldStarts.length, coldStarts.length + rotations.length),
    cells.slice(coldStarts.length + rotations.length),
  ];
  write('comparison-ours', ownRows(cold.filter(({ entrant }) => entrant === OURS)));
  write('comparison-anchors', anchorRows(anchored));
  write('comparison-cold-start', coldStartRows(cold));
  write('comparison-rotation', rotationRows(rotated));
  console.log(`took ${((performance.now() - started) / 1000).toFixed(0)} s`);
  return true;
}

/** The longest first, so that no core is left with a long one at the end; the results in order of the plans. */
async function run(plans: readonly Plan[]): Promise<readonly Cell[]> {
  const weight = ({ job }: Plan): number => job.seeds * job.proxies * (job.steering === 'off' ? 3 : 1);
  const order = plans.map((each, index) => ({ ...each, index }));
  order.sort((one, other) => weight(other) - weight(one));
  const jobs = order.map(({ job }) => job);
  const results = await inWorkers<CompareJob, CompareResult>('compare-worker.ts', jobs);
  const cells = order.flatMap(({ entrant, job, index }, place) => {
    const result = results[place];
    return result === undefined ? [] : [{ index, cell: { entrant, job, result } }];
  });
  return cells.sort((one, other) => one.index - other.index).map(({ cell }) => cell);
}

function write(name: string, rows: readonly string[]): void {
  for (const row of rows) console.log(row);
  writeTable(name, rows);
}
