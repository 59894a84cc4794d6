import { existsSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { CannotGoOn, runNpm } from './install.mjs';

const LOCK_DEADLINE_MS = 15 * 60_000;
const LOCK_POLL_MS = 500;

/**
 * Makes node_modules what package-lock.json says.
 * @param {string} root the repository
 * @param {NodeJS.ProcessEnv} env
 * @param {import('./install.mjs').Npm} npm
 * @param {(sentence: string) => void} say
 * @returns {Promise<void>} rejects with CannotGoOn
 */
export async function ensureDependencies(root, env, npm, say) {
  if (isInstalled(root)) return;
  const release = await takeLock(root, say);
  try {
    if (isInstalled(root)) return;
    say(`Installing the dependencies of ${root} (npm ci).`);
    await runNpm(npm, ['ci', '--include=dev'], { cwd: root, env, purpose: 'install the dependencies' });
  } finally {
    release();
  }
}

/**
 * Does npm's own record of what it installed hold everything that the lockfile asks for? npm writes the record last, so an
 * install that was interrupted does not count. Packages for other platforms are optional and may be absent.
 * @param {string} root
 */
export function isInstalled(root) {
  const wanted = readPackages(join(root, 'package-lock.json'));
  const record = join(root, 'node_modules', '.package-lock.json');
  if (!existsSync(record)) return false;
  const installed = readPackages(record);
  return Object.entries(wanted).every(([path, entry]) => {
    const have = installed[path];
    if (path === '') return true;
    if (have === undefined) return entry.optional === true || entry.devOptional === true || entry.peer === true;
    return have.version === entry.version && have.integrity === entry.integrity;
  });
}

/**
 * @typedef {{ version?: string, integrity?: string, optional?: boolean, devOptional?: boolean, peer?: boolean }} LockEntry
 * @param {string} file
 * @returns {Record<string, LockEntry>}
 */
function readPackages(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).packages;
  } catch (error) {
    throw new CannotGoOn(`Cannot read ${file}: ${error instanceof Error ? error.message : String(error)}.`);
  }
}

/**
 * One install at a time in a checkout. The lock is a file with its owner's process id; a dead owner's lock is taken over.
 * @param {string} root
 * @param {(sentence: string) => void} say
 * @returns {Promise<() => void>} the way to release it
 */
async function takeLock(root, say) {
  mkdirSync(join(root, '.xylem'), { recursive: true });
  const file = join(root, '.xylem', 'install.lock');
  const deadline = Date.now() + LOCK_DEADLINE_MS;
  let waiting = false;
  for (;;) {
    if (createLock(file)) return () => rmSync(file, { force: true });
    const owner = readIfThere(file);
    if (!isAlive(Number.parseInt(owner, 10))) {
      if (readIfThere(file) === owner) rmSync(file, { force: true });
      continue;
    }
    if (Date.now() > deadline) {
      throw new CannotGoOn(`Process ${owner} has been installing for too long; end it and start again.`);
    }
    if (!waiting) say(`Process ${owner} is installing the dependencies already; waiting for it.`);
    waiting = true;
    await delay(LOCK_POLL_MS);
  }
}

/**
 * Linking a finished file makes the lock appear with its content; creating it in place would show it empty for a moment.
 * @param {string} file
 * @returns {boolean} false where somebody holds it
 */
function createLock(file) {
  const draft = `${file}.${process.pid}`;
  writeFileSync(draft, String(process.pid));
  try {
    linkSync(draft, file);
    return true;
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error;
    return false;
  } finally {
    rmSync(draft, { force: true });
  }
}

/** @param {string} file */
function readIfThere(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** @param {number} pid */
function isAlive(pid) {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return isErrno(error, 'EPERM');
  }
}

/**
 * @param {unknown} error
 * @param {string} code
 */
function isErrno(error, code) {
  return error instanceof Error && 'code' in error && error.code === code;
}
