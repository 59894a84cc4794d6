import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { outcomeOf, type Check, type CheckOutcome, type Problem } from './check.ts';
import { runCommand } from './command.ts';

const FILE = 'package-lock.json';
const REGISTRY_HOST = 'registry.npmjs.org';

/** The part of a lockfile's entry that is looked at. */
interface LockEntry {
  readonly resolved?: string;
  readonly integrity?: string;
  readonly link?: boolean;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

/** `npm ci` works from a fresh clone on every platform, and takes every package from the npm registry with its checksum. */
export const lockfile: Check = {
  name: 'lockfile',
  purpose: 'package-lock.json is complete for every platform and only names the npm registry',
  run: checkLockfile,
};

async function checkLockfile(root: string): Promise<CheckOutcome> {
  const text = readFileSync(join(root, FILE), 'utf8');
  const { packages } = JSON.parse(text) as { packages: Readonly<Record<string, LockEntry>> };
  const entries = Object.entries(packages);
  const outcome = outcomeOf([
    ...missingBinaries(packages),
    ...entries.flatMap(([path, entry]) => sourceProblem(path, entry)),
  ]);
  if (outcome.kind === 'failed') return outcome;
  const { ok, output } = await runCommand(root, 'npm', ['ci', '--dry-run', '--no-audit', '--no-fund']);
  if (ok && !/\bMissing:/.test(output)) return outcome;
  return {
    kind: 'failed',
    output: `${FILE}: does not fit the package.json files; run \`npm install\` and commit it\n${output}`,
  };
}

/** Packages bring their binaries as one optional package per platform; npm leaves some out under conditions of its own. */
function missingBinaries(packages: Readonly<Record<string, LockEntry>>): readonly Problem[] {
  return Object.entries(packages).flatMap(([path, entry]) =>
    Object.keys(entry.optionalDependencies ?? {})
      .filter((name) => !isLocked(packages, path, name))
      .map((name) => ({ file: FILE, message: `${path} needs ${name} on another platform, and it is missing` })),
  );
}

/** Is `name` found from `path` the way Node looks it up: in its own node_modules, then in each one above? */
function isLocked(packages: Readonly<Record<string, LockEntry>>, path: string, name: string): boolean {
  for (let at = path; ; at = at.slice(0, Math.max(0, at.lastIndexOf('/')))) {
    if (packages[at === '' ? `node_modules/${name}` : `${at}/node_modules/${name}`] !== undefined) return true;
    if (at === '') return false;
  }
}

function sourceProblem(path: string, { resolved, integrity, link }: LockEntry): readonly Problem[] {
  if (link === true || !path.includes('node_modules/')) return [];
  if (resolved !== undefined && !isFromRegistry(resolved)) {
    return [{ file: FILE, message: `${path} comes from ${resolved}, not from the npm registry` }];
  }
  return integrity === undefined ? [{ file: FILE, message: `${path} has no checksum` }] : [];
}

function isFromRegistry(resolved: string): boolean {
  return URL.canParse(resolved) && new URL(resolved).host === REGISTRY_HOST;
}
