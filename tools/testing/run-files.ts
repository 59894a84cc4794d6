import { run } from 'node:test';
import type { TestEvent } from 'node:test/reporters';
import { join } from 'node:path';

import type { TestPhase } from './test-files.ts';

/** How many tests ended in which way, over all files. */
export interface TestCounts {
  readonly tests: number;
  readonly suites: number;
  readonly passed: number;
  readonly failed: number;
  readonly cancelled: number;
  readonly skipped: number;
  readonly todo: number;
}

export const NO_TESTS: TestCounts = { tests: 0, suites: 0, passed: 0, failed: 0, cancelled: 0, skipped: 0, todo: 0 };

/** A test that did not pass. */
export interface TestFailure {
  /** Relative to the root. */
  readonly file: string;
  /** Undefined where the file as a whole failed. */
  readonly name: string | undefined;
  /** First line of what it failed with. */
  readonly reason: string;
}

/** What the tests of one file came to. */
export interface FileReport {
  readonly file: string;
  readonly durationMs: number;
  readonly counts: TestCounts;
  readonly failures: readonly TestFailure[];
}

export interface RunOptions {
  readonly root: string;
  /** Deadline of one test, unless it sets its own. */
  readonly testTimeoutMs: number;
  /** Ends every running file. */
  readonly signal: AbortSignal;
  /** Only tests whose name matches; default: all. */
  readonly only?: RegExp;
  /** Called for each file as it ends. */
  readonly onFile: (report: FileReport) => void;
}

interface FileEvents {
  readonly report: FileReport;
  readonly events: readonly TestEvent[];
}

/** After being told to end, a test process has this long. */
const ABORT_GRACE_MS = 5_000;

/**
 * Runs the phases one after another as one run: the events of each file, whole and in the order in which files end, without
 * the per-file summaries, which go to `onFile`. Each file runs in a process of its own.
 */
export async function* runPhases(phases: readonly TestPhase[], options: RunOptions): AsyncGenerator<TestEvent> {
  for (const phase of phases) {
    const waiting = [...phase.files];
    const running = new Map<string, Promise<FileEvents>>();
    for (;;) {
      while (running.size < phase.concurrency && !options.signal.aborted) {
        const file = waiting.shift();
        if (file === undefined) break;
        running.set(file, runFile(file, phase.fileDeadlineMs, options));
      }
      if (running.size === 0) break;
      const done = await Promise.race(running.values());
      running.delete(done.report.file);
      options.onFile(done.report);
      yield* done.events;
    }
  }
}

async function runFile(file: string, deadlineMs: number, options: RunOptions): Promise<FileEvents> {
  const startedAt = performance.now();
  const overdue = new AbortController();
  const reason = new Error(`Still running after ${deadlineMs / 1000} s: a test hangs, or something was left open.`);
  const timer = setTimeout(() => overdue.abort(reason), deadlineMs);
  const signal = AbortSignal.any([overdue.signal, options.signal]);
  const heard: Heard = { events: [], counts: undefined };
  try {
    await Promise.race([listen(file, signal, options, heard), killedInVain(signal)]);
  } finally {
    clearTimeout(timer);
  }
  return { report: reportOf(file, heard, performance.now() - startedAt), events: heard.events };
}

/** What a file's process has said so far. */
interface Heard {
  readonly events: TestEvent[];
  /** Undefined until it summed up. */
  counts: TestCounts | undefined;
}

async function listen(file: string, signal: AbortSignal, options: RunOptions, heard: Heard): Promise<void> {
  const { root: cwd, testTimeoutMs: timeout, only } = options;
  const names = only === undefined ? {} : { testNamePatterns: only };
  const stream = run({ files: [join(cwd, file)], cwd, concurrency: false, timeout, signal, ...names });
  for await (const event of stream as AsyncIterable<TestEvent>) {
    if (event.type === 'test:summary') {
      // A summary with a file is that process's own; the one without is the run's and counts a crashed file as well.
      if (event.data.file === undefined) heard.counts = countsOf(event.data.counts);
    } else if (!closesRun(event)) heard.events.push(event);
  }
}

function reportOf(file: string, { events, counts }: Heard, durationMs: number): FileReport {
  const failures = events.flatMap((event) => failureOf(file, event));
  if (counts !== undefined) return { file, durationMs, counts, failures };
  // Its process could not even be killed, so it never summed up.
  const lost: TestFailure = { file, name: undefined, reason: 'Its process did not end when it was told to.' };
  const unfinished = [...failures, lost];
  return {
    file,
    durationMs,
    counts: { ...NO_TESTS, tests: unfinished.length, failed: unfinished.length },
    failures: unfinished,
  };
}

/** A suite fails with its tests, which are named by themselves. */
function failureOf(file: string, event: TestEvent): readonly TestFailure[] {
  if (event.type !== 'test:fail' || event.data.todo !== undefined) return [];
  const { error } = event.data.details;
  if ('failureType' in error && error.failureType === 'subtestsFailed') return [];
  const message = error.cause instanceof Error ? error.cause.message : error.message;
  const name = event.data.name.endsWith(file) ? undefined : event.data.name;
  return [{ file, name, reason: message.split('\n', 1)[0] ?? '' }];
}

/** Node reports `failed` too, its types do not; every test is counted under exactly one ending. */
function countsOf(reported: Omit<TestCounts, 'failed'>): TestCounts {
  const { tests, suites, passed, cancelled, skipped, todo } = reported;
  return { tests, suites, passed, cancelled, skipped, todo, failed: tests - passed - cancelled - skipped - todo };
}

/** Resolves when a process did not end within its grace; its events so far then have to do. */
function killedInVain(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const afterGrace = (): void => void setTimeout(resolve, ABORT_GRACE_MS).unref();
    if (signal.aborted) afterGrace();
    else signal.addEventListener('abort', afterGrace, { once: true });
  });
}

/** The plan and the `tests 4`, `pass 2`, ... lines that close every run. */
function closesRun(event: TestEvent): boolean {
  if (event.type === 'test:plan') return event.data.nesting === 0;
  return event.type === 'test:diagnostic' && event.data.nesting === 0 && event.data.file === undefined;
}

/** The closing lines of the whole run, as the runner's own `spec` reporter shows them. */
export function closingEvents(counts: TestCounts, durationMs: number): readonly TestEvent[] {
  const { tests, suites, passed, failed, cancelled, skipped, todo } = counts;
  const lines = {
    tests,
    suites,
    pass: passed,
    fail: failed,
    cancelled,
    skipped,
    todo,
    duration_ms: Math.round(durationMs),
  };
  return Object.entries(lines).map(([name, value]) => ({
    type: 'test:diagnostic',
    data: { nesting: 0, message: `${name} ${value}`, level: 'info' },
  }));
}

export function addCounts(a: TestCounts, b: TestCounts): TestCounts {
  return {
    tests: a.tests + b.tests,
    suites: a.suites + b.suites,
    passed: a.passed + b.passed,
    failed: a.failed + b.failed,
    cancelled: a.cancelled + b.cancelled,
    skipped: a.skipped + b.skipped,
    todo: a.todo + b.todo,
  };
}
