#!/usr/bin/env node
// Plain JavaScript that runs on any Node >= 18: an older one hands over to the launcher, which brings a newer one.
import module from 'node:module';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const OLDEST_MAJOR = 24;

if (Number.parseInt(process.versions.node, 10) >= OLDEST_MAJOR) {
  // Halves the time to start, which every ssh through a ProxyCommand waits for. Not in the shared /tmp: it holds code.
  module.enableCompileCache(join(homedir(), '.cache', 'xylem', 'compile'));
  await import('../src/main.ts');
} else {
  const launcher = new URL('../../../tools/launcher.mjs', import.meta.url);
  process.argv = [process.execPath, fileURLToPath(launcher), 'apps/cli/src/main.ts', ...process.argv.slice(2)];
  await import(launcher.href);
}
