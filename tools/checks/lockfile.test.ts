import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';

import { lockfile } from './lockfile.ts';

const CHECKSUM = 'sha512-AAAA';
const EMPTY = { name: 'fixture', version: '0.0.0' };

/** A repository of nothing but a package.json and a lockfile with these packages. */
function makeLocked(t: TestContext, packages: Readonly<Record<string, object>>, dependencies = {}): string {
  const root = mkdtempSync(join(tmpdir(), 'xylem-lockfile-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  writeFileSync(join(root, 'package.json'), JSON.stringify({ ...EMPTY, dependencies }));
  const lock = { ...EMPTY, lockfileVersion: 3, requires: true, packages: { '': EMPTY, ...packages } };
  writeFileSync(join(root, 'package-lock.json'), JSON.stringify(lock));
  return root;
}

test('accepts a lockfile whose packages are all there', async (t) => {
  assert.deepEqual(await lockfile.run(makeLocked(t, {})), { kind: 'passed' });
});

test("reports another platform's binary that is missing", async (t) => {
  const root = makeLocked(t, {
    'node_modules/tool': {
      version: '1.0.0',
      integrity: CHECKSUM,
      optionalDependencies: { 'tool-here': '1.0.0', 'tool-there': '1.0.0' },
    },
    'node_modules/tool-here': { version: '1.0.0', integrity: CHECKSUM, optional: true },
  });
  assert.deepEqual(await lockfile.run(root), {
    kind: 'failed',
    output: 'package-lock.json: node_modules/tool needs tool-there on another platform, and it is missing',
  });
});

test('reports a package that comes from elsewhere, and one without a checksum', async (t) => {
  const root = makeLocked(t, {
    'node_modules/a': { version: '1.0.0', integrity: CHECKSUM, resolved: 'https://registry.npmjs.org/a/-/a-1.0.0.tgz' },
    'node_modules/b': { version: '1.0.0', integrity: CHECKSUM, resolved: 'https://example.com/b-1.0.0.tgz' },
    'node_modules/c': { version: '1.0.0' },
  });
  assert.deepEqual(await lockfile.run(root), {
    kind: 'failed',
    output: [
      'package-lock.json: node_modules/b comes from https://example.com/b-1.0.0.tgz, not from the npm registry',
      'package-lock.json: node_modules/c has no checksum',
    ].join('\n'),
  });
});

test('reports a lockfile that does not fit the package.json files', async (t) => {
  const root = makeLocked(t, {}, { ws: '8.0.0' });
  const outcome = await lockfile.run(root);
  assert.equal(outcome.kind, 'failed');
  assert.match(outcome.output, /^package-lock\.json: does not fit the package\.json files; run `npm install`/);
});
