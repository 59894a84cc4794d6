import { availableParallelism } from 'node:os';
import { pipeline } from 'node:stream/promises';
import { spec } from 'node:test/reporters';

import { ensureHostTools, searchPath } from './host-tools.ts';
import { addCounts, closingEvents, NO_TESTS, runPhases, type FileReport } from './run-files.ts';
import type { TestOutcome } from './summary.ts';
import { planTests, type TestPhase } from './test-files.ts';

const TEST_TIMEOUT_MS = 60_000;

/**
 * Runs the tests whose path contains one of `patterns` (all without one) and reports on stdout, closing with the runner's
 * summary. SIGINT and SIGTERM end the running files.
 */
export async function runTests(root: string, patterns: readonly string[]): Promise<TestOutcome> {
  const phases = planTests(root, patterns, availableParallelism());
  if (phases.every((phase) => phase.files.length === 0)) {
    const named = patterns.map((pattern) => `"${pattern}"`).join(' or ');
    return { counts: NO_TESTS, files: [], problem: `No test file has ${named} in its path.` };
  }
  const path = searchPath(process.env['PATH'] ?? '');
  const tools = ensureHostTools(path, say);
  if (tools.kind === 'missing') {
    if (patterns.length === 0) return { counts: NO_TESTS, files: [], problem: tools.sentence };
    say(tools.sentence);
  }
  process.env['PATH'] = path;
  return report(root, phases);
}

async function report(root: string, phases: readonly TestPhase[]): Promise<TestOutcome> {
  const interrupted = new AbortController();
  const onSignal = (signal: NodeJS.Signals): void => interrupted.abort(new Error(`Ended by ${signal}.`));
  // Stays for good: a terminal or a supervisor often sends the same signal twice, and the summary is still to come.
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  const files: FileReport[] = [];
  const counts = () => files.reduce((sum, file) => addCounts(sum, file.counts), NO_TESTS);
  const startedAt = performance.now();
  const events = async function* () {
    const onFile = (file: FileReport): void => void files.push(file);
    yield* runPhases(phases, { root, testTimeoutMs: TEST_TIMEOUT_MS, signal: interrupted.signal, onFile });
    yield* closingEvents(counts(), performance.now() - startedAt);
  };
  await pipeline(events, new spec(), process.stdout, { end: false });
  return {
    counts: counts(),
    files,
    problem: interrupted.signal.aborted ? 'The tests were interrupted.' : undefined,
  };
}

function say(sentence: string): void {
  process.stderr.write(`xylem: ${sentence}\n`);
}
