import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { CommandError, STATUS } from './exit.ts';

/** Programs of their own that `xylem <name>` starts, for convenience in a checkout. */
export const SERVICES: ReadonlyMap<string, string> = new Map([
  ['registry', 'start a registry'],
  ['root-proxy', 'start a root proxy'],
  ['leaf-agent', 'start a leaf agent'],
]);

/** Becomes the service: its own main() reads the arguments, traps the signals and ends the process. */
export async function startService(name: string, args: readonly string[]): Promise<void> {
  const main = new URL(`../../${name}/src/main.ts`, import.meta.url);
  const path = fileURLToPath(main);
  if (!existsSync(path)) {
    throw new CommandError(STATUS.failed, `${name} is not part of this installation; run its own image or main.mjs`);
  }
  process.argv = [process.execPath, path, ...args];
  await import(main.href);
}
