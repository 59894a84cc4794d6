import { globSync } from 'node:fs';

/** Files of one phase, in sorted order; `concurrency` of them run at a time. */
export interface TestPhase {
  readonly name: string;
  readonly files: readonly string[];
  readonly concurrency: number;
  /** A file that is still running after this has left something open, or hangs. */
  readonly fileDeadlineMs: number;
}

const UNIT = ['libs/*/src/**/*.test.ts', 'apps/*/src/**/*.test.ts', 'tools/**/*.test.ts'];
/** End-to-end tests start whole systems and measure time, so each has the machine to itself. */
const END_TO_END = ['apps/*/e2e/**/*.test.ts', 'libs/*/e2e/**/*.test.ts'];

/**
 * What is to be run: everything, or the files whose path contains one of `patterns`. A pattern that is a project's short
 * name (`store`) or path prefix (`libs/store`) works like any other part of a path.
 */
export function planTests(root: string, patterns: readonly string[], cores: number): readonly TestPhase[] {
  return [
    { name: 'unit', files: find(root, UNIT, patterns), concurrency: cores, fileDeadlineMs: 300_000 },
    { name: 'end to end', files: find(root, END_TO_END, patterns), concurrency: 1, fileDeadlineMs: 600_000 },
  ];
}

function find(root: string, globs: readonly string[], patterns: readonly string[]): readonly string[] {
  return globSync([...globs], { cwd: root, exclude: ['**/node_modules/**', '**/fixtures/**'] })
    .filter((file) => patterns.length === 0 || patterns.some((pattern) => file.includes(pattern)))
    .sort();
}
