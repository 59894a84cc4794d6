import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdir, open, readFile, readdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, test } from 'node:test';
import { EtcdClient, bytes, must } from './testing/client.ts';
import { StoreFileError } from './file-check.ts';
import { startEtcdServer } from './server.ts';
import type { EtcdServer } from './server.ts';
import { temporaryFolder } from './testing/folder.ts';
import { startServerProcess } from './testing/process.ts';

const EVERY_KEY = { key: bytes('\0'), rangeEnd: bytes('\0') };

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let path: string;

beforeEach(async () => {
  folder = await temporaryFolder();
  path = join(folder.path, 'store.db');
});

afterEach(() => folder.remove());

function start(): Promise<EtcdServer> {
  return startEtcdServer({ dataDir: folder.path, listen: '127.0.0.1:0' });
}

/** Starts a server for one visit. */
async function visit<T>(action: (client: EtcdClient) => Promise<T>): Promise<T> {
  const server = await start();
  const client = new EtcdClient(server.address);
  try {
    return await action(client);
  } finally {
    client.close();
    await server.close();
  }
}

/** A store of many pages. */
async function fill(): Promise<void> {
  await visit(async (client) => {
    for (let index = 0; index < 40; index += 1) {
      must(await client.put({ key: bytes(`k${index}`), value: Buffer.alloc(2_000, index) }));
    }
  });
}

async function contents(): Promise<unknown> {
  const names = (await readdir(folder.path)).sort();
  const digest = createHash('sha256')
    .update(await readFile(path))
    .digest('hex');
  return { names, digest };
}

/** Starting fails in one line that names the file and says what to do, and leaves everything as it was. */
async function refuses(reason: RegExp): Promise<void> {
  const before = await contents();
  await assert.rejects(start(), (error: unknown) => {
    assert.ok(error instanceof StoreFileError);
    assert.match(error.message, reason);
    assert.ok(error.message.startsWith(path) && !error.message.includes('\n'), error.message);
    return true;
  });
  assert.deepEqual(await contents(), before);
}

test('keys, history, leases, compaction and identity outlive the process', async () => {
  const before = await visit(async (client) => {
    const { ID } = must(await client.leaseGrant(100n));
    must(await client.leaseGrant(100n, -5n));
    must(await client.put({ key: bytes('a'), value: bytes('1') }));
    const old = must(await client.put({ key: bytes('\xff\0'), value: Buffer.alloc(100_000, 7), lease: ID }));
    must(await client.put({ key: bytes('a'), value: bytes('2') }));
    must(await client.deleteRange({ key: bytes('a') }));
    const revision = old.header?.revision ?? 0n;
    must(await client.compact(revision));
    return { ID, revision, kvs: must(await client.range(EVERY_KEY)), status: must(await client.status()) };
  });
  await visit(async (client) => {
    assert.deepEqual(must(await client.range(EVERY_KEY)), before.kvs);
    assert.equal(must(await client.status()).leader, before.status.leader);
    const past = must(await client.range({ key: bytes('a'), revision: before.revision + 1n }));
    assert.equal(past.kvs[0]?.value.toString(), '2');
    assert.equal('ok' in (await client.range({ ...EVERY_KEY, revision: before.revision - 1n })), false);
    const { keys, TTL } = must(await client.leaseTimeToLive(before.ID, true));
    assert.deepEqual([keys.map((name) => name.toString('latin1')), TTL >= 98n], [['\xff\0'], true]);
    assert.deepEqual(
      must(await client.leases())
        .leases.map(({ ID }) => ID)
        .includes(-5n),
      true,
    );
    must(await client.leaseRevoke(before.ID));
    assert.equal(must(await client.range(EVERY_KEY)).count, 0n);
  });
});

test('a watch resumes after a restart where it was', async () => {
  const first = await visit(async (client) => must(await client.put({ key: bytes('a'), value: bytes('1') })));
  await visit(async (client) => must(await client.deleteRange({ key: bytes('a') })));
  await visit(async (client) => {
    const watch = client.watchStream();
    const startRevision = (first.header?.revision ?? 0n) + 1n;
    const { watchId } = await watch.create({ key: bytes('a'), startRevision, prevKv: true });
    const [event] = (await watch.nextOf(watchId)).events;
    assert.deepEqual([event?.type, event?.prevKv?.value.toString()], [1, '1']);
    watch.cancel();
  });
});

