import { availableParallelism } from 'node:os';
import { pipeline } from 'node:stream/promises';
import { spec } from 'node:test/reporters';

import { ensureHostTools, searchPath } from './host-tools.ts';
import { addCounts, closingEvents, NO_TESTS, runPhases, type TestCounts } from './run-files.ts';
import { planTests, type TestPhase } from './test-files.ts';

const TEST_TIMEOUT_MS = 60_000;

export interface TestOutcome {
  readonly counts: TestCounts;
  /** Why not everything ran; undefined when it did. */
  readonly problem: string | undefined;
}

/**
 * Runs the tests whose path contains one of `patterns` (all without one) and reports on stdout, closing with the runner's
 * summary. SIGINT and SIGTERM end the running files.
 */
export async function runTests(root: string, patterns: readonly string[]): Promise<TestOutcome> {
  const phases = planTests(root, patterns, availableParallelism());
  if (phases.every((phase) => phase.files.length === 0)) {
    return {
      counts: NO_TESTS,
      problem: `No test file has ${patterns.map((pattern) => `"${pattern}"`).join(' or ')} in its path.`,
    };
  }
  const path = searchPath(process.env['PATH'] ?? '');
  const tools = ensureHostTools(path, say);
  if (tools.kind === 'missing') {
    if (patterns.length === 0) return { counts: NO_TESTS, problem: tools.sentence };
    say(tools.sentence);
  }
  process.env['PATH'] = path;
  return report(root, phases);
}

/** `N passed, N failed, N skipped`; what was cancelled has failed. */
export function countsLine({ passed, failed, cancelled, skipped, todo }: TestCounts): string {
  return `${passed} passed, ${failed + cancelled} failed, ${skipped + todo} skipped`;
}

/** Did everything that ran pass, and did anything run? */
export function isSuccess({ counts, problem }: TestOutcome): boolean {
  return problem === undefined && counts.passed > 0 && counts.failed === 0 && counts.cancelled === 0;
}

async function report(root: string, phases: readonly TestPhase[]): Promise<TestOutcome> {
  const interrupted = new AbortController();
  const onSignal = (signal: NodeJS.Signals): void => interrupted.abort(new Error(`Ended by ${signal}.`));
  // Stays for good: a terminal or a supervisor often sends the same signal twice, and the summary is still to come.
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  let counts = NO_TESTS;
  const startedAt = performance.now();
  const events = async function* () {
    const count = (more: TestCounts): void => void (counts = addCounts(counts, more));
    yield* runPhases(phases, { root, testTimeoutMs: TEST_TIMEOUT_MS, signal: interrupted.signal, count });
    yield* closingEvents(counts, performance.now() - startedAt);
  };
  await pipeline(events, new spec(), process.stdout, { end: false });
  return { counts, problem: interrupted.signal.aborted ? 'The tests were interrupted.' : undefined };
}

function say(sentence: string): void {
  process.stderr.write(`xylem: ${sentence}\n`);
}
