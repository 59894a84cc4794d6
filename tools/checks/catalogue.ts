import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { boundaries } from './boundaries.ts';
import type { Check } from './check.ts';
import { commandOutcome } from './command.ts';
import { deadCode } from './dead-code.ts';
import { lockfile } from './lockfile.ts';
import { generated, protoBreaking, protoLint } from './proto.ts';
import { tidy } from './tidy.ts';
import { typecheck } from './typecheck.ts';

const format: Check = {
  name: 'format',
  purpose: 'oxfmt would change nothing',
  run: (root) => commandOutcome(root, 'oxfmt', ['--list-different']),
  fix: (root) => commandOutcome(root, 'oxfmt', []),
};

const lint: Check = {
  name: 'lint',
  purpose: 'oxlint with type information finds nothing',
  run: (root) =>
    commandOutcome(root, 'oxlint', [
      '--type-aware',
      '--report-unused-disable-directives',
      '--deny-warnings',
      '-f',
      'unix',
    ]),
  fix: (root) => commandOutcome(root, 'oxlint', ['--type-aware', '--fix']),
};

/** About 20 s, and three minutes, on one core. */
const LOCAL_SEEDS = 200;
const CI_SEEDS = 2_000;

const simulation: Check = {
  name: 'simulation',
  purpose: 'simulated deployments keep every promise through their faults',
  run: async (root) => {
    const seeds = process.env['CI'] === undefined ? LOCAL_SEEDS : CI_SEEDS;
    const program = join(root, 'apps/sim/src/main.ts');
    if (!existsSync(program)) return { kind: 'passed', note: 'there is no simulator yet' };
    return commandOutcome(root, process.execPath, [program, '--seeds', String(seeds)]);
  },
};

/** Everything that `npm run verify` checks before it runs the tests, quick ones first. */
export const CHECKS: readonly Check[] = [
  format,
  lint,
  tidy,
  boundaries,
  deadCode,
  protoLint,
  protoBreaking,
  generated,
  lockfile,
  typecheck,
  simulation,
];
