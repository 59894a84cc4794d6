import { execFileSync } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { outcomeOf, type Check, type CheckOutcome, type Problem } from './check.ts';
import { commandOutcome, runCommand } from './command.ts';

const FOLDER = 'proto';
/** Where proto/buf.gen.yaml puts what it generates. */
const GENERATED = 'libs/wire/src/gen';

export const protoLint: Check = {
  name: 'proto-lint',
  purpose: 'buf lint',
  run: (root) => commandOutcome(root, 'buf', ['lint', FOLDER]),
};

/** Released services and those of this commit understand each other. */
export const protoBreaking: Check = {
  name: 'proto-breaking',
  purpose: 'no message changed in a way that an older service would misread',
  run: checkBreaking,
};

/** The committed code is what proto/ generates. */
export const generated: Check = {
  name: 'generate',
  purpose: 'the generated code is what proto/ says',
  run: checkGenerated,
  fix: generate,
};

async function checkBreaking(root: string): Promise<CheckOutcome> {
  const base = baseCommit(root);
  if (base === undefined) return { kind: 'passed', note: 'nothing to compare with: no release tag, and main is here' };
  const outcome = await commandOutcome(root, 'buf', [
    'breaking',
    FOLDER,
    '--against',
    `.git#ref=${base},subdir=${FOLDER}`,
  ]);
  return outcome.kind === 'passed' ? { ...outcome, note: `compared with ${base.slice(0, 12)}` } : outcome;
}

/** The newest release, else where this branch left main; undefined on main before the first release. */
function baseCommit(root: string): string | undefined {
  const head = git(root, ['rev-parse', 'HEAD']);
  const release = git(root, ['describe', '--tags', '--abbrev=0', '--match', 'v*']);
  if (release !== undefined) return git(root, ['rev-list', '-n', '1', release]);
  for (const main of ['origin/main', 'main']) {
    const base = git(root, ['merge-base', 'HEAD', main]);
    if (base !== undefined && base !== head && hasProtos(root, base)) return base;
  }
  return undefined;
}

function hasProtos(root: string, commit: string): boolean {
  return git(root, ['cat-file', '-e', `${commit}:${FOLDER}/buf.yaml`]) !== undefined;
}

function git(root: string, args: readonly string[]): string | undefined {
  try {
    return execFileSync('git', args, { cwd: root, stdio: ['ignore', 'pipe', 'ignore'], encoding: 'utf8' }).trim();
  } catch {
    return undefined;
  }
}

async function checkGenerated(root: string): Promise<CheckOutcome> {
  const scratch = mkdtempSync(join(tmpdir(), 'xylem-generate-'));
  try {
    // The outputs in buf.gen.yaml are relative to proto/, so a folder of that depth stands in for it.
    const { ok, output } = await runCommand(root, 'buf', ['generate', '-o', join(scratch, FOLDER)], join(root, FOLDER));
    if (!ok) return { kind: 'failed', output };
    return outcomeOf(differences(join(scratch, GENERATED), join(root, GENERATED)));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function differences(fresh: string, committed: string): readonly Problem[] {
  const list = (folder: string): readonly string[] => globSync('**/*.ts', { cwd: folder });
  return [...new Set([...list(fresh), ...list(committed)])]
    .filter((file) => contentOf(join(fresh, file)) !== contentOf(join(committed, file)))
    .map((file) => ({ file: `${GENERATED}/${file}`, message: 'is not what proto/ generates; run `npm run generate`' }));
}

function contentOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

async function generate(root: string): Promise<CheckOutcome> {
  const { ok, output } = await runCommand(root, 'buf', ['generate'], join(root, FOLDER));
  return ok ? { kind: 'passed' } : { kind: 'failed', output };
}
