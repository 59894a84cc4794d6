import type { FileReport, TestCounts } from './run-files.ts';

/** What a run of tests came to. */
export interface TestOutcome {
  readonly counts: TestCounts;
  readonly files: readonly FileReport[];
  /** Why not everything ran; undefined when it did. */
  readonly problem: string | undefined;
}

/** More files than this are too many to see at a glance which are slow. */
const SLOWEST_SHOWN = 15;

/** Did everything that ran pass, and did anything run? */
export function isSuccess({ counts, problem }: TestOutcome): boolean {
  return problem === undefined && counts.passed > 0 && counts.failed === 0 && counts.cancelled === 0;
}

/**
 * The last words of a run, line by line: the slowest files of a long run, everything that failed by name once more, and a
 * last line that alone says how it ended: `PASSED: N passed, N failed, N skipped`, or the same with `FAILED:`.
 *
 * @param failedChecks undefined where no checks were run
 */
export function summaryLines(outcome: TestOutcome, failedChecks?: readonly string[]): readonly string[] {
  const inOrder = outcome.files.toSorted((a, b) => (a.file < b.file ? -1 : 1));
  const failures = inOrder.flatMap((file) => file.failures);
  const lines = slowestLines(outcome.files);
  if (failures.length > 0) {
    lines.push('Failed tests, shown in full above:');
    for (const { file, name, reason } of failures)
      lines.push(`  ${[file, name, reason].filter((part) => part !== undefined).join(': ')}`);
  }
  if (outcome.problem !== undefined) lines.push(outcome.problem);
  if (failedChecks !== undefined) {
    lines.push(
      failedChecks.length === 0 ? 'Every check passed.' : `Failed checks, shown at the top: ${failedChecks.join(', ')}`,
    );
  }
  const passed = isSuccess(outcome) && (failedChecks ?? []).length === 0;
  return [...lines, `${passed ? 'PASSED' : 'FAILED'}: ${countsLine(outcome.counts)}`];
}

function slowestLines(files: readonly FileReport[]): string[] {
  if (files.length <= SLOWEST_SHOWN) return [];
  const slowest = files.toSorted((a, b) => b.durationMs - a.durationMs).slice(0, SLOWEST_SHOWN);
  const rows = slowest.map(({ file, durationMs }) => `  ${(durationMs / 1_000).toFixed(1).padStart(6)} s  ${file}`);
  return [`Slowest of ${files.length} files:`, ...rows];
}

/** What was cancelled has failed. */
function countsLine({ passed, failed, cancelled, skipped, todo }: TestCounts): string {
  return `${passed} passed, ${failed + cancelled} failed, ${skipped + todo} skipped`;
}
