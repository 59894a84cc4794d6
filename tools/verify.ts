/** `npm run verify`, which CI runs: every check, then every test; all failures are reported, and their summary closes. */
import { dirname } from 'node:path';

import { CHECKS } from './checks/catalogue.ts';
import { runChecks } from './checks/run-checks.ts';
import { runTests } from './testing/run-tests.ts';
import { isSuccess, summaryLines } from './testing/summary.ts';

const root = dirname(import.meta.dirname);
const failedChecks = await runChecks(root, CHECKS);
const outcome = await runTests(root, []);
console.log(`\n${summaryLines(outcome, failedChecks).join('\n')}`);
process.exit(failedChecks.length === 0 && isSuccess(outcome) ? 0 : 1);
