import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';

export const REPOSITORY = dirname(dirname(import.meta.dirname));

/** Every plane once, in order: a small workspace that passes the checks, for a test to break in one place. */
const SOUND: Readonly<Record<string, string>> = {
  'package.json': JSON.stringify({
    name: 'fixture',
    workspaces: ['libs/*', 'apps/*'],
    devDependencies: { 'fast-check': '*' },
  }),
  '.gitignore': 'node_modules\n',
  'nx.json': JSON.stringify({ neverConnectToCloud: true, analytics: false, useDaemonProcess: false }),
  'docs/ARCHITECTURE.md': [
    '## Planes',
    '| kind | libs | may import |',
    '|---|---|---|',
    '| core | pool | nothing |',
    '| adapter | link, other | core |',
    '| app | agent | everything |',
    '',
  ].join('\n'),
  'libs/pool/package.json': manifest('pool', 'core'),
  'libs/pool/src/index.ts': "export { size } from './size.ts';\n",
  'libs/pool/src/size.ts': 'export const size = 1;\n',
  'libs/pool/src/size.test.ts': "import fc from 'fast-check';\nimport 'node:test';\nfc.assert;\n",
  'libs/link/package.json': manifest('link', 'adapter', ['@fixture/pool', 'ws']),
  'libs/link/src/index.ts':
    "import 'node:net';\nimport 'ws';\nexport { size as linkSize } from '@fixture/pool';\nexport const link = 1;\n",
  'libs/other/package.json': manifest('other', 'adapter'),
  'libs/other/src/index.ts': 'export const other = 1;\n',
  'apps/agent/package.json': manifest('agent', 'app', ['@fixture/link']),
  'apps/agent/src/main.ts': "import { link } from '@fixture/link';\nlink.toFixed();\n",
};

/** The package.json of a fixture's project. */
export function manifest(name: string, kind: string, dependencies: readonly string[] = []): string {
  return JSON.stringify({
    name: `@fixture/${name}`,
    version: '0.0.0',
    type: 'module',
    exports: { '.': './src/index.ts' },
    dependencies: Object.fromEntries(dependencies.map((dependency) => [dependency, '*'])),
    nx: { tags: [`kind:${kind}`] },
  });
}

/** Writes the sound workspace with `changes` on top into a folder that goes away with the test, and answers with its path. */
export function makeFixture(t: TestContext, changes: Readonly<Record<string, string>> = {}): string {
  const root = mkdtempSync(join(tmpdir(), 'xylem-fixture-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  for (const [file, content] of Object.entries({ ...SOUND, ...changes })) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), content);
  }
  symlinkSync(join(REPOSITORY, 'node_modules'), join(root, 'node_modules'));
  return root;
}
