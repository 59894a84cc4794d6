import { spawn } from 'node:child_process';

/** Something the person has to put right; its message is the one sentence they are shown. */
export class CannotGoOn extends Error {}

/**
 * How npm is called.
 * @typedef {{ readonly command: string, readonly prefix: readonly string[] }} Npm
 */

const COMMON_FLAGS = ['--no-audit', '--no-fund', '--no-progress', '--loglevel=error', '--no-update-notifier'];
/** About 20 s of trying in all, instead of more than a minute. */
const RETRY_FLAGS = ['--fetch-retries=3', '--fetch-retry-mintimeout=1000', '--fetch-retry-maxtimeout=5000'];
const UNREACHABLE = /\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ENETUNREACH|EHOSTUNREACH|ETIMEDOUT|ENOTCACHED)\b/;

/** After a lockfile that does not fit, npm explains its own command at length. */
const USAGE = /^npm error Clean install a project$[^]*(?=^npm error A complete log)/m;

/**
 * The npm that started us, else the one in PATH.
 * @returns {Npm}
 */
export function npmAtHand() {
  const started = process.env['npm_execpath'];
  return started !== undefined && /npm-cli\.c?js$/.test(started)
    ? { command: process.execPath, prefix: [started] }
    : { command: 'npm', prefix: [] };
}

/**
 * Runs npm to its end, showing nothing while it succeeds.
 * @param {Npm} npm
 * @param {readonly string[]} args
 * @param {{ readonly cwd: string, readonly env: NodeJS.ProcessEnv, readonly purpose: string }} options `purpose` completes "cannot ..."
 * @returns {Promise<void>} rejects with CannotGoOn
 */
export async function runNpm(npm, args, { cwd, env, purpose }) {
  const { code, output } = await collect(npm, [...args, ...COMMON_FLAGS, ...RETRY_FLAGS], cwd, env);
  if (code === 0) return;
  const unreachable = UNREACHABLE.exec(output);
  if (unreachable) {
    throw new CannotGoOn(
      `Cannot ${purpose}: npm does not reach its registry (${unreachable[1]}); connect to the network, ` +
        'or set "registry" or "https-proxy" with `npm config set`, and start again.',
    );
  }
  process.stderr.write(output.replace(USAGE, ''));
  throw new CannotGoOn(`Cannot ${purpose}: \`npm ${args.join(' ')}\` failed as shown above (exit status ${code}).`);
}

/**
 * @param {Npm} npm
 * @param {readonly string[]} args
 * @param {string} cwd
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<{ code: number | null, output: string }>}
 */
function collect(npm, args, cwd, env) {
  return new Promise((resolve, reject) => {
    const child = spawn(npm.command, [...npm.prefix, ...args], { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (/** @type {string} */ text) => {
        output = (output + text).slice(-16_384);
      });
    }
    child.once('error', () =>
      reject(new CannotGoOn('Cannot find npm; install it (on Debian: `apt-get install npm`) and start again.')),
    );
    child.once('close', (code) => resolve({ code, output }));
  });
}
