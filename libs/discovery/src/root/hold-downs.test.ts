import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HoldDowns } from './hold-downs.ts';

const CONFIG = { minMs: 5_000, maxMs: 60_000, memoryMs: 600_000, maxAgents: 3 };

test('holds an agent down longer each time, up to a bound, and forgets in the end', () => {
  const holds = new HoldDowns(CONFIG);
  let now = 0;
  const lengths = [1, 2, 3, 4, 5, 6].map(() => {
    const heldMs = holds.strike('berlin/a1', now);
    assert.equal(holds.heldMs('berlin/a1', now), heldMs);
    assert.equal(holds.heldMs('berlin/a1', now + heldMs), 0);
    assert.ok(holds.isSuspect('berlin/a1', now + heldMs));
    now += heldMs;
    return heldMs;
  });
  assert.deepEqual(lengths, [5_000, 10_000, 20_000, 40_000, 60_000, 60_000]);
  assert.ok(holds.isSuspect('berlin/a1', now + CONFIG.memoryMs - 1));
  assert.ok(!holds.isSuspect('berlin/a1', now + CONFIG.memoryMs));
  assert.equal(holds.strike('berlin/a1', now + CONFIG.memoryMs), 5_000, 'what is forgotten is forgiven');
});

test('holds nothing against anybody else', () => {
  const holds = new HoldDowns(CONFIG);
  holds.strike('berlin/a1', 0);
  assert.deepEqual([holds.heldMs('berlin/a2', 0), holds.isSuspect('oslo/a1', 0)], [0, false]);
});

test('remembers a bounded number of agents, those found out last', () => {
  const holds = new HoldDowns(CONFIG);
  for (const agent of ['a', 'b', 'c', 'a', 'd']) holds.strike(agent, 0);
  assert.equal(holds.size, 3);
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].filter((agent) => holds.isSuspect(agent, 0)),
    ['a', 'c', 'd'],
  );
  holds.strike('e', 10_000_000);
  assert.equal(holds.size, 1, 'what is over takes no room');
});
