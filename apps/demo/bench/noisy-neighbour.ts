/**
 * What one leaf cluster's users feel of another's who take all they can: a connection that sends 1 KiB and waits for it, in rounds
 * without and with the noise. Everything is a process of its own and shares this machine, so that only the ratio says something; a line
 * for each kind of noise has the medians.
 *
 *   npm run bench -- noisy-neighbour [--rounds 5] [--seconds 4] [--kinds bytes,streams,dials,handshakes] [--together]
 */
import { parseArgs } from 'node:util';
import { NOISE_KINDS } from './processes/noise-kinds.ts';
import type { NoiseKind } from './processes/noise-kinds.ts';
import { Neighbours } from '../e2e/support/noisy.ts';
import type { Felt } from '../e2e/support/noisy.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '4' },
    kinds: { type: 'string', default: NOISE_KINDS.join(',') },
    together: { type: 'boolean', default: false },
  },
});
const rounds = Number(values.rounds);
const forMs = Number(values.seconds) * 1_000;
const kinds = NOISE_KINDS.filter((kind) => values.kinds.split(',').includes(kind));
const mixes: readonly (readonly NoiseKind[])[] = values.together
  ? [kinds]
  : [...kinds.map((kind) => [kind]), ...(kinds.length > 1 ? [kinds] : [])];

const neighbours = await Neighbours.start();
try {
  await neighbours.quiet(2_000);
  for (const mix of mixes) await compare(mix);
} finally {
  await neighbours.close();
}

async function compare(mix: readonly NoiseKind[]): Promise<void> {
  const seen: { quiet: Felt; noisy: Felt; proxyLoop: number; agentLoop: number }[] = [];
  let last: object = {};
  for (let round = 0; round < rounds; round += 1) {
    const quiet = await neighbours.quiet(forMs);
    await loopDelays();
    const { felt, done } = await neighbours.noisy(mix, forMs);
    const [proxyLoop, agentLoop] = await loopDelays();
    last = done;
    seen.push({ quiet, noisy: felt, proxyLoop, agentLoop });
  }
  const median = (of: (one: (typeof seen)[number]) => number): number =>
    round1(seen.map(of).toSorted((a, b) => a - b)[Math.floor(seen.length / 2)] ?? 0);
  const line = {
    bench: 'noisy-neighbour',
    noise: mix.join('+'),
    rounds,
    quietP50Ms: median(({ quiet }) => quiet.p50Ms),
    quietP99Ms: median(({ quiet }) => quiet.p99Ms),
    noisyP50Ms: median(({ noisy }) => noisy.p50Ms),
    noisyP99Ms: median(({ noisy }) => noisy.p99Ms),
    ratioP50: median(({ quiet, noisy }) => noisy.p50Ms / quiet.p50Ms),
    ratioP99: median(({ quiet, noisy }) => noisy.p99Ms / quiet.p99Ms),
    proxyLoopP99Ms: median(({ proxyLoop }) => proxyLoop),
    agentLoopP99Ms: median(({ agentLoop }) => agentLoop),
    done: last,
  };
  console.log(JSON.stringify(line));
}

/** Event-loop delay since it was asked last: root proxy, and the noisy leaf cluster's agent; milliseconds. */
async function loopDelays(): Promise<readonly [number, number]> {
  const delay = async (ops: string): Promise<number> => {
    const text = await (await fetch(`http://${ops}/metrics`)).text();
    return (
      1_000 * Number(/^process_event_loop_delay_seconds\{quantile="0.99".*\} (\S+)/m.exec(text)?.[1] ?? Number.NaN)
    );
  };
  return [await delay(neighbours.proxy.addresses.ops), await delay(neighbours.agentOps.get('mallory') ?? '')];
}

function round1(value: number): number {
  return Math.round(value * 10) / 10;
}
