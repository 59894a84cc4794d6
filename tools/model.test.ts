import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkModel } from './model.ts';

test('Spin finds no violation of the claim protocol in any reachable state', () => {
  const { states, errors } = checkModel();
  assert.equal(errors, 0);
  assert.ok(states > 1_000_000, `only ${String(states)} states: the model no longer explores what it should`);
});

test('Spin finds the stale claim once the member guard is removed', () => {
  assert.ok(checkModel('NO_MEMBER_GUARD').errors > 0);
});

test('Spin finds the claim deleted by a late release once the token guard is removed', () => {
  assert.ok(checkModel('NO_TOKEN_GUARD').errors > 0);
});
