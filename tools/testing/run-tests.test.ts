import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';

import { makeFixture } from './fixture.ts';
import { planTests } from './test-files.ts';

const RUNNER = join(import.meta.dirname, 'run-tests.ts');

/** Runs a program in a process of its own, since one test runner cannot be inside another. */
function runProgram(root: string, program: string) {
  const file = join(root, 'program.mjs');
  writeFileSync(file, program);
  const env = { ...process.env, NODE_TEST_CONTEXT: undefined };
  const { status, stdout, stderr } = spawnSync(process.execPath, [file], { encoding: 'utf8', env });
  return { status, lines: stdout.trim().split('\n'), output: stdout + stderr };
}

function runIn(root: string, patterns: readonly string[] = []) {
  return runProgram(
    root,
    `import { runTests } from ${JSON.stringify(RUNNER)};
    import { isSuccess, summaryLines } from ${JSON.stringify(join(import.meta.dirname, 'summary.ts'))};
    const outcome = await runTests(${JSON.stringify(root)}, ${JSON.stringify(patterns)});
    console.log(summaryLines(outcome).join('\\n'));
    process.exit(isSuccess(outcome) ? 0 : 1);`,
  );
}

function makeTests(t: TestContext, files: Readonly<Record<string, string>>): string {
  const root = makeFixture(t, { 'libs/pool/src/size.test.ts': '' });
  for (const [file, body] of Object.entries(files)) {
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(
      join(root, file),
      `import { describe, test } from 'node:test';\nimport assert from 'node:assert/strict';\n${body}\n`,
    );
  }
  return root;
}

test('runs end-to-end tests after unit tests, and closes with one summary over both', (t) => {
  const root = makeTests(t, {
    'apps/agent/e2e/whole.test.ts': "test('goes end to end', () => {});",
    'libs/pool/src/size.test.ts': "test('has a size', () => {});\ntest('has no size', () => {});",
    'libs/link/src/link.test.ts': "test('links', (t) => t.skip('no cable'));",
  });
  const { status, lines, output } = runIn(root);
  assert.equal(status, 0, output);
  assert.equal(lines.at(-1), 'PASSED: 3 passed, 0 failed, 1 skipped');
  assert.deepEqual(
    lines.filter((line) => line.includes('tests ')),
    ['ℹ tests 4'],
  );
  assert.ok(output.indexOf('has no size') < output.indexOf('goes end to end'), output);
});

test('counts failures, names them at the end, and says so with its exit status', (t) => {
  const root = makeTests(t, {
    'libs/pool/src/size.test.ts':
      "describe('a pool', () => test('has a size', () => assert.equal(1, 2, 'too small')));",
    'libs/link/src/crash.test.ts': 'process.exit(3);',
  });
  const { status, lines, output } = runIn(root);
  assert.equal(status, 1);
  assert.match(output, /failing tests:[^]*has a size/);
  assert.deepEqual(lines.slice(lines.indexOf('Failed tests, shown in full above:')), [
    'Failed tests, shown in full above:',
    '  libs/link/src/crash.test.ts: test failed',
    '  libs/pool/src/size.test.ts: has a size: too small',
    'FAILED: 0 passed, 2 failed, 0 skipped',
  ]);
});

test('ends a file that leaves something open, and goes on with the others', (t) => {
  const root = makeTests(t, {
    'libs/pool/src/size.test.ts': "test('has a size', () => {});\nsetInterval(() => {}, 1_000);",
    'libs/link/src/link.test.ts': "test('links', () => {});",
  });
  const { lines } = runProgram(
    root,
    `import { runPhases } from ${JSON.stringify(join(import.meta.dirname, 'run-files.ts'))};
    const files = ['libs/pool/src/size.test.ts', 'libs/link/src/link.test.ts'];
    const options = { root: ${JSON.stringify(root)}, testTimeoutMs: 10_000, signal: new AbortController().signal };
    options.onFile = ({ file, failures }) => console.log(file + ' failed ' + failures.length);
    for await (const event of runPhases([{ name: 'unit', files, concurrency: 1, fileDeadlineMs: 5_000 }], options)) {
      if (event.type === 'test:pass') console.log('pass ' + event.data.name);
      if (event.type === 'test:fail') console.log('fail ' + event.data.details.error.message);
    }`,
  );
  assert.deepEqual(lines, [
    'libs/pool/src/size.test.ts failed 1',
    'pass has a size',
    'fail Still running after 5 s: a test hangs, or something was left open.',
    'libs/link/src/link.test.ts failed 0',
    'pass links',
  ]);
});

test('says so when no file matches', (t) => {
  const { status, output } = runIn(makeTests(t, {}), ['nothing-like-it']);
  assert.equal(status, 1);
  assert.match(output, /^No test file has "nothing-like-it" in its path\.$/m);
});

test('takes any part of a path as a pattern', (t) => {
  const root = makeTests(t, { 'apps/agent/e2e/whole.test.ts': '', 'libs/link/src/link.test.ts': '' });
  const filesFor = (...patterns: readonly string[]) => planTests(root, patterns, 2).map((phase) => phase.files);
  assert.deepEqual(filesFor('libs/link', 'whole'), [['libs/link/src/link.test.ts'], ['apps/agent/e2e/whole.test.ts']]);
  assert.deepEqual(filesFor('libs/'), [['libs/link/src/link.test.ts', 'libs/pool/src/size.test.ts'], []]);
});
