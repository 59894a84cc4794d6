/** `npm run verify`, which CI runs: every check, then every test; all failures are reported, and the tests' summary closes. */
import { dirname } from 'node:path';

import { CHECKS } from './checks/catalogue.ts';
import { runChecks } from './checks/run-checks.ts';
import { countsLine, isSuccess, runTests } from './testing/run-tests.ts';

const root = dirname(import.meta.dirname);
const failedChecks = await runChecks(root, CHECKS);
const outcome = await runTests(root, []);
if (outcome.problem !== undefined) console.error(outcome.problem);
console.log(
  failedChecks.length === 0
    ? '\nEvery check passed.'
    : `\nChecks that failed, shown at the top: ${failedChecks.join(', ')}`,
);
console.log(countsLine(outcome.counts));
process.exit(failedChecks.length === 0 && isSuccess(outcome) ? 0 : 1);
