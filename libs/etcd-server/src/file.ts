import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, linkSync, mkdirSync, openSync, realpathSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { StatementSync } from 'node:sqlite';
import { isKey, replayState } from '@xylem/store';
import type { Instant, Key, StoreChange, StoreEvent, StoreState } from '@xylem/store';
import type { StoreFile } from './engine.ts';
import {
  APPLICATION_ID,
  SCHEMA_VERSION,
  StoreFileError,
  checkStoreFile,
  damaged,
  exists,
  explain,
} from './file-check.ts';

const FILE_NAME = 'store.db';

/** `writes` holds what etcd keeps in its own database: one row for each write that history or a key still needs. */
const SCHEMA = `
  CREATE TABLE writes (
    revision INTEGER NOT NULL,
    sub INTEGER NOT NULL,
    key BLOB NOT NULL,
    value BLOB,
    create_revision INTEGER NOT NULL,
    version INTEGER NOT NULL,
    lease INTEGER NOT NULL,
    PRIMARY KEY (revision, sub)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE leases (id INTEGER PRIMARY KEY, ttl_seconds INTEGER NOT NULL) STRICT;
  CREATE TABLE facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
`;

const COMPACT_REVISION = 'compact_revision';

/** Files that this process has open: closing a second descriptor of one, as any look at it does, would give up its lock (fcntl(2)). */
const openPaths = new Set<string>();

/** Who the store says it is; made with the file, the same for its life. */
export interface StoreIdentity {
  readonly clusterId: bigint;
  readonly memberId: bigint;
}

export interface OpenedStore {
  readonly file: SqliteFile;
  readonly state: StoreState;
  readonly identity: StoreIdentity;
}

/**
 * Opens the store in `dataDir`, making folder and file when there are none. It belongs to this process until it is closed or the
 * process ends. Throws a StoreFileError, having changed nothing, when the file cannot be used.
 */
export function openStoreFile(dataDir: string, now: Instant): OpenedStore {
  let path = join(resolve(dataDir), FILE_NAME);
  try {
    mkdirSync(dataDir, { recursive: true, mode: 0o700 });
    path = join(realpathSync(dataDir), FILE_NAME);
    if (openPaths.has(path)) {
      throw new StoreFileError(`${path} is in use by this process already; give another data directory`);
    }
    if (!exists(path)) create(path);
    checkStoreFile(path);
    return load(path, now);
  } catch (error) {
    throw explain(path, error);
  }
}

/** A new identity: positive, as other tools print them. */
export function newIdentity(): StoreIdentity {
  const id = (): bigint => randomBytes(8).readBigUInt64BE() >> 1n;
  return { clusterId: id(), memberId: id() };
}

/** Made aside and then given its name, so that a file of that name is always whole; whoever comes second uses the first one's. */
function create(path: string): void {
  const draft = `${path}.${randomBytes(6).toString('hex')}.new`;
  closeSync(openSync(draft, 'wx', 0o600));
  try {
    fillDraft(draft);
    linkSync(draft, path);
  } catch (error) {
    if (!exists(path)) throw error;
  } finally {
    rmSync(draft, { force: true });
  }
  syncFolder(dirname(path));
}

function fillDraft(draft: string): void {
  const database = new DatabaseSync(draft);
  try {
    const { clusterId, memberId } = newIdentity();
    database.exec('PRAGMA synchronous = FULL; BEGIN IMMEDIATE');
    database.exec(`PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}`);
    database.exec(SCHEMA);
    const insert = database.prepare('INSERT INTO facts (name, value) VALUES (?, ?)');
    insert.run('cluster_id', clusterId);
    insert.run('member_id', memberId);
    insert.run(COMPACT_REVISION, -1n);
    database.exec('COMMIT; PRAGMA journal_mode = WAL');
  } finally {
    database.close();
  }
}

function syncFolder(folder: string): void {
  const descriptor = openSync(folder, 'r');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function load(path: string, now: Instant): OpenedStore {
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    // Held for this connection's life: the kernel ends it with the process, so no stale lock can remain.
    database.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE; ROLLBACK');
    const facts = readFacts(database);
    const compactRevision = facts.get(COMPACT_REVISION);
    const clusterId = facts.get('cluster_id');
    const memberId = facts.get('member_id');
    if (compactRevision === undefined || clusterId === undefined || memberId === undefined) {
      throw damaged(path, 'a fact is missing');
    }
    const record = { writes: readWrites(path, database), leases: readLeases(database), compactRevision };
    const state = replayState(record, now);
    database.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL');
    return { file: new SqliteFile(path, database), state, identity: { clusterId, memberId } };
  } catch (error) {
    database.close();
    throw error;
  }
}

