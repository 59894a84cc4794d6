#!/usr/bin/env node
import { logVerbosity, setLogVerbosity } from '@grpc/grpc-js';
import { isCredentialProblem } from '@xylem/identity';
import { runService } from '@xylem/service';
import { start } from './compose.ts';
import { loadRegistryConfig } from './config.ts';

/** Above the close limits of compose.ts and one store operation. */
const STOP_DEADLINE_MS = 8_000;

// grpc-js prints lines of its own, which are no JSON; every failure reaches us as an error too.
setLogVerbosity(logVerbosity.NONE);

await runService({
  name: 'xylem-registry',
  load: () => loadRegistryConfig({ argv: process.argv.slice(2), env: process.env }),
  start: (settings) => start(settings),
  isConfiguration: isCredentialProblem,
  stopDeadlineMs: () => STOP_DEADLINE_MS,
});
