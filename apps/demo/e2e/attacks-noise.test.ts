/**
 * One leaf cluster's users take all they can get of a root proxy, in every way at once; another's connection is watched. Users, nodes and
 * services are processes of their own, which share whatever the machine has left: figures are printed, and what is demanded of them
 * leaves room for a machine that does other things as well. `npm run bench -- noisy-neighbour` compares in rounds.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { EVENT } from '@xylem/telemetry';
import { NOISE_KINDS } from '../bench/processes/noise-kinds.ts';
import { Neighbours } from './support/noisy.ts';
import type { Felt } from './support/noisy.ts';

const ROUNDS = 3;
const QUIET_MS = 2_000;
const NOISY_MS = 6_000;
/** What a person at a terminal takes for a hiccup and not for a loss, and many times what is seen here. */
const MAX_P50_MS = 500;
const MAX_P99_MS = 2_500;

let neighbours: Neighbours;

before(async () => {
  neighbours = await Neighbours.start();
});
after(() => neighbours.close());

test('A30: bytes, streams, dials and handshakes of one leaf cluster leave another its share', async (t) => {
  const rounds: { readonly quiet: Felt; readonly noisy: Felt }[] = [];
  const total: Record<string, number> = {};
  for (let round = 0; round < ROUNDS; round += 1) {
    const quiet = await neighbours.quiet(QUIET_MS);
    const { felt: noisy, done } = await neighbours.noisy(NOISE_KINDS, NOISY_MS);
    t.diagnostic(`quiet ${text(quiet)}; noisy ${text(noisy)}; the noise: ${JSON.stringify(done)}`);
    for (const [what, amount] of Object.entries(done)) total[what] = (total[what] ?? 0) + amount;
    rounds.push({ quiet, noisy });
  }
  // The probe ends at the first error of its connection, and could not have answered then.
  assert.ok(rounds.every(({ noisy }) => noisy.exchanges > 0));
  const median = (of: (felt: Felt) => number): number =>
    rounds.map(({ noisy }) => of(noisy)).toSorted((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? Number.NaN;
  assert.ok(median(({ p50Ms }) => p50Ms) < MAX_P50_MS, 'half of all exchanges are quick');
  assert.ok(median(({ p99Ms }) => p99Ms) < MAX_P99_MS, 'nearly all of them are');
  // On a machine with much else to do hardly any of what is asked for comes about.
  for (const what of ['bytes', 'streams', 'asked', 'hellos']) assert.ok((total[what] ?? 0) > 0, `no ${what}`);
  const { recorder } = neighbours.rig;
  assert.deepEqual(recorder.events(EVENT.internalError), []);
  assert.deepEqual(recorder.events(EVENT.tunnelClosed, 'p1'), [], 'both tunnels are still there');
});

function text({ exchanges, p50Ms, p99Ms }: Felt): string {
  return `${exchanges} exchanges, p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms`;
}
