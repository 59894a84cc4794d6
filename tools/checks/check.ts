/** What a check found. An empty list is a pass. */
export interface Problem {
  /** Relative to the repository's root. */
  readonly file: string;
  readonly line?: number;
  /** What is wrong and, where it is not plain, what to do. */
  readonly message: string;
}

export type CheckOutcome =
  | { readonly kind: 'passed'; readonly note?: string }
  /** `output` is shown as it is. */
  | { readonly kind: 'failed'; readonly output: string };

/** One thing that is true of every commit. */
export interface Check {
  readonly name: string;
  /** One line for the list of checks. */
  readonly purpose: string;
  run(root: string): Promise<CheckOutcome>;
  /** Puts right what a machine can put right. */
  fix?(root: string): Promise<CheckOutcome>;
}

/** Outcome of a check that lists problems, sorted by file and line. */
export function outcomeOf(problems: readonly Problem[]): CheckOutcome {
  if (problems.length === 0) return { kind: 'passed' };
  const sorted = [...problems].sort((a, b) => compareText(a.file, b.file) || (a.line ?? 0) - (b.line ?? 0));
  return { kind: 'failed', output: [...new Set(sorted.map(describe))].join('\n') };
}

function describe({ file, line, message }: Problem): string {
  return line === undefined ? `${file}: ${message}` : `${file}:${line}: ${message}`;
}

function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
