import assert from 'node:assert/strict';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';

import { makeFixture, manifest, REPOSITORY } from '../testing/fixture.ts';
import { deadCode } from './dead-code.ts';

async function reportOn(t: TestContext, changes: Readonly<Record<string, string>>): Promise<string> {
  const root = makeFixture(t, changes);
  copyFileSync(join(REPOSITORY, 'knip.json'), join(root, 'knip.json'));
  const outcome = await deadCode.run(root);
  return outcome.kind === 'failed' ? outcome.output : '';
}

test('reports a file, an export and a dependency that nobody uses', async (t) => {
  const output = await reportOn(t, {
    'libs/pool/src/forgotten.ts': 'export const forgotten = 1;\n',
    'libs/pool/src/size.ts': 'export const size = 1;\nexport const weight = 2;\n',
    'libs/other/package.json': manifest('other', 'adapter', ['ws']),
  });
  assert.match(output, /Unused files \(1\)\s+libs\/pool\/src\/forgotten\.ts/);
  assert.match(output, /Unused exports \(1\)\s+weight\s+libs\/pool\/src\/size\.ts/);
  assert.match(output, /Unused dependencies \(\d\)[^]*ws\s+libs\/other\/package\.json/);
});

test('counts what only tests use', async (t) => {
  const output = await reportOn(t, {
    'libs/pool/src/size.ts': 'export const size = 1;\nexport const weight = 2;\n',
    'libs/pool/src/size.test.ts': "import { weight } from './size.ts';\nweight.toFixed();\n",
  });
  assert.doesNotMatch(output, /weight/);
});
