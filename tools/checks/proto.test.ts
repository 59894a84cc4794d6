import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';

import { REPOSITORY } from '../testing/fixture.ts';
import { generated, protoBreaking, protoLint } from './proto.ts';

const FILE = 'proto/xylem/carry/v1/carry.proto';

/** A repository of its own with our contracts and their generated code. */
function makeContracts(t: TestContext): string {
  const root = mkdtempSync(join(tmpdir(), 'xylem-proto-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  for (const folder of ['proto', 'libs/wire'])
    cpSync(join(REPOSITORY, folder), join(root, folder), { recursive: true });
  symlinkSync(join(REPOSITORY, 'node_modules'), join(root, 'node_modules'));
  return root;
}

function commit(root: string, ...tags: readonly string[]): void {
  const git = (...args: readonly string[]): void => {
    execFileSync('git', ['-c', 'user.name=test', '-c', 'user.email=test@localhost', ...args], {
      cwd: root,
      stdio: 'ignore',
    });
  };
  git('init', '--initial-branch=main');
  git('add', 'proto');
  git('commit', '--message=contracts');
  for (const tag of tags) git('tag', tag);
}

function edit(root: string, file: string, change: (text: string) => string): void {
  const before = readFileSync(join(root, file), 'utf8');
  const after = change(before);
  assert.notEqual(after, before, `the edit did not change ${file}`);
  writeFileSync(join(root, file), after);
}

test('our contracts pass buf lint, and their code is what they generate', async (t) => {
  const root = makeContracts(t);
  assert.deepEqual(await protoLint.run(root), { kind: 'passed' });
  assert.deepEqual(await generated.run(root), { kind: 'passed' });
});

test('reports a message that is not named as buf asks', async (t) => {
  const root = makeContracts(t);
  edit(root, FILE, (text) => `${text}\nmessage lower_case {}\n`);
  const outcome = await protoLint.run(root);
  assert.equal(outcome.kind, 'failed');
  assert.match(outcome.output, /carry\.proto:\d+:\d+:Message name "lower_case" should be PascalCase/);
});

test('reports generated code that somebody edited', async (t) => {
  const root = makeContracts(t);
  edit(root, 'libs/wire/src/gen/xylem/carry/v1/carry.ts', (text) => `${text}// edited\n`);
  assert.deepEqual(await generated.run(root), {
    kind: 'failed',
    output: 'libs/wire/src/gen/xylem/carry/v1/carry.ts: is not what proto/ generates; run `npm run generate`',
  });
});

test('reports a field whose number changed since the release', async (t) => {
  const root = makeContracts(t);
  commit(root, 'v1.0.0');
  assert.equal((await protoBreaking.run(root)).kind, 'passed');
  edit(root, FILE, (text) => text.replace(/(^ +bytes \w+ = )\d+;/m, '$1999;'));
  const outcome = await protoBreaking.run(root);
  assert.equal(outcome.kind, 'failed');
  assert.match(outcome.output, /carry\.proto:\d+:\d+:/);
});

test('on main and before the first release there is nothing to compare with', async (t) => {
  const root = makeContracts(t);
  commit(root);
  const outcome = await protoBreaking.run(root);
  assert.equal(outcome.kind, 'passed');
  assert.match(outcome.note ?? '', /nothing to compare with/);
});
