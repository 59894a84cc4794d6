import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { makeFixture } from '../testing/fixture.ts';
import { runCommand } from './command.ts';

function run(root: string, script: string) {
  writeFileSync(join(root, 'tool.sh'), script);
  return runCommand(root, 'sh', ['tool.sh']);
}

test('a tool that crashes is run once more, and what it says then counts', async (t) => {
  const root = makeFixture(t);
  const { ok, output } = await run(root, 'if [ -e crashed ]; then echo fine; else touch crashed; kill -SEGV $$; fi');
  assert.deepEqual([ok, output], [true, 'fine']);
});

test('a tool that crashes each time has failed', async (t) => {
  const { ok, output } = await run(makeFixture(t), 'echo run >> runs; cat runs; kill -SEGV $$');
  assert.deepEqual([ok, output], [false, 'run\nrun\n\nsh was ended by SIGSEGV']);
});

test('a tool that finds something is not asked again', async (t) => {
  const { ok, output } = await run(makeFixture(t), 'echo run >> runs; cat runs; exit 1');
  assert.deepEqual([ok, output], [false, 'run']);
});
