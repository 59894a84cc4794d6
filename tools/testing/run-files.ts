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

export interface RunOptions {
  readonly root: string;
  /** Deadline of one test, unless it sets its own. */
  readonly testTimeoutMs: number;
  /** Ends every running file. */
  readonly signal: AbortSignal;
  /** Called with the counts of each file as it ends. */
  readonly count: (counts: TestCounts) => void;
}

interface FileEvents {
  readonly file: string;
  readonly events: readonly TestEvent[];
}

/** After being told to end, a test process has this long. */
const ABORT_GRACE_MS = 5_000;

/**
 * Runs the phases one after another as one run: the events of each file, whole and in the order in which files end, without
 * the per-file summaries, which go to `count`. Each file runs in a process of its own.
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
      running.delete(done.file);
      yield* done.events;
    }
  }
}

async function runFile(file: string, deadlineMs: number, options: RunOptions): Promise<FileEvents> {
  const overdue = new AbortController();
  const reason = new Error(`Still running after ${deadlineMs / 1000} s: a test hangs, or something was left open.`);
  const timer = setTimeout(() => overdue.abort(reason), deadlineMs);
  const signal = AbortSignal.any([overdue.signal, options.signal]);
  const events: TestEvent[] = [];
  try {
    await Promise.race([collect(file, signal, options, events), killedInVain(signal)]);
  } finally {
    clearTimeout(timer);
  }
  return { file, events };
}

async function collect(file: string, signal: AbortSignal, options: RunOptions, events: TestEvent[]): Promise<void> {
  const { root: cwd, testTimeoutMs: timeout } = options;
  const stream = run({ files: [join(cwd, file)], cwd, concurrency: false, timeout, signal });
  for await (const event of stream as AsyncIterable<TestEvent>) {
    if (event.type === 'test:summary') {
      // A summary with a file is that process's own; the one without is the run's and counts a crashed file as well.
      if (event.data.file === undefined) options.count(countsOf(event.data.counts));
    } else if (!closesRun(event)) events.push(event);
  }
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
