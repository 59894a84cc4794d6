import assert from 'node:assert/strict';
import { test } from 'node:test';
import { GrantTraces } from './grant-traces.ts';

test('forgets a released claim, and keeps the one that took its slot', () => {
  const traces = new GrantTraces();
  traces.set('berlin', 0, 'first');
  traces.released('berlin', 0, 'first');
  assert.equal(traces.size, 0);
  traces.set('berlin', 0, 'first');
  traces.set('berlin', 0, 'second');
  traces.released('berlin', 0, 'first');
  assert.equal(traces.get('berlin', 0), 'second');
});

test('stays bounded when claims are never released, and keeps the newest', () => {
  const traces = new GrantTraces();
  for (let leaf = 0; leaf < 100_000; leaf += 1) traces.set(`leaf-${leaf}`, 0, `trace-${leaf}`);
  assert.ok(traces.size <= 4_096);
  assert.equal(traces.get('leaf-99999', 0), 'trace-99999');
});
