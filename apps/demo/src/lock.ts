import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makePrivateDirectory } from '@xylem/identity';
import { OperatingError } from '@xylem/service';

/**
 * One demo per folder: a second one would replace the certificates of the first. Returns the way to release the folder.
 * The lock of a demo that was killed is taken over.
 */
export function lockDirectory(directory: string): () => void {
  makePrivateDirectory(directory);
  const path = join(directory, 'demo.pid');
  const owner = readOwner(path);
  if (owner !== undefined && isAlive(owner)) {
    throw new OperatingError(
      `${directory} is in use by the demo with process id ${owner}; end that one, or give --dir another folder`,
    );
  }
  writeFileSync(path, `${process.pid}\n`, { mode: 0o600 });
  return () => rmSync(path, { force: true });
}

function readOwner(path: string): number | undefined {
  try {
    const pid = Number.parseInt(readFileSync(path, 'utf8'), 10);
    return Number.isSafeInteger(pid) && pid > 0 && pid !== process.pid ? pid : undefined;
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
