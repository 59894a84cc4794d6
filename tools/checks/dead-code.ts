import type { Check } from './check.ts';
import { commandOutcome } from './command.ts';

/** Nothing is exported, declared or left lying that nobody uses; knip.json says what counts as used. */
export const deadCode: Check = {
  name: 'dead-code',
  purpose: 'every file, export and dependency is used',
  run: (root) => commandOutcome(root, 'knip', ['--no-config-hints', '--no-progress']),
};
