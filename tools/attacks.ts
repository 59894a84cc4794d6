/**
 * `npm run attacks [-- A7 A18]`: the attacks of docs/ATTACKS.md, or those named, as tests; a table of results. Exit status 1 when a
 * row falls or has no case. `npm run attacks -- --write` brings the page's last column, the files that show each row, up to date; `tools/attacks.test.ts` compares.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, dirname, join } from 'node:path';
import type { TestEvent } from 'node:test/reporters';

import { runPhases, type FileReport } from './testing/run-files.ts';
import { planTests, type TestPhase } from './testing/test-files.ts';

const TEST_TIMEOUT_MS = 120_000;
const ATTACK_WIDTH = 60;
const PAGE = 'docs/ATTACKS.md';
const ROW = /^\| (A\d+) \| (.*?) \| (.*?) \| (?:(.*?) )?\|$/gm;

export interface Row {
  readonly id: string;
  readonly attack: string;
  readonly expected: string;
  /** Names of test files, as the page has them. */
  readonly shownBy: string;
}

/** What became of the cases of a row. */
export interface RowResult {
  /** How many passed, by file. */
  readonly passed: ReadonlyMap<string, number>;
  /** Name and first line of the error of each case that failed. */
  readonly failures: readonly string[];
  /** The greatest delay that somebody else's probe saw, 99th percentile in milliseconds; undefined where none was measured. */
  readonly probeMs: number | undefined;
}

const NO_CASE: RowResult = { passed: new Map(), failures: [], probeMs: undefined };

/** The rows of the table in docs/ATTACKS.md. */
export function readRows(text: string): readonly Row[] {
  return [...text.matchAll(ROW)].map(([, id = '', attack = '', expected = '', files = '']) => ({
    id,
    attack,
    expected,
    shownBy: files,
  }));
}

/** The row that a test belongs to: its name begins with the id and a colon. */
export function rowOf(name: string): string | undefined {
  return /^(A\d+): /.exec(name)?.[1];
}

/** Test files with cases of these rows. */
export function casesIn(phases: readonly TestPhase[], root: string, ids: ReadonlySet<string>): readonly TestPhase[] {
  const hasCase = (file: string): boolean => idsIn(root, file).some((id) => ids.has(id));
  return phases.map((phase) => ({ ...phase, files: phase.files.filter(hasCase) }));
}

