/** `npm run check [-- <name>... [--fix]]`: the checks of `npm run verify` by themselves, all or the named ones. */
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';

import { CHECKS } from './checks/catalogue.ts';
import { runChecks } from './checks/run-checks.ts';

const root = dirname(import.meta.dirname);
const { values, positionals } = parseArgs({ options: { fix: { type: 'boolean' } }, allowPositionals: true });
const unknown = positionals.find((name) => !CHECKS.some((check) => check.name === name));
if (unknown !== undefined) {
  console.error(`There is no check "${unknown}". These are:`);
  for (const { name, purpose } of CHECKS) console.error(`  ${name.padEnd(16)}${purpose}`);
  process.exit(2);
}
const chosen = CHECKS.filter((check) => positionals.length === 0 || positionals.includes(check.name));
if (values.fix === true) {
  for (const check of chosen) await check.fix?.(root);
}
const failed = await runChecks(root, chosen);
if (failed.length > 0) console.error(`\nFailed: ${failed.join(', ')}`);
process.exit(failed.length > 0 ? 1 : 0);
