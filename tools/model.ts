/**
 * Checks libs/membership/model/claims.pml with Spin: as it stands no state may violate its assertions, and with either guard
 * removed Spin must find the violation (else the model could not fail). Prints one JSON line per run.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const MODEL = join(import.meta.dirname, '..', 'libs', 'membership', 'model', 'claims.pml');
const LIMIT_MS = 300_000;

export interface ModelResult {
  readonly removedGuard: string | undefined;
  readonly states: number;
  readonly errors: number;
}

function run(folder: string, command: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: folder,
    encoding: 'utf8',
    timeout: LIMIT_MS,
  });
  if (error !== undefined)
    throw new Error(`${command} cannot run (${error.message}): apt-get install spin gcc libc6-dev`);
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed: ${stdout}${stderr}`);
  return stdout;
}

/** Explores the whole model; `removedGuard` names the macro that takes one guard out. */
export function checkModel(removedGuard?: string): ModelResult {
  const folder = mkdtempSync(join(tmpdir(), 'xylem-model-'));
  try {
    run(folder, 'spin', [...(removedGuard === undefined ? [] : [`-D${removedGuard}`]), '-a', MODEL]);
    run(folder, 'gcc', ['-w', '-O2', '-DSAFETY', '-o', 'pan', 'pan.c']);
    const report = run(folder, './pan', ['-m200000']);
    if (/search depth too small|out of memory/.test(report)) throw new Error(`the search was cut short: ${report}`);
    const number = (pattern: RegExp): number => Number(pattern.exec(report)?.[1] ?? Number.NaN);
    return { removedGuard, states: number(/(\d+) states, stored/), errors: number(/errors: (\d+)/) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

if (import.meta.main) {
  const results = [checkModel(), checkModel('NO_MEMBER_GUARD'), checkModel('NO_TOKEN_GUARD')];
  for (const result of results) process.stdout.write(`${JSON.stringify(result)}\n`);
  const sound = results.every(({ removedGuard, errors }) => (removedGuard === undefined ? errors === 0 : errors > 0));
  process.exitCode = sound ? 0 : 1;
}