function idsIn(root: string, file: string): readonly string[] {
  if (file.startsWith('tools/')) return [];
  return [...readFileSync(join(root, file), 'utf8').matchAll(/['"`](A\d+): /g)].map(([, id = '']) => id);
}

/** The files that show a row, as the page lists them. */
export function shownBy(root: string, id: string): string {
  const files = casesIn(planTests(root, [], 1), root, new Set([id])).flatMap((phase) => phase.files);
  const named = [...new Set(files.map((file) => `\`${shortName(file)}\``))].sort();
  return named.join(', ');
}

/** `root-proxy/fuzz`, `demo/attacks`: the project and the file. */
function shortName(file: string): string {
  return `${file.split('/')[1] ?? ''}/${basename(file, '.test.ts')}`;
}

async function runCases(root: string, ids: ReadonlySet<string>): Promise<ReadonlyMap<string, RowResult>> {
  const results = new Map<string, RowResult>([...ids].map((id) => [id, NO_CASE]));
  const interrupted = new AbortController();
  process.on('SIGINT', () => interrupted.abort(new Error('Ended by SIGINT.')));
  const phases = casesIn(planTests(root, [], availableParallelism()), root, ids);
  const only = new RegExp(`^(${[...ids].join('|')}): `);
  const onFile = (report: FileReport): void => noteFile(results, root, report);
  const options = { root, testTimeoutMs: TEST_TIMEOUT_MS, signal: interrupted.signal, only, onFile };
  let last: string | undefined;
  for await (const event of runPhases(phases, options)) last = note(results, root, event, last);
  return results;
}

/** Takes one event down. Returns the row that what is told next is about. */
function note(
  results: Map<string, RowResult>,
  root: string,
  event: TestEvent,
  last: string | undefined,
): string | undefined {
  if (event.type === 'test:diagnostic') {
    const result = last === undefined ? undefined : results.get(last);
    const probeMs = Number(/probe: .*?p99 ([\d.]+) ms/.exec(event.data.message)?.[1]);
    if (last !== undefined && result !== undefined && probeMs >= (result.probeMs ?? 0))
      results.set(last, { ...result, probeMs });
    return last;
  }
  if (event.type !== 'test:pass' && event.type !== 'test:fail') return last;
  const id = rowOf(event.data.name);
  const result = id === undefined ? undefined : results.get(id);
  if (id === undefined || result === undefined || event.data.skip !== undefined) return undefined;
  const file = shortName((event.data.file ?? '').slice(root.length + 1));
  if (event.type === 'test:pass')
    results.set(id, { ...result, passed: new Map(result.passed).set(file, (result.passed.get(file) ?? 0) + 1) });
  else {
    const failure = `${file}: ${event.data.name}: ${event.data.details.error.message.split('\n')[0] ?? ''}`;
    results.set(id, { ...result, failures: [...result.failures, failure] });
  }
  return id;
}

/** What went wrong outside of any case (a hook, the file as a whole) counts against every row that the file shows. */
function noteFile(results: Map<string, RowResult>, root: string, { file, failures }: FileReport): void {
  const outside = failures.filter(({ name }) => name === undefined || rowOf(name) === undefined);
  for (const id of new Set(outside.length === 0 ? [] : idsIn(root, file))) {
    const result = results.get(id);
    if (result === undefined) continue;
    const lines = outside.map(({ name, reason }) => `${shortName(file)}: ${name ?? 'the file'}: ${reason}`);
    results.set(id, { ...result, failures: [...result.failures, ...lines] });
  }
}

function passedIn({ passed }: RowResult): number {
  return [...passed.values()].reduce((total, count) => total + count, 0);
}

/** Withstood: a case at least, and every one of them passed. */
export function isWithstood(result: RowResult): boolean {
  return result.failures.length === 0 && result.passed.size > 0;
}

/** The line of one row: id, outcome, cases, attack, evidence. */
export function resultLine({ id, attack }: Pick<Row, 'id' | 'attack'>, result: RowResult): string {
  const cases = passedIn(result) + result.failures.length;
  const outcome = isWithstood(result) ? 'withstood' : cases === 0 ? 'NO CASE' : `${result.failures.length} FELL`;
  const files = [...result.passed].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([file, count]) => `${file} ${count}`);
  const probe = result.probeMs === undefined ? [] : [`probe p99 ${Math.round(result.probeMs)} ms`];
  return line(id, outcome, String(cases), attack, [...probe, ...files].join(', '));
}

function line(id: string, outcome: string, cases: string, attack: string, evidence: string): string {
  const text = attack.length > ATTACK_WIDTH ? `${attack.slice(0, ATTACK_WIDTH - 3)}...` : attack;
  return `${id.padEnd(4)} ${outcome.padEnd(10)} ${cases.padStart(5)}  ${text.padEnd(ATTACK_WIDTH)}  ${evidence}`.trimEnd();
}

/** The page with its last column as the sources have it. */
export function withEvidence(text: string, root: string): string {
  return text.replaceAll(ROW, (_line, id: string, attack: string, expected: string) => {
    return `| ${id} | ${attack} | ${expected} | ${shownBy(root, id)} |`;
  });
}

async function main(root: string, args: readonly string[]): Promise<number> {
  const page = join(root, PAGE);
  const text = readFileSync(page, 'utf8');
  if (args.length === 1 && args[0] === '--write') {
    writeFileSync(page, withEvidence(text, root));
    return 0;
  }
  const all = readRows(text);
  const stray = args.find((id) => all.every((row) => row.id !== id));
  if (stray !== undefined) {
    process.stderr.write(`xylem: ${PAGE} has no attack ${stray}. Usage: npm run attacks [-- A7 A18 | --write]\n`);
    return 2;
  }
  const rows = all.filter(({ id }) => args.length === 0 || args.includes(id));
  const startedAt = performance.now();
  const results = await runCases(root, new Set(rows.map(({ id }) => id)));
  process.stdout.write(`${line('row', 'outcome', 'cases', 'attack', 'evidence: passed cases by file')}\n`);
  for (const row of rows) {
    const result = results.get(row.id) ?? NO_CASE;
    process.stdout.write(`${resultLine(row, result)}\n`);
    for (const failure of result.failures) process.stdout.write(`     ${failure}\n`);
  }
  const withstood = rows.filter(({ id }) => isWithstood(results.get(id) ?? NO_CASE)).length;
  const cases = [...results.values()].reduce((total, result) => total + passedIn(result) + result.failures.length, 0);
  const seconds = Math.round((performance.now() - startedAt) / 1_000);
  process.stdout.write(`\n${withstood} of ${rows.length} attacks withstood, ${cases} cases in ${seconds} s\n`);
  return withstood === rows.length ? 0 : 1;
}

if (import.meta.main) process.exit(await main(dirname(import.meta.dirname), process.argv.slice(2)));
