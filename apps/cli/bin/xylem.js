#!/usr/bin/env node
// Plain JavaScript that runs on any Node >= 18: an older one hands over to the launcher, which brings a newer one.
import { fileURLToPath } from 'node:url';

const OLDEST_MAJOR = 24;

if (Number.parseInt(process.versions.node, 10) >= OLDEST_MAJOR) {
  await import('../src/main.ts');
} else {
  const launcher = new URL('../../../tools/launcher.mjs', import.meta.url);
  process.argv = [process.execPath, fileURLToPath(launcher), 'apps/cli/src/main.ts', ...process.argv.slice(2)];
  await import(launcher.href);
}
