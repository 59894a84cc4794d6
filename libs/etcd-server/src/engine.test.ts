import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';
import { StoreError, key } from '@xylem/store';
import type { Outcome, PutResult, Store, StoreChange } from '@xylem/store';
import { Engine, StorageError } from './engine.ts';
import type { StoreFile } from './engine.ts';

/** A file that can be told to fail. */
class TestFile implements StoreFile {
  readonly commits: (readonly StoreChange[])[] = [];
  failing = false;

  commit(changes: readonly StoreChange[]): void {
    if (this.failing) throw new Error('disk full');
    this.commits.push([...changes]);
  }

  close(): void {
    this.commits.length = 0;
  }
}

function engineWith(file: StoreFile | undefined): Engine {
  return new Engine({ config: {}, file, state: undefined, clock: { now: () => performance.now() } });
}

function put(engine: Engine, name: string): Promise<Outcome<PutResult> | StorageError> {
  return new Promise((resolve) => {
    engine.execute((store, now) => store.put({ key: key(name) }, now), resolve);
  });
}

function revisionOf(result: Outcome<PutResult> | StorageError): bigint {
  assert.ok(!(result instanceof StoreError) && !(result instanceof StorageError));
  return result.revision;
}

test('what one turn of the event loop brings is one commit, and is answered after it', async () => {
  const file = new TestFile();
  const engine = engineWith(file);
  const answers = ['a', 'b', 'c'].map(async (name) => {
    const revision = revisionOf(await put(engine, name));
    assert.equal(file.commits.length, 1, 'answered before it was written down');
    return revision;
  });
  assert.equal(file.commits.length, 0);
  assert.deepEqual(await Promise.all(answers), [2n, 3n, 4n]);
  assert.deepEqual(
    file.commits.map((changes) => changes.length),
    [3],
  );
  engine.close();
});

test('a read waits for the write that it saw', async () => {
  const file = new TestFile();
  const engine = engineWith(file);
  const written = put(engine, 'a');
  const read = new Promise((resolve) => {
    engine.execute((store: Store) => store.range({ key: key('a') }), resolve);
  });
  assert.equal(await Promise.race([read.then(() => file.commits.length), wait(1_000, -1)]), 1);
  await written;
  engine.close();
});

test('while nothing can be written every operation fails; afterwards memory and file are as one', async () => {
  const file = new TestFile();
  const engine = engineWith(file);
  await put(engine, 'before');
  file.failing = true;
  assert.ok((await put(engine, 'unknown')) instanceof StorageError);
  assert.ok((await put(engine, 'refused')) instanceof StorageError);
  file.failing = false;
  const deadline = performance.now() + 5_000;
  let after = await put(engine, 'after');
  while (after instanceof StorageError && performance.now() < deadline) {
    await wait(20);
    after = await put(engine, 'after');
  }
  assert.equal(revisionOf(after), 4n);
  const written = file.commits.flat().map((change) => (change.type === 'committed' ? change.revision : 0n));
  assert.deepEqual(written, [2n, 3n, 4n]);
  engine.close();
});

test('watch events come after their revision was written down', async () => {
  const file = new TestFile();
  const engine = engineWith(file);
  const id = engine.store.createWatch({ key: key('a') });
  assert.ok(!(id instanceof StoreError));
  const told = new Promise<number>((resolve) => engine.follow(id, () => resolve(file.commits.length)));
  await put(engine, 'a');
  assert.equal(await told, 1);
  engine.close();
});

test('a closed engine has written down all that it was asked for', async () => {
  const file = new TestFile();
  const commits: number[] = [];
  const engine = engineWith({ commit: (changes) => void commits.push(changes.length), close: () => file.close() });
  const answer = put(engine, 'a');
  engine.close();
  assert.deepEqual(commits, [1]);
  await answer;
});
