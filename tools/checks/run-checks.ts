import type { Check, CheckOutcome } from './check.ts';

/** Two at a time: most checks are one process that uses more than one core itself. */
const CONCURRENCY = 2;

/** Runs `checks`, prints one line per check and what failed under it, and answers with the names of those that failed. */
export async function runChecks(root: string, checks: readonly Check[]): Promise<readonly string[]> {
  const waiting = [...checks];
  const failed: string[] = [];
  const worker = async (): Promise<void> => {
    for (let check = waiting.shift(); check !== undefined; check = waiting.shift()) {
      const startedAt = performance.now();
      const outcome = await outcomeOrError(check, root);
      print(check, outcome, performance.now() - startedAt);
      if (outcome.kind === 'failed') failed.push(check.name);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
  return checks.map((check) => check.name).filter((name) => failed.includes(name));
}

async function outcomeOrError(check: Check, root: string): Promise<CheckOutcome> {
  try {
    return await check.run(root);
  } catch (error) {
    return { kind: 'failed', output: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}

function print({ name, purpose }: Check, outcome: CheckOutcome, durationMs: number): void {
  const seconds = `${(durationMs / 1000).toFixed(1)} s`;
  if (outcome.kind === 'passed') {
    console.log(`✔ ${name} (${outcome.note ?? purpose}; ${seconds})`);
    return;
  }
  console.log(`✖ ${name} (${purpose}; ${seconds})`);
  console.log(outcome.output.replaceAll(/^/gm, '    '));
}
