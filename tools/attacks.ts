/**
 * `npm run attacks [-- A7 A18]`: the attacks of docs/ATTACKS.md, or those named, as tests; a table of results. Exit status 1 when a
 * row falls or has no case.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestEvent } from 'node:test/reporters';

import { runPhases } from './testing/run-files.ts';
import { planTests, type TestPhase } from './testing/test-files.ts';

const TEST_TIMEOUT_MS = 120_000;
const WIDTH = 78;

export interface Row {
  readonly id: string;
  readonly attack: string;
  readonly expected: string;
}

export interface RowResult {
  readonly passed: number;
  /** Name and first line of the error of each case that failed. */
  readonly failures: readonly string[];
}

/** The rows of the table in docs/ATTACKS.md. */
export function readRows(text: string): readonly Row[] {
  return [...text.matchAll(/^\| (A\d+) \| (.*?) \| (.*?) \|$/gm)].map(([, id = '', attack = '', expected = '']) => ({
    id,
    attack,
    expected,
  }));
}

/** The row that a test belongs to: its name begins with the id and a colon. */
export function rowOf(name: string): string | undefined {
  return /^(A\d+): /.exec(name)?.[1];
}

/** Test files with cases of these rows. */
export function casesIn(phases: readonly TestPhase[], root: string, ids: ReadonlySet<string>): readonly TestPhase[] {
  const hasCase = (file: string): boolean => {
    if (file.startsWith('tools/')) return false;
    const text = readFileSync(join(root, file), 'utf8');
    return [...text.matchAll(/['"`](A\d+): /g)].some(([, id = '']) => ids.has(id));
  };
  return phases.map((phase) => ({ ...phase, files: phase.files.filter(hasCase) }));
}

async function runCases(root: string, ids: ReadonlySet<string>): Promise<Map<string, RowResult>> {
  const results = new Map<string, RowResult>([...ids].map((id) => [id, { passed: 0, failures: [] }]));
  const interrupted = new AbortController();
  process.on('SIGINT', () => interrupted.abort(new Error('Ended by SIGINT.')));
  const phases = casesIn(planTests(root, [], availableParallelism()), root, ids);
  const options = { root, testTimeoutMs: TEST_TIMEOUT_MS, signal: interrupted.signal, onFile: () => undefined };
  for await (const event of runPhases(phases, options)) note(results, event);
  return results;
}

function note(results: Map<string, RowResult>, event: TestEvent): void {
  if (event.type !== 'test:pass' && event.type !== 'test:fail') return;
  const { name } = event.data;
  const id = rowOf(name);
  const result = id === undefined ? undefined : results.get(id);
  if (id === undefined || result === undefined || event.data.skip !== undefined) return;
  const { passed, failures } = result;
  if (event.type === 'test:pass') results.set(id, { passed: passed + 1, failures });
  else
    results.set(id, {
      passed,
      failures: [...failures, `${name}: ${event.data.details.error.message.split('\n')[0] ?? ''}`],
    });
}

function resultText({ passed, failures }: RowResult): string {
  if (failures.length > 0) return `${failures.length} of ${passed + failures.length} FELL`;
  return passed === 0 ? 'NO CASE' : `${passed} refused`;
}

function cut(text: string): string {
  return text.length > WIDTH ? `${text.slice(0, WIDTH - 3)}...` : text;
}

if (import.meta.main) {
  const root = dirname(import.meta.dirname);
  const all = readRows(readFileSync(join(root, 'docs/ATTACKS.md'), 'utf8'));
  const wanted = process.argv.slice(2);
  const stray = wanted.find((id) => all.every((row) => row.id !== id));
  if (stray !== undefined) {
    process.stderr.write(`xylem: docs/ATTACKS.md has no attack ${stray}. Usage: npm run attacks [-- A7 A18]\n`);
    process.exit(2);
  }
  const rows = all.filter(({ id }) => wanted.length === 0 || wanted.includes(id));
  const results = await runCases(root, new Set(rows.map(({ id }) => id)));
  let withstood = 0;
  for (const { id, attack } of rows) {
    const result = results.get(id) ?? { passed: 0, failures: [] };
    if (result.failures.length === 0 && result.passed > 0) withstood += 1;
    process.stdout.write(`${id.padEnd(4)} ${resultText(result).padEnd(16)} ${cut(attack)}\n`);
    for (const failure of result.failures) process.stdout.write(`     ${failure}\n`);
  }
  process.stdout.write(`\n${withstood} of ${rows.length} attacks withstood\n`);
  process.exit(withstood === rows.length ? 0 : 1);
}
