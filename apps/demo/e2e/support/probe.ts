import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { availableParallelism, loadavg } from 'node:os';
import { performance } from 'node:perf_hooks';
import { EchoConnection } from '../../src/check/echo.ts';

interface ProbeReport {
  readonly exchanges: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/**
 * Somebody else's connection: one message after the other to an echo node and back, for as long as the attack lasts. Any error of it
 * rejects.
 */
async function whileProbing(frontDoor: string, authority: string, attack: () => Promise<void>): Promise<ProbeReport> {
  const connection = await EchoConnection.open(frontDoor, authority);
  const times: number[] = [];
  let over = false;
  const probing = (async () => {
    while (!over) {
      const sentAt = performance.now();
      await connection.exchange();
      times.push(performance.now() - sentAt);
    }
  })();
  try {
    await Promise.race([attack(), probing]);
  } finally {
    over = true;
    await probing;
    await connection.end();
  }
  return { exchanges: times.length, p50Ms: percentile(times, 0.5), p99Ms: percentile(times, 0.99) };
}

/** Milliseconds that an attack may add to the 99th percentile of somebody else's exchanges, on a machine with nothing else to do. */
const EXTRA_MS = 50;
/** The load average lags behind: a machine that looks idle may have become busy a moment ago. */
const LEAST_SHARED = 2;
const CALM_EXCHANGES = 100;
/** Bytes of one exchange past the product, as those of EchoConnection. */
const DIRECT_BYTES = 1_024;

/**
 * Runs an attack beside the probe, and fails when the probe had an error or was slowed down. What counts is what is added to: the probe
 * before the attack, and one in this very process that does not go through the product, which is slow when the machine is, or
 * when the attacker keeps this process busy. Where others share the machine the bound grows with their number.
 */
export async function unharmed(frontDoor: string, authority: string, attack: () => Promise<void>): Promise<string> {
  const calm = await whileProbing(frontDoor, authority, () => direct(CALM_EXCHANGES).then(() => undefined));
  let over = false;
  const control = direct(Number.MAX_SAFE_INTEGER, () => over);
  const report = await whileProbing(frontDoor, authority, attack).finally(() => {
    over = true;
  });
  const directMs = await control;
  const shared = Math.max(LEAST_SHARED, (loadavg()[0] ?? 0) / availableParallelism());
  const limitMs = (calm.p99Ms + directMs + EXTRA_MS) * shared;
  const text = `${reportText(report)}, before ${calm.p99Ms.toFixed(1)} ms, past the product ${directMs.toFixed(1)} ms`;
  assert.ok(report.p99Ms < limitMs, `${text}: more than ${limitMs.toFixed(0)} ms`);
  return text;
}

/** Exchanges with an echo server of this process; the 99th percentile in milliseconds. */
async function direct(most: number, isOver: () => boolean = () => false): Promise<number> {
  const server = createServer((socket) => socket.on('error', () => undefined).pipe(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const socket = connect({ host: '127.0.0.1', port });
  await once(socket, 'connect');
  const times: number[] = [];
  while (times.length < most && !isOver()) {
    const sentAt = performance.now();
    socket.write(Buffer.alloc(DIRECT_BYTES));
    while (socket.read(DIRECT_BYTES) === null) await once(socket, 'readable');
    times.push(performance.now() - sentAt);
  }
  socket.destroy();
  server.close();
  return percentile(times, 0.99);
}

function percentile(times: readonly number[], share: number): number {
  const sorted = times.toSorted((a, b) => a - b);
  return sorted[Math.floor(share * (sorted.length - 1))] ?? Number.NaN;
}

function reportText({ exchanges, p50Ms, p99Ms }: ProbeReport): string {
  return `another leaf cluster's probe: ${exchanges} exchanges, p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms`;
}
