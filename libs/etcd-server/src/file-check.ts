import { closeSync, openSync, readSync, rmSync, statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { pathToFileURL } from 'node:url';

/** A store file that must not be used as it is; the message is one line and names file and remedy. The file was not changed. */
export class StoreFileError extends Error {}

/** "xylm": SQLite's application id, so that nobody's other database is taken for a store. */
export const APPLICATION_ID = 0x78796c6d;
export const SCHEMA_VERSION = 1;

const SQLITE_MAGIC = 'SQLite format 3\0';
const USER_VERSION_OFFSET = 60;
const APPLICATION_ID_OFFSET = 68;
const HEADER_BYTES = 100;

const SQLITE_BUSY = 5;
const SQLITE_CORRUPT = 11;
const SQLITE_CANTOPEN = 14;
const SQLITE_NOTADB = 26;

/** Throws a StoreFileError, having changed nothing, unless the file is a sound store of a version that is known. */
export function checkStoreFile(path: string): void {
  checkHeader(path);
  checkPages(path);
}

/** Reads the header without SQLite, which would already write beside a file that is not ours. */
function checkHeader(path: string): void {
  const header = Buffer.alloc(HEADER_BYTES);
  const descriptor = openSync(path, 'r');
  try {
    readSync(descriptor, header, 0, HEADER_BYTES, 0);
  } finally {
    closeSync(descriptor);
  }
  const isSqlite = header.toString('latin1', 0, SQLITE_MAGIC.length) === SQLITE_MAGIC;
  if (!isSqlite || header.readUInt32BE(APPLICATION_ID_OFFSET) !== APPLICATION_ID) {
    throw new StoreFileError(`${path} is not a Xylem store; move it away, or give another data directory`);
  }
  const version = header.readUInt32BE(USER_VERSION_OFFSET);
  if (version > SCHEMA_VERSION) {
    throw new StoreFileError(
      `${path} has schema ${version}, this program knows ${SCHEMA_VERSION}; start the newer Xylem that wrote it`,
    );
  }
}

/**
 * Reads through a connection that cannot write. Without a log the file is whole by itself, and "immutable" keeps SQLite from making
 * one. With a log, which a killed process leaves, SQLite makes an index of it that is of no use afterwards.
 */
function checkPages(path: string): void {
  const location = pathToFileURL(path);
  const index = `${path}-shm`;
  const hadIndex = exists(index);
  if (!exists(`${path}-wal`)) location.searchParams.set('immutable', '1');
  const database = new DatabaseSync(location, { readOnly: true });
  try {
    const result = database.prepare('PRAGMA quick_check(1)').get();
    if (result?.['quick_check'] !== 'ok') throw damaged(path, String(result?.['quick_check']));
  } finally {
    database.close();
    if (!hadIndex) rmSync(index, { force: true });
  }
}

export function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** A sound file whose contents make no store, or an unsound one. */
export function damaged(path: string, what: string): StoreFileError {
  const oneLine = what.replaceAll(/\s+/g, ' ').replace('*** in database main *** ', '');
  return new StoreFileError(
    `${path} is damaged (${oneLine}); restore it from a backup, or move it away to start empty`,
  );
}

/** The one-line error for whatever went wrong with the file. */
export function explain(path: string, error: unknown): StoreFileError {
  if (error instanceof StoreFileError) return error;
  if (error instanceof RangeError) return damaged(path, error.message);
  const { code, message } = describe(error);
  const cause = { cause: error };
  switch (code) {
    case SQLITE_BUSY:
      return new StoreFileError(`${path} is in use by another process; stop it, or give another data directory`, cause);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return damaged(path, message);
    case SQLITE_CANTOPEN:
    case 'EACCES':
    case 'EPERM':
      return new StoreFileError(
        `${path} cannot be opened for reading and writing; give this user the rights to it`,
        cause,
      );
    default:
      return new StoreFileError(
        `${path} cannot be used (${message}); give another data directory or repair this one`,
        cause,
      );
  }
}

/** SQLite's primary result code, or the system's error name. */
function describe(error: unknown): { readonly code: number | string | undefined; readonly message: string } {
  if (!(error instanceof Error)) return { code: undefined, message: String(error) };
  const message = error.message.split('\n', 1)[0] ?? '';
  if ('errcode' in error && typeof error.errcode === 'number') return { code: error.errcode & 0xff, message };
  if ('code' in error && typeof error.code === 'string') return { code: error.code, message };
  return { code: undefined, message };
}
