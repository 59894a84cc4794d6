import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PLANTED_BUGS, catchBug } from './planted.ts';
import { shrink } from './shrink.ts';

/** The quick ones; `npm run sim -- --planted` runs them all. */
const QUICK: readonly (readonly [name: string, promise: string])[] = [
  ['plain grow-only set: whatever was mentioned is sought for ever', 'L1'],
  ['backoff without a ceiling', 'L6'],
  ['dials while idle', 'L2'],
  ['a tunnel that closes does not free its slot', 'S4'],
  ['a claim is granted twice', 'S1'],
  ['claims hang on no lease', 'S3'],
  ['a drain closes before it announces', 'drain'],
];

test('planted bugs are caught by the checker that is meant for them', () => {
  for (const [name, promise] of QUICK) {
    const bug = PLANTED_BUGS.find((candidate) => candidate.name === name);
    assert.ok(bug !== undefined, name);
    assert.equal(catchBug(bug, 1, 40).promise, promise, name);
  }
});

test('no two planted bugs share a name', () => {
  assert.equal(new Set(PLANTED_BUGS.map((bug) => bug.name)).size, PLANTED_BUGS.length);
});

test('a failure is shrunk to the faults that cause it', () => {
  const bug = PLANTED_BUGS.find(({ name }) => name === 'a drain closes before it announces');
  assert.ok(bug !== undefined);
  const { seed } = catchBug(bug, 1, 40);
  const regression = shrink(seed, bug.overrides);
  assert.deepEqual(
    regression?.faults.map((fault) => fault.kind),
    ['proxy-drain'],
  );
});

test('there is nothing to shrink where no promise is broken', () => {
  assert.equal(shrink(1), undefined);
});
