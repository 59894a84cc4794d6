/**
 * Runs one of this repository's programs on a Node that can run it: `node tools/launcher.mjs <program> [args...]`.
 *
 * Plain JavaScript that runs on Node >= 18 with nothing installed. It fetches Node 24 into a cache folder where the one at
 * hand is older, installs the dependencies where they are missing or stale, and then runs the program as its only child.
 * Everything it does beyond that is said on stderr, so that the program's stdout stays the program's.
 */
import { existsSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { runChild } from './launcher/child.mjs';
import { ensureDependencies } from './launcher/dependencies.mjs';
import { CannotGoOn } from './launcher/install.mjs';
import { ensureNode } from './launcher/node-runtime.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** @param {readonly string[]} argv program, relative to the repository's root, and its arguments */
async function main(argv) {
  const [program, ...args] = argv;
  if (program === undefined) throw new CannotGoOn('Usage: node tools/launcher.mjs <program> [args...]');
  const node = await ensureNode(say);
  const env = { ...process.env, PATH: [...node.binFolders, process.env['PATH'] ?? ''].join(delimiter) };
  await ensureDependencies(root, env, node.npm, say);
  const file = join(root, program);
  if (!existsSync(file)) throw new CannotGoOn(`There is no program ${program} in ${root}.`);
  return runChild(node.executable, [file, ...args], env);
}

/** @param {string} sentence */
function say(sentence) {
  process.stderr.write(`xylem: ${sentence}\n`);
}

main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (error) => {
    say(error instanceof CannotGoOn ? error.message : `Failed unexpectedly: ${error?.stack ?? error}`);
    process.exit(1);
  },
);
