import type { StrategyName } from '@xylem/discovery/strategies';
import { ROTATION_MS } from '@xylem/simulator';
import type { CompareJob, CompareResult } from './compare-jobs.ts';

export interface Entrant {
  readonly name: string;
  readonly strategy: StrategyName;
  readonly steering: 'sni' | 'off';
}

/** One cell of the comparison: a protocol behind a balancer, with as many root proxies. */
export interface Cell {
  readonly entrant: Entrant;
  readonly job: CompareJob;
  readonly result: CompareResult;
}

/** Dials that chance needs on average to meet each of `proxies` once, picking evenly: N * H(N), the coupon collector's. */
export function couponCollector(proxies: number): number {
  let harmonic = 0;
  for (let nth = 1; nth <= proxies; nth += 1) harmonic += 1 / nth;
  return proxies * harmonic;
}

/** Our own agent, cold start: one row for each balancer. */
export function ownRows(cells: readonly Cell[]): string[] {
  const head = table([
    'balancer',
    ...sizesOf(cells).map((size) => `N = ${String(size)}: dials (most), mesh p50 / p99, relayed`),
  ]);
  const rows = balancersOf(cells).map((balancer) => {
    const found = cells.filter(({ job }) => job.balancer === balancer);
    return row([
      balancer,
      ...found.map(({ result: { coldStarts } }) => {
        const { mean, most } = spread(coldStarts.map(({ dials }) => dials));
        const mesh = times(coldStarts.map(({ meshMs }) => meshMs));
        const relayed = spread(coldStarts.map((each) => each.relayed)).mean;
        return `${mean} (${most}), ${mesh.p50} / ${mesh.p99}, ${relayed}`;
      }),
    ]);
  });
  return [...head, ...rows];
}

/** Every protocol, cold start: one table for each number of root proxies. */
export function coldStartRows(cells: readonly Cell[]): string[] {
  return sizesOf(cells).flatMap((size) => {
    const bound = couponCollector(size).toFixed(1);
    const title = `Cold start, N = ${String(size)} (coupon collector: ${bound} dials on average)`;
    return folded(title, [
      ...table([
        'balancer',
        'protocol',
        'held all',
        'dials',
        'most',
        'mesh p50',
        'p99',
        'relayed',
        'dials in a quiet minute',
        'pool',
      ]),
      ...merged(
        cells.filter(({ job }) => job.proxies === size),
        coldStartRow,
      ),
    ]);
  });
}

function coldStartRow({ job, result: { coldStarts } }: Cell): readonly string[] {
  const dials = spread(coldStarts.map((each) => each.dials));
  const mesh = times(coldStarts.map(({ meshMs }) => meshMs));
  const held = coldStarts.filter(({ meshMs }) => meshMs !== undefined).length;
  return [
    `${String(held)}/${String(job.seeds)}`,
    dials.mean,
    dials.most,
    mesh.p50,
    mesh.p99,
    spread(coldStarts.map(({ relayed }) => relayed)).mean,
    spread(coldStarts.map(({ quietDials }) => quietDials)).mean,
    spread(coldStarts.map(({ pool }) => pool)).mean,
  ];
}

/** Every protocol, three root proxies replaced under bad gossip: one table for each number of root proxies. */
export function rotationRows(cells: readonly Cell[]): string[] {
  return sizesOf(cells).flatMap((size) =>
    folded(`Rotation, N = ${String(size)}`, [
      ...table(['balancer', 'protocol', 'held all', 'dials', 'healed p50', 'p99', 'dials in a quiet minute', 'pool']),
      ...merged(
        cells.filter(({ job }) => job.proxies === size),
        rotationRow,
      ),
    ]),
  );
}

function rotationRow({ job, result: { rotations } }: Cell): readonly string[] {
  const healed = times(
    rotations.flatMap(({ healedMs }) => healedMs),
    `over ${String(ROTATION_MS / 1000)} s`,
  );
  return [
    `${String(rotations.filter(({ converged }) => converged).length)}/${String(job.seeds)}`,
    spread(rotations.map(({ dials }) => dials)).mean,
    healed.p50,
    healed.p99,
    spread(rotations.map(({ quietDials }) => quietDials)).mean,
    spread(rotations.map(({ pool }) => pool)).mean,
  ];
}

/** Our own agent beside the figures of ANCHORS: Teleport's constants, simulated. */
export function anchorRows(cells: readonly Cell[]): string[] {
  const coldStarts = cells.flatMap(({ result }) => result.coldStarts);
  const changes = cells.flatMap(({ result }) => result.changes);
  const line = (what: string, ms: readonly (number | undefined)[], theirs: string): string => {
    const { p50, p99 } = times(ms);
    return row([what, p50, p99, theirs, String(ms.length)]);
  };
  return [
    ...table(['random balancer, N = 10', 'ours p50', 'ours p99', 'Teleport', 'seeds']),
    line(
      'cold start to a tunnel with every proxy',
      coldStarts.map(({ meshMs }) => meshMs),
      'p50 134 s, p99 397 s',
    ),
    line(
      'one proxy added to a full mesh',
      changes.map(({ addedMs }) => addedMs),
      'p50 13 s, p95 152 s',
    ),
    line(
      'a dead proxy is still sought',
      changes.map(({ soughtMs }) => soughtMs),
      'about 13 min',
    ),
  ];
}

// ---- figures ---------------------------------------------------------------------------------------------------------

function spread(values: readonly number[]): { readonly mean: string; readonly most: string } {
  const mean = values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
  return { mean: short(mean), most: short(Math.max(0, ...values)) };
}

function short(value: number): string {
  return Number.isInteger(value) ? String(value) : value.toFixed(1);
}

function times(
  values: readonly (number | undefined)[],
  unmet = 'never',
): { readonly p50: string; readonly p99: string } {
  const sorted = values.map((ms) => ms ?? Infinity).sort((one, another) => one - another);
  const quantile = (part: number): string => {
    const ms = sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? Infinity;
    if (!Number.isFinite(ms)) return unmet;
    return ms < 100_000 ? `${(ms / 1000).toFixed(2)} s` : `${(ms / 1000).toFixed(0)} s`;
  };
  return { p50: quantile(0.5), p99: quantile(0.99) };
}

// ---- markdown --------------------------------------------------------------------------------------------------------

function sizesOf(cells: readonly Cell[]): readonly number[] {
  return [...new Set(cells.map(({ job }) => job.proxies))];
}

function balancersOf(cells: readonly Cell[]): readonly string[] {
  return [...new Set(cells.map(({ job }) => job.balancer))];
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}

function table(head: readonly string[]): string[] {
  return [row(head), row(head.map(() => '---'))];
}

/** One row for each balancer and each set of protocols whose figures are the same. */
function merged(cells: readonly Cell[], figures: (cell: Cell) => readonly string[]): string[] {
  const names = new Map<string, string[]>();
  for (const cell of cells) {
    const key = JSON.stringify([cell.job.balancer, ...figures(cell)]);
    names.set(key, [...(names.get(key) ?? []), cell.entrant.name]);
  }
  return cells.flatMap((cell) => {
    const shown = figures(cell);
    const same = names.get(JSON.stringify([cell.job.balancer, ...shown])) ?? [];
    return same[0] === cell.entrant.name ? [row([cell.job.balancer, same.join('; '), ...shown])] : [];
  });
}

function folded(title: string, rows: readonly string[]): string[] {
  return ['<details>', `<summary>${title}</summary>`, '', ...rows, '', '</details>', ''];
}
