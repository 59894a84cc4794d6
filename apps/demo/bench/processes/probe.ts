/**
 * Somebody else's connection, as a process of its own: one message after the other to an echo node and back, with a pause in
 * between, as a person at a terminal types.
 *
 *   node probe.ts --front-door 127.0.0.1:7280 --node echo.berlin:7
 *
 * Each line on standard input ends a span of time, and is answered with a line of what was measured in it. Ends with status 1 on any
 * error of the connection.
 */
import { performance } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { EchoConnection } from '../../src/check/echo.ts';

const PAUSE_MS = 3;

const { values } = parseArgs({
  options: { 'front-door': { type: 'string', default: '' }, node: { type: 'string', default: '' } },
});
let times: number[] = [];
let over = false;

createInterface({ input: process.stdin })
  .on('line', () => {
    const sorted = times.toSorted((a, b) => a - b);
    times = [];
    const at = (share: number): number => sorted[Math.floor(share * (sorted.length - 1))] ?? 0;
    const report = { exchanges: sorted.length, p50Ms: at(0.5), p90Ms: at(0.9), p99Ms: at(0.99), maxMs: at(1) };
    process.stdout.write(`${JSON.stringify({ event: 'probe.measured', ...report })}\n`);
  })
  .on('close', () => void (over = true));

const connection = await EchoConnection.open(values['front-door'], values.node);
process.stdout.write('{"event":"service.ready"}\n');
while (!over) {
  const sentAt = performance.now();
  await connection.exchange();
  times.push(performance.now() - sentAt);
  await pause(PAUSE_MS);
}
connection.close();
