import { performance } from 'node:perf_hooks';
import { EchoConnection } from '../../src/check/echo.ts';

export interface ProbeReport {
  readonly exchanges: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/**
 * Somebody else's connection: one message after the other to an echo node and back, for as long as the attack lasts. Any error of it
 * rejects.
 */
export async function whileProbing(
  frontDoor: string,
  authority: string,
  attack: () => Promise<void>,
): Promise<ProbeReport> {
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
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.floor(share * (sorted.length - 1))] ?? Number.NaN;
  return { exchanges: times.length, p50Ms: at(0.5), p99Ms: at(0.99) };
}

export function reportText({ exchanges, p50Ms, p99Ms }: ProbeReport): string {
  return `another leaf cluster's probe: ${exchanges} exchanges, p50 ${p50Ms.toFixed(1)} ms, p99 ${p99Ms.toFixed(1)} ms`;
}
