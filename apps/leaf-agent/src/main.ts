#!/usr/bin/env node
import { isCredentialProblem } from '@xylem/identity';
import { runService } from '@xylem/service';
import { start } from './compose.ts';
import { loadAgentConfig } from './config.ts';

/** Beyond the drain deadline: GOODBYE, and sending what telemetry is left. */
const STOP_MARGIN_MS = 10_000;

await runService({
  name: 'xylem-leaf-agent',
  load: () => loadAgentConfig({ argv: process.argv.slice(2), env: process.env }),
  start,
  isConfiguration: isCredentialProblem,
  stopDeadlineMs: (config) => config.drain.deadlineMs + STOP_MARGIN_MS,
});