/** Commits to the database; the connection is its own lock. */
class SqliteFile implements StoreFile {
  readonly #path: string;
  readonly #database: DatabaseSync;
  readonly #insertWrite: StatementSync;
  readonly #deleteWrite: StatementSync;
  readonly #insertLease: StatementSync;
  readonly #deleteLease: StatementSync;
  readonly #setFact: StatementSync;

  constructor(path: string, database: DatabaseSync) {
    this.#path = path;
    this.#database = database;
    openPaths.add(path);
    // "OR REPLACE": a commit whose outcome was lost may be tried again.
    this.#insertWrite = database.prepare(
      'INSERT OR REPLACE INTO writes (revision, sub, key, value, create_revision, version, lease) VALUES (?, ?, ?, ?, ?, ?, ?)',
    );
    this.#deleteWrite = database.prepare('DELETE FROM writes WHERE revision = ? AND sub = ?');
    this.#insertLease = database.prepare('INSERT OR REPLACE INTO leases (id, ttl_seconds) VALUES (?, ?)');
    this.#deleteLease = database.prepare('DELETE FROM leases WHERE id = ?');
    this.#setFact = database.prepare('UPDATE facts SET value = ? WHERE name = ?');
  }

  /** Bytes of the database, without its log. */
  get sizeBytes(): number {
    const row = this.#database
      .prepare('SELECT page_count * page_size AS bytes FROM pragma_page_count, pragma_page_size')
      .get();
    return Number(row?.['bytes'] ?? 0);
  }

  commit(changes: readonly StoreChange[]): void {
    if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
    this.#database.exec('BEGIN IMMEDIATE');
    try {
      for (const change of changes) this.#write(change);
      this.#database.exec('COMMIT');
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('ROLLBACK');
      throw error;
    }
  }

  close(): void {
    this.#database.close();
    openPaths.delete(this.#path);
  }

  #write(change: StoreChange): void {
    switch (change.type) {
      case 'committed':
        for (const event of change.events) this.#writeEvent(event);
        return;
      case 'leaseGranted':
        this.#insertLease.run(change.id, change.ttlSeconds);
        return;
      case 'leaseEnded':
        this.#deleteLease.run(change.id);
        return;
      case 'compacted':
        for (const { modRevision, sub } of change.dropped) this.#deleteWrite.run(modRevision, sub);
        this.#setFact.run(change.revision, COMPACT_REVISION);
    }
  }

  #writeEvent(event: StoreEvent): void {
    const { key, modRevision, sub } = event.kv;
    const bytes = Buffer.from(key, 'latin1');
    if (event.type === 'delete') {
      this.#insertWrite.run(modRevision, sub, bytes, null, 0, 0, 0);
      return;
    }
    const { value, createRevision, version, lease } = event.kv;
    this.#insertWrite.run(modRevision, sub, bytes, value, createRevision, version, lease);
  }
}

function readFacts(database: DatabaseSync): ReadonlyMap<string, bigint> {
  const statement = database.prepare('SELECT name, value FROM facts');
  statement.setReadBigInts(true);
  const facts = new Map<string, bigint>();
  for (const { name, value } of statement.iterate()) {
    if (typeof name === 'string' && typeof value === 'bigint') facts.set(name, value);
  }
  return facts;
}

function readLeases(database: DatabaseSync): readonly { id: bigint; ttlSeconds: bigint }[] {
  const statement = database.prepare('SELECT id, ttl_seconds AS ttlSeconds FROM leases ORDER BY id');
  statement.setReadBigInts(true);
  const leases = [];
  for (const { id, ttlSeconds } of statement.iterate()) {
    if (typeof id === 'bigint' && typeof ttlSeconds === 'bigint') leases.push({ id, ttlSeconds });
  }
  return leases;
}

function* readWrites(path: string, database: DatabaseSync): Iterable<StoreEvent> {
  const statement = database.prepare(
    'SELECT revision, sub, key, value, create_revision, version, lease FROM writes ORDER BY revision, sub',
  );
  statement.setReadBigInts(true);
  for (const row of statement.iterate()) {
    const { revision: modRevision, key: bytes, value, create_revision: createRevision, version, lease } = row;
    const sub = Number(row['sub']);
    if (typeof modRevision !== 'bigint' || !(bytes instanceof Uint8Array))
      throw damaged(path, 'a write has no revision or key');
    const key = storedKey(path, bytes);
    if (value === null) {
      yield { type: 'delete', kv: { key, modRevision, sub } };
      continue;
    }
    const isPut = value instanceof Uint8Array && typeof createRevision === 'bigint' && typeof version === 'bigint';
    if (!isPut || typeof lease !== 'bigint') throw damaged(path, `revision ${modRevision} is incomplete`);
    yield { type: 'put', kv: { key, value, createRevision, modRevision, sub, version, lease } };
  }
}

function storedKey(path: string, bytes: Uint8Array): Key {
  const key = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
  if (!isKey(key) || key === '') throw damaged(path, 'a key is empty');
  return key;
}
