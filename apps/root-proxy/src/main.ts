import { isCredentialProblem } from '@xylem/identity';
import { runService } from '@xylem/service';
import { start } from './compose.ts';
import { readConfig } from './config.ts';

/** For leaving the registry and for last messages, beyond the drain deadline. */
const STOP_MARGIN_MS = 6_000;

await runService({
  name: 'xylem-root-proxy',
  load: () => readConfig({ argv: process.argv.slice(2), env: process.env }),
  start: (config) => start(config),
  isConfiguration: isCredentialProblem,
  stopDeadlineMs: (config) => config.drain.deadlineMs + STOP_MARGIN_MS,
});
