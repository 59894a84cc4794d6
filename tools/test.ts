/** `npm test [-- <part of a path>...]`: every test of the repository, or the matching files, with one closing summary. */
import { dirname } from 'node:path';

import { countsLine, isSuccess, runTests } from './testing/run-tests.ts';

const patterns = process.argv.slice(2);
const flag = patterns.find((pattern) => pattern.startsWith('-'));
if (flag !== undefined) {
  console.error(`Unknown option ${flag}. Usage: npm test [-- <part of a test file's path>...]`);
  process.exit(2);
}
const outcome = await runTests(dirname(import.meta.dirname), patterns);
if (outcome.problem !== undefined) console.error(outcome.problem);
console.log(`\n${countsLine(outcome.counts)}`);
process.exit(isSuccess(outcome) ? 0 : 1);
