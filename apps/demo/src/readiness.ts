import { setTimeout as delay } from 'node:timers/promises';
import { describeExit } from './processes/service.ts';
import type { Service } from './processes/service.ts';

const POLL_MS = 50;
const REQUEST_TIMEOUT_MS = 1_000;
const DEADLINE_MS = 30_000;

/** Resolves when the service's /readyz answers 200. Rejects with its last log lines when it ends first, or takes too long. */
export async function waitReady(service: Service, ops: string): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  let last = 'nothing answered';
  while (performance.now() < deadline) {
    if (service.exit !== undefined) throw service.failure(`${describeExit(service.exit)} before it was ready:`);
    const answer = await readyz(ops);
    if (answer === 'ready') return;
    last = answer;
    await Promise.race([delay(POLL_MS), service.exited]);
  }
  throw service.failure(`was not ready within ${DEADLINE_MS / 1_000} s (${last}):`);
}

/** Resolves when the process has printed a line with `"event":"service.ready"`. */
export async function waitPrinted(service: Service, printed: Promise<void>): Promise<void> {
  const ended = service.exited.then((exit) => {
    throw service.failure(`${describeExit(exit)} before it was ready:`);
  });
  await Promise.race([printed, ended]);
}

async function readyz(ops: string): Promise<string> {
  try {
    const response = await fetch(`http://${ops}/readyz`, { signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) });
    const text = await response.text();
    return response.status === 200 ? 'ready' : text.trim().replaceAll('\n', ', ');
  } catch {
    return 'nothing answered';
  }
}
