/**
 * The whole chain (user, front door of a root proxy, tunnel over TLS, leaf agent, node) against `ssh -R` and a plain two-hop TCP
 * relay, each in processes of its own, before the same node and the same load, in turn within one run.
 *
 *   npm run bench -- throughput [--rounds 5] [--mib 256] [--connections 1,8] [--rtt 0] [--only relay,ssh,xylem]
 *                               [--against 'name=/path/of/another/checkout --node-arg ...']... [--node-arg=--cpu-prof]...
 *
 * One JSON line per measurement: medians over the rounds of MB/s (10^6 bytes), of processor seconds per GiB for each
 * process that carries the bytes (not the load's, nor the node's), and of the ratios to ssh and relay of the same round. Processor
 * time is what to compare on a machine that is busy with other things, and there the least of the rounds (`cpuLeast`), because
 * caches and a hypervisor's other guests count as well. It is counted in hundredths of a second.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Contest, contestantsOf } from './support/contestants.ts';
import type { Contestant } from './support/contestants.ts';
import { cpuSeconds } from './support/cpu.ts';
import { LoadConnection } from './support/load.ts';
import type { Direction } from './support/load.ts';
import { median, round } from './support/statistics.ts';

const MIB = 1_048_576;
/** Some 16 MiB: compilers and windows have found their pace. */
const WARM_UP_BYTES = 16 * MIB;

interface Measured {
  readonly mbPerS: number;
  /** By role. */
  readonly cpuPerGib: Readonly<Record<string, number>>;
  readonly cpuTotal: number;
}

interface Task {
  readonly direction: Direction;
  readonly connections: number;
}

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    mib: { type: 'string', default: '256' },
    connections: { type: 'string', default: '1,8' },
    rtt: { type: 'string', default: '0' },
    only: { type: 'string', default: 'relay,ssh,ssh-aes128-gcm,xylem' },
    against: { type: 'string', multiple: true, default: [] },
    'node-arg': { type: 'string', multiple: true, default: [] },
  },
});
const bytes = Number(values.mib) * MIB;
const rttMs = Number(values.rtt);

async function measure(contestant: Contestant, { direction, connections }: Task): Promise<Measured> {
  const each = Math.ceil(bytes / connections);
  const open = await Promise.all(Array.from({ length: connections }, () => LoadConnection.open(contestant.entrance)));
  const before = contestant.processes.map(({ pid }) => cpuSeconds(pid));
  const startedAt = performance.now();
  await Promise.all(open.map((connection) => connection.transfer(direction, each)));
  const seconds = (performance.now() - startedAt) / 1_000;
  const gib = (each * connections) / 1_024 / MIB;
  const cpu = contestant.processes.map(
    ({ role, pid }, index) => [role, (cpuSeconds(pid) - (before[index] ?? 0)) / gib] as const,
  );
  for (const connection of open) connection.close();
  const cpuTotal = cpu.reduce((sum, [, perGib]) => sum + perGib, 0);
  return { mbPerS: (each * connections) / 1e6 / seconds, cpuPerGib: Object.fromEntries(cpu), cpuTotal };
}

function report(name: string, task: Task, all: ReadonlyMap<string, readonly Measured[]>): void {
  const mine = all.get(name) ?? [];
  const roles = Object.keys(mine[0]?.cpuPerGib ?? {});
  const cpuPerGib = roles.map((role) => [role, round(median(mine.map((one) => one.cpuPerGib[role] ?? 0)))]);
  // Of the same round, so that what else the machine does counts for both.
  const ratioTo = (other: string, value: (measured: Measured) => number): number | undefined => {
    const others = all.get(other);
    if (others === undefined || other === name) return undefined;
    return round(median(mine.map((one, index) => value(one) / value(others[index] ?? one))));
  };
  const line = {
    bench: 'throughput',
    name,
    ...task,
    rttMs,
    rounds: mine.length,
    mbPerS: Math.round(median(mine.map(({ mbPerS }) => mbPerS))),
    cpuPerGib: Object.fromEntries(cpuPerGib),
    cpuTotal: round(median(mine.map(({ cpuTotal }) => cpuTotal))),
    cpuLeast: round(Math.min(...mine.map(({ cpuTotal }) => cpuTotal))),
    mbPerSBest: Math.round(Math.max(...mine.map(({ mbPerS }) => mbPerS))),
    toSsh: ratioTo('ssh', ({ mbPerS }) => mbPerS),
    toRelay: ratioTo('relay', ({ mbPerS }) => mbPerS),
    cpuToSsh: ratioTo('ssh', ({ cpuTotal }) => cpuTotal),
    cpuToRelay: ratioTo('relay', ({ cpuTotal }) => cpuTotal),
  };
  console.log(JSON.stringify(line));
}

const folder = mkdtempSync(join(tmpdir(), 'xylem-throughput-'));
const contest = await Contest.open(folder, rttMs / 2);
try {
  const contestants = await contestantsOf(contest, {
    only: values.only.split(','),
    against: values.against,
    nodeArgs: values['node-arg'],
  });
  for (const { entrance } of contestants) {
    for (const direction of ['up', 'down'] as const) {
      const connection = await LoadConnection.open(entrance);
      await connection.transfer(direction, WARM_UP_BYTES);
      connection.close();
    }
  }
  for (const connections of values.connections.split(',').map(Number)) {
    for (const direction of ['up', 'down'] as const) {
      const task = { direction, connections };
      const all = new Map<string, Measured[]>(contestants.map(({ name }) => [name, []]));
      for (let index = 0; index < Number(values.rounds); index += 1) {
        for (const contestant of contestants) all.get(contestant.name)?.push(await measure(contestant, task));
      }
      for (const name of all.keys()) report(name, task, all);
    }
  }
} finally {
  await contest.close();
  rmSync(folder, { recursive: true, force: true });
}
