import { setTimeout as pause } from 'node:timers/promises';
import { ECHO, joinedBerlin, undisturbed } from '../e2e/support/berlin.ts';
import type { JoinedBerlin } from '../e2e/support/berlin.ts';
import { EchoLoad } from '../e2e/support/load.ts';
import { ConnectRefused, openConnect } from '../src/check/connect.ts';
import { EchoConnection } from '../src/check/echo.ts';
import { UsageProbe } from './usage.ts';
import type { UsageTrend } from './usage.ts';

/** Renewed every 30 s or so, so that certificates come and go as well. */
const TTL_MS = 60_000;
const STEADY_PER_DOOR = 10;
const BULK_BYTES = 1_048_576;
const PAUSE_MS = { brief: 100, bulk: 1_000, abandoned: 500, refused: 250 } as const;
const SAMPLE_MS = 1_000;
/** Heaps take some minutes to reach the size that they keep. */
const SHORTEST_MS = 300_000;
/** By how much memory and open files may grow from the second quarter to the last. */
const GROWTH_MAX = { residentMiB: 24, files: 2 } as const;

type Kind = keyof typeof PAUSE_MS;

export interface LoadSoakReport {
  readonly seconds: number;
  readonly steady: { readonly connections: number; readonly messages: number };
  /** How often each kind of connection was made. */
  readonly made: Readonly<Record<Kind, number>>;
  readonly usage: readonly UsageTrend[];
}

/** One connection of each kind, from its beginning to its end. Rejects when it did not go as it should. */
const KINDS: Readonly<Record<Kind, (door: string) => Promise<void>>> = {
  brief: async (door) => {
    const connection = await EchoConnection.open(door, ECHO);
    for (let message = 0; message < 3; message += 1) await connection.exchange();
    await connection.end();
  },
  bulk: async (door) => {
    const connection = await EchoConnection.open(door, ECHO);
    await connection.exchange(BULK_BYTES);
    await connection.end();
  },
  abandoned: async (door) => {
    const socket = await openConnect(door, ECHO);
    socket.on('error', () => undefined);
    socket.write(Buffer.alloc(BULK_BYTES));
    socket.resetAndDestroy();
  },
  refused: async (door) => {
    const connection = EchoConnection.open(door, ECHO.replace('echo', 'nowhere'));
    const refusal = await connection.then(
      () => undefined,
      (error: unknown) => error,
    );
    if (!(refusal instanceof ConnectRefused)) throw new Error(`a node that is not there: ${String(refusal)}`);
  },
};

/** Goes on making connections of one kind, through each door in turn, until `stopped`. */
async function repeat(kind: Kind, doors: readonly string[], stopped: AbortSignal): Promise<number> {
  let made = 0;
  while (!stopped.aborted) {
    const door = doors[made % doors.length] ?? '';
    try {
      await KINDS[kind](door);
    } catch (error) {
      throw new Error(`${kind} connection ${made + 1} through ${door}`, { cause: error });
    }
    made += 1;
    await pause(PAUSE_MS[kind]);
  }
  return made;
}

async function loadFor({ deployment, doors }: JoinedBerlin, forMs: number): Promise<LoadSoakReport> {
  const steady = await EchoLoad.start(doors, ECHO, STEADY_PER_DOOR);
  const since = performance.now();
  const over = new AbortController();
  const stopped = AbortSignal.any([over.signal, AbortSignal.timeout(forMs)]);
  const probe = new UsageProbe(deployment.services, SAMPLE_MS);
  const repeated = (kind: Kind) => repeat(kind, doors, stopped);
  try {
    const [brief, bulk, abandoned, refused] = await Promise.all([
      repeated('brief'),
      repeated('bulk'),
      repeated('abandoned'),
      repeated('refused'),
    ]);
    const { connections, messages, failures } = await steady.stop();
    if (failures.length > 0) throw new Error(`steady connections failed: ${failures.join('; ')}`);
    undisturbed(deployment, since);
    const seconds = Math.round((performance.now() - since) / 1_000);
    const made = { brief, bulk, abandoned, refused };
    return { seconds, steady: { connections, messages }, made, usage: probe.trends() };
  } finally {
    over.abort();
    probe.stop();
  }
}

/**
 * Connections of every kind for `forMs`. Rejects when one of them did not go as it should, or when a service's resident
 * memory or open files grew between the second and the last quarter of the time.
 */
export async function soakLoad(forMs: number): Promise<LoadSoakReport> {
  if (forMs < SHORTEST_MS) throw new Error(`A trend shows after ${SHORTEST_MS / 60_000} minutes at the earliest.`);
  const berlin = await joinedBerlin(TTL_MS);
  try {
    const report = await loadFor(berlin, forMs);
    const grown = report.usage.filter(
      ({ residentMiB, files }) => residentMiB.growth > GROWTH_MAX.residentMiB || files.growth > GROWTH_MAX.files,
    );
    if (grown.length > 0) throw new Error(`memory or open files grew: ${JSON.stringify(report)}`);
    return report;
  } finally {
    await berlin.close();
  }
}
