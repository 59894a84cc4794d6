import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';

const ROOT = new URL('../../../', import.meta.url);

test('every file that docs/SIMULATION.md names is there', () => {
  const text = readFileSync(new URL('docs/SIMULATION.md', ROOT), 'utf8');
  const files = [...text.matchAll(/`((?:apps|libs|docs)\/[\w./-]+)`/g)].flatMap(([, file]) => file ?? []);
  assert.ok(files.length > 15);
  assert.deepEqual(
    files.filter((file) => !existsSync(new URL(file, ROOT))),
    [],
  );
});
