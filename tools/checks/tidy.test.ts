import assert from 'node:assert/strict';
import { test } from 'node:test';

import { makeFixture } from '../testing/fixture.ts';
import { tidy } from './tidy.ts';

interface Untidiness {
  readonly what: string;
  readonly file: string;
  readonly content: string;
  readonly reported: RegExp;
}

const lines = (count: number): string => 'export {};\n'.repeat(count);

const UNTIDY: readonly Untidiness[] = [
  {
    what: 'a file that is too long',
    file: 'libs/pool/src/long.ts',
    content: lines(501),
    reported: /has 501 lines, 500 is the end/,
  },
  {
    what: 'a test that is too long',
    file: 'libs/pool/src/long.test.ts',
    content: lines(901),
    reported: /has 901 lines, 900/,
  },
  {
    what: 'a main() that does more than start',
    file: 'apps/agent/src/main.ts',
    content: lines(61),
    reported: /has 61 lines, 60/,
  },
  {
    what: 'a name that is not kebab-case',
    file: 'libs/pool/src/leafPool.ts',
    content: lines(1),
    reported: /leafPool\.ts is not kebab-case/,
  },
  {
    what: 'a name that says nothing',
    file: 'libs/link/src/dial-utils.ts',
    content: lines(1),
    reported: /"utils" says nothing/,
  },
  {
    what: 'the environment read outside config.ts',
    file: 'libs/link/src/dial.ts',
    content: "export const home = process.env['HOME'];\n",
    reported: /:1: process\.env is read in config\.ts/,
  },
  {
    what: 'a clock in a core',
    file: 'libs/pool/src/now.ts',
    content: 'export const now = () => Date.now();\n',
    reported: /:1: a core does not use Date/,
  },
  {
    what: 'chance in a core',
    file: 'libs/pool/src/draw.ts',
    content: 'export const draw = () => Math.random();\n',
    reported: /:1: a core takes its randomness/,
  },
  {
    what: 'async code in a core',
    file: 'libs/pool/src/later.ts',
    content: 'export async function later() {}\n',
    reported: /:1: a core has no async code/,
  },
  {
    what: 'a promise in a core, even as a type',
    file: 'libs/pool/src/later.ts',
    content: 'export type Later = Promise<void>;\n',
    reported: /:1: a core does not use Promise/,
  },
  {
    what: "an order that depends on the machine's language in a core",
    file: 'libs/pool/src/order.ts',
    content: 'export const order = (a: string, b: string) => a.localeCompare(b);\n',
    reported: /:1: a core does not use localeCompare/,
  },
  {
    what: 'what is to be done later',
    file: 'docs/PLAN.md',
    content: '# Plan\n\nTO' + 'DO: write it\n',
    reported: /:3: TODO: finish it/,
  },
  {
    what: 'a test that leaves the others out',
    file: 'libs/pool/src/size.test.ts',
    content: "import { test } from 'node:test';\ntest.only('one', () => {});\n",
    reported: /:2: test\.only leaves tests out/,
  },
  {
    what: 'a test that is always skipped',
    file: 'libs/pool/src/size.test.ts',
    content: "import { test } from 'node:test';\ntest('one', { skip: 'flaky' }, () => {});\n",
    reported: /:2: skip: 'flaky' leaves tests out/,
  },
  {
    what: 'a path of one machine',
    file: 'docs/RUN.md',
    content: 'cd /home/' + 'ada/xylem\n',
    reported: /:1: \/home\/ada\/ is a path of one machine/,
  },
  {
    what: 'an inner barrel',
    file: 'libs/link/src/dial/all.ts',
    content: "export * from './dial.ts';\n",
    reported: /only re-exports; only src\/index\.ts does that/,
  },
  {
    what: 'a cast by way of unknown',
    file: 'libs/link/src/dial.ts',
    content: 'export const dial = (1 as unknown as string);\n',
    reported: /:1: a cast by way of unknown/,
  },
];

test('the sound workspace is tidy', async (t) => {
  assert.deepEqual(await tidy.run(makeFixture(t)), { kind: 'passed' });
});

for (const { what, file, content, reported } of UNTIDY) {
  test(`reports ${what}`, async (t) => {
    const outcome = await tidy.run(makeFixture(t, { [file]: content }));
    assert.equal(outcome.kind, 'failed');
    assert.equal(outcome.output.split('\n').length, 1, outcome.output);
    assert.ok(outcome.output.startsWith(file), outcome.output);
    assert.match(outcome.output, reported);
  });
}

test('reports a library without an index.ts', async (t) => {
  const outcome = await tidy.run(makeFixture(t, { 'libs/empty/package.json': '{ "name": "@fixture/empty" }' }));
  assert.deepEqual(outcome, { kind: 'failed', output: 'libs/empty/src/index.ts: every library has one' });
});

test('leaves test code in a core its clock, its promises and its environment', async (t) => {
  const impure =
    "export const world = async () => [Date.now(), process.env['HOME'], await Promise.resolve(Math.random())];\n";
  const root = makeFixture(t, { 'libs/pool/src/testing/world.ts': impure, 'libs/pool/src/world.test.ts': impure });
  assert.deepEqual(await tidy.run(root), { kind: 'passed' });
});

test('leaves a core properties that are named like globals', async (t) => {
  const named =
    'export interface View { readonly performance: number }\nexport const of = (view: View) => view.performance;\n';
  assert.deepEqual(await tidy.run(makeFixture(t, { 'libs/pool/src/view.ts': named })), { kind: 'passed' });
});
