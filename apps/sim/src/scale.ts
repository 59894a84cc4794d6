import { runScaled } from '@xylem/simulator';
import type { ScalePhase } from '@xylem/simulator';
import { writeTable } from './document.ts';
import { gossipBytes } from './gossip-size.ts';

export interface ScaleConfig {
  readonly agents: number;
  readonly proxies: number;
  readonly seed: number;
  /** Handshakes a second that a root proxy begins; undefined: both without a limit and with the default one. */
  readonly rate?: number | undefined;
  readonly json: boolean;
}

/** Shown beside the run without a limit: what one core of a root proxy can take without its other work suffering. */
const DEFAULT_RATE = 500;

interface Measured {
  readonly rate: number | undefined;
  readonly phases: readonly ScalePhase[];
  readonly steps: number;
  readonly tookMs: number;
  readonly peakMemoryBytes: number;
}

const HEAD = [
  '| handshakes a second allowed | phase | agents that hold all, p50 | p99 | last | handshakes, peak of one | of all | begun | shed | gossip per root proxy | etcd writes |',
  '|---|---|---|---|---|---|---|---|---|---|---|',
];

/** `npm run sim -- --scale`. False when a phase did not get there. */
export function runScale({ agents, proxies, seed, rate, json }: ScaleConfig): boolean {
  const rates = rate === undefined ? [undefined, DEFAULT_RATE] : [rate];
  const measured = rates.map((limit) => measure({ agents, proxies, seed }, limit, json));
  const rows = [
    `${count(agents)} leaf clusters of one agent each, ${String(proxies)} root proxies, two registries.`,
    '',
    ...HEAD,
    ...measured.flatMap(({ rate: limit, phases }) => phases.map((phase) => row(limit, phase))),
    '',
    ...measured.map(footer),
  ];
  if (json) console.log(JSON.stringify({ agents, proxies, seed, runs: measured }));
  writeTable('scale', rows);
  return measured.every(({ phases }) => phases.every(({ reached }) => reached));
}

function measure(
  size: Pick<ScaleConfig, 'agents' | 'proxies' | 'seed'>,
  rate: number | undefined,
  json: boolean,
): Measured {
  const started = performance.now();
  let peakMemoryBytes = 0;
  const report = runScaled({ ...size, handshakesPerSecond: rate, sizeOf: gossipBytes }, (phase) => {
    peakMemoryBytes = Math.max(peakMemoryBytes, process.memoryUsage().rss);
    if (!json) console.log(row(rate, phase));
  });
  return { rate, ...report, tookMs: Math.round(performance.now() - started), peakMemoryBytes };
}

function row(rate: number | undefined, phase: ScalePhase): string {
  const cells = [
    rate === undefined ? 'all that come' : count(rate),
    phase.name,
    ...(phase.name === 'quiet' ? ['', '', ''] : [phase.p50Ms, phase.p99Ms, phase.maxMs].map(seconds)),
    count(phase.peakHandshakesPerProxy),
    count(phase.peakHandshakes),
    count(phase.handshakes),
    count(phase.shed),
    `${count(phase.gossipMessagesPerProxy)} messages, ${megabytes(phase.gossipBytesPerProxy)} MB in ${seconds(phase.lastedMs)}`,
    count(phase.storeWrites),
  ];
  return `| ${cells.join(' | ')} |${phase.reached ? '' : ' NOT REACHED'}`;
}

function footer({ rate, steps, tookMs, peakMemoryBytes }: Measured): string {
  const limit = rate === undefined ? 'Without a limit' : `With ${count(rate)} a second`;
  return `${limit}: ${count(steps)} events in ${String(Math.round(tookMs / 1_000))} s on one core, ${megabytes(peakMemoryBytes)} MB of memory.`;
}

function count(number: number): string {
  return Math.round(number).toLocaleString('en-US');
}

function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(2)} s`;
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(bytes < 1e8 ? 1 : 0);
}