test('a file that is not a store is refused', async () => {
  await writeFile(path, 'notes about something else\n'.repeat(100));
  await refuses(/is not a Xylem store; move it away/);
});

test('an empty file is refused', async () => {
  await writeFile(path, '');
  await refuses(/is not a Xylem store/);
});

test("another program's SQLite database is refused", async () => {
  const database = new DatabaseSync(path);
  database.exec('CREATE TABLE photos (name TEXT)');
  database.close();
  await refuses(/is not a Xylem store/);
});

test('a store of a newer version is refused', async () => {
  await fill();
  const database = new DatabaseSync(path);
  database.exec('PRAGMA user_version = 7');
  database.close();
  await refuses(/has schema 7, this program knows 1; start the newer Xylem/);
});

test('a damaged page is found before anything is served', async () => {
  await fill();
  const file = await open(path, 'r+');
  const { size } = await file.stat();
  assert.ok(size > 5 * 4_096);
  await file.write(Buffer.alloc(2_048, 0xab), 0, 2_048, 2 * 4_096);
  await file.close();
  await refuses(/is damaged \(.*\); restore it from a backup/);
});

test('a file that was cut off is refused', async () => {
  await fill();
  await truncate(path, 3 * 4_096);
  await refuses(/is damaged/);
});

test('a damaged store that was killed while it wrote is refused, its log left in place', async () => {
  await fill();
  const other = await startServerProcess(folder.path);
  const client = new EtcdClient(other.address);
  must(await client.put({ key: bytes('in the log') }));
  await other.kill();
  client.close();
  const file = await open(path, 'r+');
  await file.write(Buffer.alloc(2_048, 0xab), 0, 2_048, 2 * 4_096);
  await file.close();
  await refuses(/is damaged/);
  assert.deepEqual((await readdir(folder.path)).sort(), ['store.db', 'store.db-wal']);
});

test('a lost revision is found, though every page is sound', async () => {
  await fill();
  const database = new DatabaseSync(path);
  database.exec('DELETE FROM writes WHERE revision = 20');
  database.close();
  await refuses(/is damaged \(revision 20 is missing/);
});

test('a store in use by another process is refused, and left to it', async () => {
  const other = await startServerProcess(folder.path);
  const client = new EtcdClient(other.address);
  must(await client.put({ key: bytes('a') }));
  await assert.rejects(start(), /store\.db is in use by another process; stop it/);
  must(await client.put({ key: bytes('b') }));
  client.close();
  await other.kill();
  assert.equal(await visit(async (again) => must(await again.range(EVERY_KEY)).count), 2n);
});

test('a store in use by this process is refused, and stays locked for others', async () => {
  const server = await start();
  await assert.rejects(start(), /in use by this process already/);
  await assert.rejects(startServerProcess(folder.path), /in use by another process/);
  await server.close();
});

test('a folder that cannot be one is named', async () => {
  await writeFile(path, 'x');
  await assert.rejects(
    startEtcdServer({ dataDir: path, listen: '127.0.0.1:0' }),
    /cannot be used .*; give another data/,
  );
  await mkdir(join(folder.path, 'sub', 'store.db'), { recursive: true });
  await assert.rejects(startEtcdServer({ dataDir: join(folder.path, 'sub'), listen: '127.0.0.1:0' }), /cannot be used/);
});

test('a taken port is named, and the file is free again', async () => {
  const other = await startEtcdServer({ dataDir: undefined, listen: '127.0.0.1:0' });
  const listen = other.address;
  await assert.rejects(startEtcdServer({ dataDir: folder.path, listen }), {
    message: `store.listen ${listen}: cannot listen there (another process uses the port); give another address`,
  });
  await other.close();
  await visit(async (client) => must(await client.status()));
});

test('the store is not served to a network without TLS', async () => {
  await assert.rejects(startEtcdServer({ dataDir: undefined, listen: '0.0.0.0:0' }), /without TLS .* loopback only/);
});
