import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { CommandError, STATUS } from './exit.ts';

/** The text of a file that the command line names; `-` is standard input. Throws a CommandError that names it. */
export function readTextFile(file: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(file === '-' ? 0 : file));
  } catch (error) {
    throw new CommandError(STATUS.usage, unreadable(file, error), { cause: error });
  }
}

/** Throws a CommandError that names the first of the files that cannot be read. */
export function assertReadable(files: readonly string[]): void {
  for (const file of files) {
    try {
      const descriptor = openSync(file, 'r');
      try {
        readSync(descriptor, Buffer.alloc(1));
      } finally {
        closeSync(descriptor);
      }
    } catch (error) {
      throw new CommandError(STATUS.usage, unreadable(file, error), { cause: error });
    }
  }
}

/** Why a file cannot be read, one line that names it. */
function unreadable(file: string, error: unknown): string {
  const name = file === '-' ? 'standard input' : file;
  return `${name} cannot be read: ${reasonOf(error)}`;
}

function reasonOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  switch (code) {
    case 'ENOENT':
      return 'no such file';
    case 'ENOTDIR':
      return 'a part of the path is not a folder';
    case 'EISDIR':
      return 'it is a folder';
    case 'EACCES':
    case 'EPERM':
      return 'permission denied';
    case 'ERR_ENCODING_INVALID_ENCODED_DATA':
      return 'it is not UTF-8 text';
    default:
      return error instanceof Error ? error.message : String(error);
  }
}
