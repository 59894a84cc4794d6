import {
  chmodSync,
  closeSync,
  fstatSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { randomUUID } from 'node:crypto';

const DIRECTORY_MODE = 0o700;
const KEY_MODE = 0o600;
const CERTIFICATE_MODE = 0o644;
const GROUP_OR_WORLD = 0o077;
const GROUP_READ = 0o040;

/** A key or certificate file cannot be used. The message names the file and the remedy and holds no secret. */
export class KeyFileError extends Error {
  readonly path: string;

  constructor(path: string, message: string, options?: ErrorOptions) {
    super(`${path}: ${message}`, options);
    this.name = 'KeyFileError';
    this.path = path;
  }
}

/** Reads a PEM file that holds no secret. */
export function readCertificateFile(path: string): string {
  return read(path);
}

/**
 * Reads a private key and refuses one that others can read. As PostgreSQL does, a key owned by root may be readable by
 * the group when this process is not root: that is how orchestrators mount secrets.
 */
export function readKeyFile(path: string): string {
  return readSecretText(path, 'private key');
}

/** As `readKeyFile`, for any text that only this user may read. `what` is for the message. */
export function readSecretText(path: string, what: string): string {
  const { text, mode, uid } = readWithOwner(path);
  if (process.platform === 'win32') return text;
  const ownUid = process.getuid?.() ?? 0;
  const allowed = uid === 0 && ownUid !== 0 ? GROUP_READ : 0;
  if ((mode & GROUP_OR_WORLD & ~allowed) !== 0) {
    const octal = (mode & 0o777).toString(8).padStart(4, '0');
    throw new KeyFileError(path, `${what} is accessible to other users (mode ${octal}). Run: chmod 600 ${path}`);
  }
  return text;
}

/** Throws a KeyFileError that says what to do when others than this user and root may enter a directory. */
export function assertPrivateDirectory(path: string): void {
  if (process.platform === 'win32') return;
  const { mode, uid } = statSync(path);
  assertOwner(path, uid);
  if ((mode & GROUP_OR_WORLD) === 0) return;
  const octal = (mode & 0o777).toString(8).padStart(4, '0');
  throw new KeyFileError(path, `is accessible to other users (mode ${octal}). Run: chmod 700 ${path}`);
}

/** Makes a directory that only this user can enter, or takes the one there is, unless it is another user's. Throws a KeyFileError. */
export function makePrivateDirectory(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: DIRECTORY_MODE });
    assertOwner(path, statSync(path).uid);
    chmodSync(path, DIRECTORY_MODE);
  } catch (error) {
    if (error instanceof KeyFileError) throw error;
    throw new KeyFileError(path, `cannot make a private directory: ${reasonOf(error)}`, { cause: error });
  }
}

/** Whoever owns a directory reads and replaces what is in it, whatever its mode. */
function assertOwner(path: string, uid: number): void {
  const own = process.getuid?.();
  if (own === undefined || uid === own || uid === 0) return;
  throw new KeyFileError(path, `belongs to another user (uid ${uid}). Run this as that user, or: chown ${own} ${path}`);
}

/** Writes a key with mode 0600, atomically: readers see the old or the new file, never a part. */
export function writeKeyFile(path: string, pem: string): void {
  write(path, pem, KEY_MODE);
}

/** Writes a certificate with mode 0644, atomically. */
export function writeCertificateFile(path: string, pem: string): void {
  write(path, pem, CERTIFICATE_MODE);
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new KeyFileError(path, `cannot be read: ${reasonOf(error)}`, { cause: error });
  }
}

/** Of one and the same file, also when another process replaces or removes it meanwhile. */
function readWithOwner(path: string): { readonly text: string; readonly mode: number; readonly uid: number } {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, 'r');
    const { mode, uid } = fstatSync(descriptor);
    return { text: readFileSync(descriptor, 'utf8'), mode, uid };
  } catch (error) {
    throw new KeyFileError(path, `cannot be read: ${reasonOf(error)}`, { cause: error });
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

/**
 * Writes a key with mode 0600 unless there is a file already, of another process that was first: false, and that one stays.
 */
export function createKeyFile(path: string, pem: string): boolean {
  return write(path, pem, KEY_MODE, (temporary) => {
    try {
      linkSync(temporary, path);
      return true;
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
      throw error;
    } finally {
      rmSync(temporary);
    }
  });
}

/** What was renamed and made in a directory survives a loss of power from here on. */
export function syncDirectory(path: string): void {
  const descriptor = openSync(path, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

/** On disk when this returns: a root that the store names must not be gone after a loss of power. */
function write(path: string, text: string, mode: number, publish = replacing(path)): boolean {
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    const descriptor = openSync(temporary, 'wx', mode);
    try {
      // All of it, or an error: a disk that is nearly full takes a part.
      writeFileSync(descriptor, text);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    const published = publish(temporary);
    syncDirectory(dirname(path));
    return published;
  } catch (error) {
    discard(temporary);
    throw new KeyFileError(path, `cannot be written in ${dirname(path)}: ${reasonOf(error)}`, { cause: error });
  }
}

function replacing(path: string): (temporary: string) => boolean {
  return (temporary) => {
    renameSync(temporary, path);
    return true;
  };
}

function discard(temporary: string): void {
  try {
    rmSync(temporary, { force: true });
  } catch {
    // What went wrong before is what is told.
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error';
  const code = 'code' in error ? error.code : undefined;
  switch (code) {
    case 'ENOENT':
      return 'no such file or directory';
    case 'EACCES':
    case 'EPERM':
      return 'permission denied';
    case 'ENOTDIR':
      return 'a part of the path is not a directory';
    case 'EISDIR':
      return 'it is a directory';
    case 'EEXIST':
      return 'a file is in its place';
    case 'ENOSPC':
      return 'no space is left on the device';
    case 'EROFS':
      return 'the file system is read-only';
    default:
      return error.message;
  }
}
