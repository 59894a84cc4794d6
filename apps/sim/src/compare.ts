import { createAgent } from '@xylem/discovery/strategies';
import type { StrategyName } from '@xylem/discovery/strategies';
import { contest } from '@xylem/simulator';
import type { BalancerPolicy, ContestResult } from '@xylem/simulator';
import { writeTable } from './document.ts';

interface Entrant {
  readonly name: string;
  readonly strategy: StrategyName;
  readonly steering: 'sni' | 'off';
}

const ENTRANTS: readonly Entrant[] = [
  { name: 'naive', strategy: 'naive', steering: 'off' },
  { name: 'grow-only', strategy: 'grow-only', steering: 'off' },
  { name: 'expiry', strategy: 'expiry', steering: 'off' },
  { name: 'stamped, unsteered', strategy: 'stamped', steering: 'off' },
  { name: 'stamped, steered', strategy: 'stamped', steering: 'sni' },
];
const BALANCERS: readonly BalancerPolicy[] = [
  'round-robin',
  'round-robin-2',
  'random',
  'least-connections',
  'source-hash',
  'first',
  'adversary',
];
/** The large ones take long: fewer seeds, and only balancers that tell something new. */
const SIZES: readonly {
  readonly proxies: number;
  readonly seeds: number;
  readonly balancers: readonly BalancerPolicy[];
}[] = [
  { proxies: 3, seeds: 4, balancers: BALANCERS },
  { proxies: 10, seeds: 2, balancers: BALANCERS },
  { proxies: 50, seeds: 1, balancers: ['random', 'source-hash'] },
];

/** Every protocol behind every balancer, into docs/SIMULATION.md. */
export function compareAll(): boolean {
  const rows = [
    '| N | balancer | protocol | converged | dials | full mesh p50 | p99 | dials in a quiet minute | pool |',
    '|---|---|---|---|---|---|---|---|---|',
  ];
  for (const { proxies, seeds, balancers } of SIZES) {
    for (const balancer of balancers) {
      for (const entrant of ENTRANTS) rows.push(measure(entrant, balancer, proxies, seeds));
    }
  }
  for (const row of rows) console.log(row);
  writeTable('comparison', rows);
  return true;
}

function measure(
  { name, strategy, steering }: Entrant,
  balancer: BalancerPolicy,
  proxies: number,
  seeds: number,
): string {
  const results = Array.from({ length: seeds }, (_, seed) =>
    contest({
      leaf: (config, host) => createAgent(strategy, config, host.random, host.now),
      steering,
      balancer,
      proxies,
      seed,
    }),
  );
  const mean = (of: (result: ContestResult) => number): string =>
    (results.reduce((sum, result) => sum + of(result), 0) / seeds).toFixed(1);
  const converged = results.filter((result) => result.converged).length;
  const mesh = results.map(({ meshMs }) => meshMs ?? Infinity).sort((one, another) => one - another);
  const seconds = (part: number): string => {
    const ms = mesh[Math.min(mesh.length - 1, Math.floor(part * mesh.length))] ?? Infinity;
    return Number.isFinite(ms) ? `${(ms / 1000).toFixed(2)} s` : 'never';
  };
  const cells = [
    proxies,
    balancer,
    name,
    `${String(converged)}/${String(seeds)}`,
    mean(({ dials }) => dials),
    seconds(0.5),
    seconds(0.99),
  ];
  return `| ${[...cells, mean(({ quietDials }) => quietDials), mean(({ pool }) => pool)].join(' | ')} |`;
}
