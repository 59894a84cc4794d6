import assert from 'node:assert/strict';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';

import { makeFixture, REPOSITORY } from '../testing/fixture.ts';
import { CHECKS } from './catalogue.ts';

/** What the named check, with this repository's settings, says about a workspace with one more file. */
async function reportOn(t: TestContext, name: string, file: string, content: string): Promise<string> {
  const root = makeFixture(t, {
    'tsconfig.json': JSON.stringify({ compilerOptions: { strict: true, types: [] }, include: ['libs'] }),
    [file]: content,
  });
  for (const settings of ['.oxlintrc.json', '.oxfmtrc.json'])
    copyFileSync(join(REPOSITORY, settings), join(root, settings));
  const outcome = await CHECKS.find((check) => check.name === name)?.run(root);
  return outcome?.kind === 'failed' ? outcome.output : '';
}

const FORBIDDEN: readonly (readonly [rule: string, content: string])[] = [
  ['no-floating-promises', 'async function work() {}\nexport function start() {\n  work();\n}\n'],
  ['no-explicit-any', 'export const size = (value: any) => value as number;\n'],
  ['no-non-null-assertion', 'export const first = (list: number[]) => list[0]!.toFixed();\n'],
  [
    'switch-exhaustiveness-check',
    "export function of(kind: 'a' | 'b') {\n  switch (kind) {\n    case 'a':\n      return 1;\n  }\n}\n",
  ],
  ['consistent-type-imports', "import { Size } from './size.ts';\nexport const size: Size = 1;\n"],
  ['max-lines-per-function', `export function long() {\n${'  Math.abs(1);\n'.repeat(71)}}\n`],
];

for (const [rule, content] of FORBIDDEN) {
  test(`lint reports ${rule}`, async (t) => {
    const output = await reportOn(t, 'lint', 'libs/link/src/dial.ts', content);
    assert.match(output, new RegExp(`^libs/link/src/dial\\.ts:\\d+:\\d+: .*${rule}`, 'm'));
  });
}

test('format reports a file that oxfmt would change', async (t) => {
  const output = await reportOn(t, 'format', 'libs/link/src/dial.ts', 'export const dial = "double";\n');
  assert.match(output, /^libs\/link\/src\/dial\.ts$/m);
});

test('every check has a name of its own', () => {
  const names = CHECKS.map((check) => check.name);
  assert.deepEqual([...new Set(names)], names);
});
