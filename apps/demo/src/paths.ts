import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The checkout that this app is part of. */
export const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url));

/** main.ts of another app. */
export function appMain(app: string): string {
  return join(REPOSITORY, 'apps', app, 'src', 'main.ts');
}

/** The executable of the CLI, which brings a newer Node where that is needed. */
export const XYLEM_BIN = join(REPOSITORY, 'apps', 'cli', 'bin', 'xylem.js');

/** A program of this app. */
export function ownProgram(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}
