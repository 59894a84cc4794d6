import { spawn } from 'node:child_process';
import { delimiter, join } from 'node:path';

import type { CheckOutcome } from './check.ts';

export interface CommandResult {
  readonly ok: boolean;
  /** stdout and stderr as they came. */
  readonly output: string;
}

const DEADLINE_MS = 10 * 60_000;

/** What ends a program that went wrong by itself; it has said nothing about what it was to look at. */
const CRASHES: ReadonlySet<NodeJS.Signals | null> = new Set(['SIGSEGV', 'SIGBUS', 'SIGABRT', 'SIGILL']);

/**
 * Runs a program of node_modules/.bin, or of PATH, with no stdin; resolves also where it fails or is not there. One that
 * crashes is run once more.
 */
export async function runCommand(
  root: string,
  command: string,
  args: readonly string[],
  cwd = root,
): Promise<CommandResult> {
  const first = await runOnce(root, command, args, cwd);
  if (!CRASHES.has(first.signal)) return first;
  console.log(`xylem: ${command} was ended by ${first.signal}; running it once more.`);
  return runOnce(root, command, args, cwd);
}

interface Ended extends CommandResult {
  readonly signal: NodeJS.Signals | null;
}

function runOnce(root: string, command: string, args: readonly string[], cwd: string): Promise<Ended> {
  const path = [join(root, 'node_modules', '.bin'), process.env['PATH'] ?? ''].join(delimiter);
  const env = {
    ...process.env,
    PATH: path,
    NX_DAEMON: 'false',
    NX_NO_CLOUD: 'true',
    FORCE_COLOR: '0',
  };
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], timeout: DEADLINE_MS });
    const chunks: string[] = [];
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => chunks.push(text));
    }
    child.once('error', (error) =>
      resolve({ ok: false, signal: null, output: `Cannot run ${command}: ${error.message}` }),
    );
    child.once('close', (code, signal) => {
      if (signal !== null) chunks.push(`\n${command} was ended by ${signal}`);
      resolve({ ok: code === 0, signal, output: chunks.join('').trim() });
    });
  });
}

/** The outcome of a check that is one command. */
export async function commandOutcome(root: string, command: string, args: readonly string[]): Promise<CheckOutcome> {
  const { ok, output } = await runCommand(root, command, args);
  return ok ? { kind: 'passed' } : { kind: 'failed', output: output.replaceAll(`${root}/`, '') };
}
