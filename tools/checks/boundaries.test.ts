import assert from 'node:assert/strict';
import { test } from 'node:test';

import { manifest, makeFixture } from '../testing/fixture.ts';
import { boundaries } from './boundaries.ts';

/** One way to break the planes, and the line that has to report it. */
interface Breach {
  readonly what: string;
  readonly changes: Readonly<Record<string, string>>;
  readonly reported: RegExp;
}

const BREACHES: readonly Breach[] = [
  {
    what: 'a core that imports an npm package',
    changes: { 'libs/pool/src/size.ts': "import fc from 'fast-check';\nexport const size = fc;\n" },
    reported: /^libs\/pool\/src\/size\.ts:1: a core imports no npm package, but this imports fast-check$/m,
  },
  {
    what: 'a core that imports a module of Node, even for a type',
    changes: { 'libs/pool/src/size.ts': "export type Size = import('node:net').Socket;\n" },
    reported: /^libs\/pool\/src\/size\.ts:1: a core performs no I\/O, but this imports node:net$/m,
  },
  {
    what: 'a core that declares an adapter',
    changes: { 'libs/pool/package.json': manifest('pool', 'core', ['@fixture/link']) },
    reported: /^libs\/pool\/package\.json: a core may not depend on @fixture\/link, an adapter$/m,
  },
  {
    what: 'an adapter that imports another adapter',
    changes: {
      'libs/other/package.json': manifest('other', 'adapter', ['@fixture/link']),
      'libs/other/src/index.ts': "export { link } from '@fixture/link';\n",
    },
    reported: /^libs\/other\/package\.json: an adapter may not depend on @fixture\/link, an adapter$/m,
  },
  {
    what: 'an import of a library that is not declared',
    changes: { 'libs/other/src/index.ts': "export { size } from '@fixture/pool';\n" },
    reported: /^libs\/other\/src\/index\.ts:1: @fixture\/pool is not declared in libs\/other\/package\.json$/m,
  },
  {
    what: 'an import of an npm package that only tests may use',
    changes: { 'libs/other/src/index.ts': "import fc from 'fast-check';\nexport const other = fc;\n" },
    reported: /^libs\/other\/src\/index\.ts:1: fast-check is not declared in libs\/other\/package\.json$/m,
  },
  {
    what: 'a relative import that leaves its package',
    changes: { 'libs/link/src/index.ts': "export { size } from '../../pool/src/size.ts';\n" },
    reported: /^libs\/link\/src\/index\.ts:1: \.\.\/\.\.\/pool\/src\/size\.ts leaves the package/m,
  },
  {
    what: 'an import from inside another package',
    changes: { 'libs/link/src/index.ts': "export { size } from '@fixture/pool/src/size.ts';\n" },
    reported: /^libs\/link\/src\/index\.ts:1: @fixture\/pool\/src\/size\.ts reaches inside @fixture\/pool/m,
  },
  {
    what: 'files that load each other in a circle',
    changes: {
      'libs/pool/src/size.ts': "export { twice } from './twice.ts';\nexport const size = 1;\n",
      'libs/pool/src/twice.ts': "import { size } from './size.ts';\nexport const twice = () => 2 * size;\n",
    },
    reported:
      /^libs\/pool\/src\/size\.ts: files load each other in a circle: libs\/pool\/src\/size\.ts, libs\/pool\/src\/twice\.ts$/m,
  },
  {
    what: 'a project without a kind',
    changes: { 'libs/other/package.json': manifest('other', 'helper') },
    reported: /^libs\/other\/package\.json: nx\.tags needs exactly one of "kind:core"/m,
  },
  {
    what: 'a library that the docs do not list',
    changes: { 'docs/ARCHITECTURE.md': '## Planes\n| core | pool |\n| adapter | link |\n| app | agent |\n' },
    reported: /^docs\/ARCHITECTURE\.md: the table "Planes" has to list libs\/other as adapter$/m,
  },
];

test('a workspace whose imports keep to the planes passes', async (t) => {
  assert.deepEqual(await boundaries.run(makeFixture(t)), { kind: 'passed' });
});

for (const { what, changes, reported } of BREACHES) {
  test(`reports ${what}`, async (t) => {
    const outcome = await boundaries.run(makeFixture(t, changes));
    assert.equal(outcome.kind, 'failed');
    assert.match(outcome.output, reported);
  });
}

test('allows type-only imports both ways between two files', async (t) => {
  const root = makeFixture(t, {
    'libs/pool/src/size.ts':
      "import type { Twice } from './twice.ts';\nexport const size = 1;\nexport type Size = Twice;\n",
    'libs/pool/src/twice.ts': "import { size } from './size.ts';\nexport type Twice = typeof size;\n",
  });
  assert.deepEqual(await boundaries.run(root), { kind: 'passed' });
});

test('fails where nx only has part of the project graph', async (t) => {
  const root = makeFixture(t, {
    'nx.json': JSON.stringify({ neverConnectToCloud: true, useDaemonProcess: false, plugins: ['./broken-plugin.cjs'] }),
    'broken-plugin.cjs':
      "exports.name = 'broken'; exports.createDependencies = () => { throw new Error('broken'); };\n",
  });
  const outcome = await boundaries.run(root);
  assert.equal(outcome.kind, 'failed');
  assert.match(outcome.output, /^nx has no whole project graph:/);
});

test('fails where nx misses a project', async (t) => {
  const root = makeFixture(t, { '.nxignore': 'libs/other\n' });
  const outcome = await boundaries.run(root);
  assert.equal(outcome.kind, 'failed');
  assert.match(outcome.output, /^libs\/other\/package\.json: is missing in `nx graph`$/m);
});
