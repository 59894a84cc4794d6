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

/** Shown beside the run without a limit: for so many agents a root proxy is given more than the default of 50. */
const DEFAULT_RATE = 500;

/** The balancer restarts, with the rate that a root proxy has unless it is configured. */
const STORM = { agents: 500, proxies: 3, rate: 50 } as const;

type Size = Pick<ScaleConfig, 'agents' | 'proxies'>;

interface Measured {
  readonly rate: number | undefined;
  readonly phases: readonly ScalePhase[];
  readonly steps: number;
  /** Of this process. */
  readonly cpuMs: number;
  readonly peakMemoryBytes: number;
}

const HEAD = [
  '| handshakes a second allowed | phase | agents that hold all, p50 | p99 | last | handshakes, peak of one | of all | begun | shed | gossip per root proxy | etcd writes |',
  '|---|---|---|---|---|---|---|---|---|---|---|',
];

/** `npm run sim -- --scale`. False when a phase did not get there. */
export function runScale({ agents, proxies, seed, rate, json }: ScaleConfig): boolean {
  const rates = rate === undefined ? [undefined, DEFAULT_RATE] : [rate];
  const large = rates.map((limit) => measure({ agents, proxies, seed }, limit, json));
  const storm = measure({ ...STORM, seed, cutAll: true }, STORM.rate, json);
  const measured = [...large, storm];
  const rows = [...table({ agents, proxies }, large), '', ...table(STORM, [storm])];
  if (json) console.log(JSON.stringify({ agents, proxies, seed, runs: measured }));
  writeTable('scale', rows);
  return measured.every(({ phases }) => phases.every(({ reached }) => reached));
}

function table({ agents, proxies }: Size, runs: readonly Measured[]): readonly string[] {
  return [
    `${count(agents)} leaf clusters of one agent each, ${String(proxies)} root proxies, two registries:`,
    '',
    ...HEAD,
    ...runs.flatMap(({ rate, phases }) => phases.map((phase) => row(rate, phase))),
    '',
    ...runs.map(footer),
  ];
}

function measure(
  size: Size & { readonly seed: number; readonly cutAll?: boolean },
  rate: number | undefined,
  json: boolean,
): Measured {
  const before = process.cpuUsage();
  let peakMemoryBytes = 0;
  const report = runScaled({ ...size, handshakesPerSecond: rate, sizeOf: gossipBytes }, (phase) => {
    peakMemoryBytes = Math.max(peakMemoryBytes, process.memoryUsage().rss);
    if (!json) console.log(row(rate, phase));
  });
  return { rate, ...report, cpuMs: Math.round(process.cpuUsage(before).user / 1_000), peakMemoryBytes };
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

function footer({ rate, steps, cpuMs, peakMemoryBytes }: Measured): string {
  const limit = rate === undefined ? 'Without a limit' : `With ${count(rate)} a second`;
  return `${limit}: ${count(steps)} events, ${String(Math.round(cpuMs / 1_000))} s of CPU; the process took up to ${megabytes(peakMemoryBytes)} MB.`;
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
