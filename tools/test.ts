/** `npm test [-- <part of a path>...]`: every test of the repository, or the matching files, with one closing summary. */
import { dirname } from 'node:path';

import { runTests } from './testing/run-tests.ts';
import { isSuccess, summaryLines } from './testing/summary.ts';

const patterns = process.argv.slice(2);
const flag = patterns.find((pattern) => pattern.startsWith('-'));
if (flag !== undefined) {
  console.error(`Unknown option ${flag}. Usage: npm test [-- <part of a test file's path>...]`);
  process.exit(2);
}
const outcome = await runTests(dirname(import.meta.dirname), patterns);
console.log(`\n${summaryLines(outcome).join('\n')}`);
process.exit(isSuccess(outcome) ? 0 : 1);
