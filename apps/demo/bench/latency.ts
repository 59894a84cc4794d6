/**
 * How long a dial takes, how long a small message takes there and back, and how many connections a second can be made, one after
 * the other and eight at a time: through the whole chain, `ssh -R` and a plain two-hop relay, in turn within one run.
 *
 *   npm run bench -- latency [--rounds 5] [--dials 200] [--messages 2000] [--only relay,ssh,xylem]
 *                            [--against 'name=/path/of/another/checkout --node-arg ...']...
 *
 * One JSON line per contestant: medians over the rounds. A dial ends when the first byte came back from the node, because a relay
 * and ssh accept connections before they know whether there is a node.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Contest, contestantsOf } from './support/contestants.ts';
import { LoadConnection } from './support/load.ts';
import type { Entrance } from './support/load.ts';
import { median, quantile, round } from './support/statistics.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    dials: { type: 'string', default: '200' },
    messages: { type: 'string', default: '2000' },
    only: { type: 'string', default: 'relay,ssh,xylem' },
    against: { type: 'string', multiple: true, default: [] },
  },
});

const MESSAGE = Buffer.alloc(64, 0x78);
const ONE_BYTE = MESSAGE.subarray(0, 1);
const AT_A_TIME = 8;

type Measured = Readonly<Record<string, number>>;

async function dial(entrance: Entrance): Promise<number> {
  const startedAt = performance.now();
  const connection = await LoadConnection.open(entrance);
  connection.startEcho();
  await connection.echo(ONE_BYTE);
  const tookMs = performance.now() - startedAt;
  connection.close();
  return tookMs;
}

async function measure(entrance: Entrance): Promise<Measured> {
  const dials: number[] = [];
  const count = Number(values.dials);
  for (let index = 0; index < count; index += 1) dials.push(await dial(entrance));
  const startedAt = performance.now();
  const one = async (): Promise<void> => {
    for (let index = 0; index < count / AT_A_TIME; index += 1) await dial(entrance);
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, one));
  const seconds = (performance.now() - startedAt) / 1_000;
  const connection = await LoadConnection.open(entrance);
  connection.startEcho();
  const echoes: number[] = [];
  for (let index = 0; index < Number(values.messages); index += 1) {
    const sentAt = performance.now();
    await connection.echo(MESSAGE);
    echoes.push(performance.now() - sentAt);
  }
  connection.close();
  return {
    dialP50Ms: median(dials),
    dialP99Ms: quantile(dials, 0.99),
    connectionsPerSecond: (Math.ceil(count / AT_A_TIME) * AT_A_TIME) / seconds,
    echoP50Ms: median(echoes),
    echoP99Ms: quantile(echoes, 0.99),
  };
}

const folder = mkdtempSync(join(tmpdir(), 'xylem-latency-'));
const contest = await Contest.open(folder, 0);
try {
  const contestants = await contestantsOf(contest, {
    only: values.only.split(','),
    against: values.against,
    nodeArgs: [],
  });
  const all = new Map<string, Measured[]>(contestants.map(({ name }) => [name, []]));
  for (const { entrance } of contestants) await measure(entrance);
  for (let index = 0; index < Number(values.rounds); index += 1) {
    for (const { name, entrance } of contestants) all.get(name)?.push(await measure(entrance));
  }
  for (const [name, measured] of all) {
    const medians = Object.keys(measured[0] ?? {}).map((key) => [
      key,
      round(median(measured.map((one) => one[key] ?? Number.NaN))),
    ]);
    const line = { bench: 'latency', name, rounds: measured.length, ...Object.fromEntries(medians) };
    console.log(JSON.stringify(line));
  }
} finally {
  await contest.close();
  rmSync(folder, { recursive: true, force: true });
}
