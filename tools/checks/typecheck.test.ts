import assert from 'node:assert/strict';
import { test } from 'node:test';

import { makeFixture, manifest } from '../testing/fixture.ts';
import { typecheck } from './typecheck.ts';

const PURE = JSON.stringify({ compilerOptions: { types: [], lib: ['ES2022'] }, include: ['src'] });
const WITH_NODE = JSON.stringify({ include: ['src'] });
const CONFIGS = {
  'libs/pool/tsconfig.json': PURE,
  'libs/link/tsconfig.json': WITH_NODE,
  'libs/other/tsconfig.json': WITH_NODE,
  'apps/agent/tsconfig.json': WITH_NODE,
};

test('accepts a workspace whose files are all compiled', async (t) => {
  assert.equal((await typecheck.run(makeFixture(t, CONFIGS))).kind, 'passed');
});

test('reports a file that no tsconfig includes', async (t) => {
  const root = makeFixture(t, { ...CONFIGS, 'apps/agent/e2e/whole.test.ts': 'export {};\n' });
  assert.deepEqual(await typecheck.run(root), {
    kind: 'failed',
    output: 'apps/agent/e2e/whole.test.ts: no tsconfig of apps/agent includes it',
  });
});

test('reports a core that compiles with an environment', async (t) => {
  const root = makeFixture(t, { ...CONFIGS, 'libs/pool/tsconfig.json': WITH_NODE });
  assert.deepEqual(await typecheck.run(root), {
    kind: 'failed',
    output: 'libs/pool/tsconfig.json: a core compiles with "types": [] and "lib": ["ES2022"]',
  });
});

test('reports an error of the compiler once, under its path in the repository', async (t) => {
  const scripts = { typecheck: 'tsc -p tsconfig.json --noEmit --allowImportingTsExtensions --pretty false' };
  const withScript = (text: string): string => JSON.stringify({ ...(JSON.parse(text) as object), scripts });
  const root = makeFixture(t, {
    ...CONFIGS,
    'libs/pool/package.json': withScript(manifest('pool', 'core')),
    'libs/pool/src/size.ts': "export const size: number = 'one';\n",
    'libs/pool/src/size.test.ts': '',
  });
  const outcome = await typecheck.run(root);
  assert.equal(outcome.kind, 'failed');
  assert.match(outcome.output, /^libs\/pool\/src\/size\.ts:1: error TS2322: /);
});
