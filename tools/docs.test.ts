import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';

const ROOT = join(import.meta.dirname, '..');

test('every test that GUARANTEES.md names exists', () => {
  const text = readFileSync(join(ROOT, 'docs/GUARANTEES.md'), 'utf8');
  const named = [...text.matchAll(/((?:libs|apps|tools)\/[\w./-]+\.(?:ts|txt))(?:: "([^"]+)")?/g)];
  assert.ok(named.length > 20);
  for (const [, file = '', title] of named) {
    assert.ok(existsSync(join(ROOT, file)), `${file} does not exist`);
    if (title !== undefined)
      assert.ok(readFileSync(join(ROOT, file), 'utf8').includes(title), `${file} has no test "${title}"`);
  }
});

test('every link between pages of the documentation leads somewhere', () => {
  for (const page of ['README.md', ...globSync('docs/*.md', { cwd: ROOT })]) {
    const text = readFileSync(join(ROOT, page), 'utf8');
    for (const [, target = ''] of text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      assert.ok(existsSync(join(ROOT, dirname(page), target)), `${page} links to ${target}, which does not exist`);
    }
  }
});

test('every kind of audit line is explained, and no other', () => {
  const kinds = readFileSync(join(ROOT, 'libs/audit/src/types.ts'), 'utf8').matchAll(/^ {2}\| '([a-z.-]+)'/gm);
  const page = readFileSync(join(ROOT, 'docs/OPERATIONS.md'), 'utf8');
  const table = /\n## Audit\n(.*?)\n## /s.exec(page)?.[1] ?? '';
  const explained = [...table.matchAll(/^\| (`[^|]*`) \|/gm)].flatMap(([, cell = '']) =>
    [...cell.matchAll(/`([^`]+)`/g)].map(([, kind]) => kind),
  );
  const named = [...kinds].map(([, kind]) => kind);
  assert.equal(explained.length, named.length);
  assert.deepEqual(new Set(explained), new Set(named));
});
