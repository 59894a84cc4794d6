/**
 * `npm run bench [-- <name> [options]]`: runs libs|apps/<project>/bench/<name>.ts, which prints one JSON object per line on
 * stdout and nothing else. Everything said here goes to stderr. Without a name, lists the benches.
 */
import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

const root = dirname(import.meta.dirname);
const benches = globSync('{libs,apps}/*/bench/*.ts', { cwd: root }).sort();
const [name, ...options] = process.argv.slice(2);

/** `throughput`, or `demo/throughput` where two projects have one of that name. */
function matches(file: string): boolean {
  const project = file.split('/')[1];
  return [basename(file, '.ts'), `${project}/${basename(file, '.ts')}`].includes(name ?? '');
}

function list(heading: string): void {
  console.error(heading);
  for (const file of benches) console.error(`  ${file.split('/')[1]}/${basename(file, '.ts')}`);
}

const [file, ...others] = benches.filter(matches);
if (name === undefined) {
  list('Usage: npm run bench -- <name> [options]. These are there:');
} else if (file === undefined || others.length > 0) {
  list(
    file === undefined ? `There is no bench "${name}". These are there:` : `"${name}" is ambiguous. These are there:`,
  );
  process.exitCode = 2;
} else {
  const { status } = spawnSync(process.execPath, [join(root, file), ...options], { stdio: 'inherit' });
  process.exitCode = status ?? 1;
}
