import assert from 'node:assert/strict';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { test } from 'node:test';
import { DialTurns } from './dial-turns.ts';

test('few dials begin at once', () => {
  const turns = new DialTurns();
  let begun = 0;
  for (let dial = 0; dial < 4; dial += 1) turns.begin('berlin', () => (begun += 1));
  assert.equal(begun, 4);
});

test('of a crowd so many begin in each turn of the event loop, all of them in the end and in order', async () => {
  const turns = new DialTurns();
  const begun: number[] = [];
  for (let dial = 0; dial < 100; dial += 1) turns.begin('mallory', () => void begun.push(dial));
  for (let turn = 0; begun.length < 100; turn += 1) {
    assert.ok(turn < 30, `${begun.length} after ${turn} turns`);
    const before = begun.length;
    await nextTurn();
    assert.ok(begun.length - before <= 8, `${begun.length - before} in a turn`);
  }
  assert.deepEqual(
    begun,
    Array.from({ length: 100 }, (_, dial) => dial),
  );
});

test("a dial of one leaf cluster does not wait for another's crowd", async () => {
  const turns = new DialTurns();
  let crowd = 0;
  for (let dial = 0; dial < 1_000; dial += 1) turns.begin('mallory', () => (crowd += 1));
  await nextTurn();
  const before = crowd;
  let begun = false;
  turns.begin('berlin', () => (begun = true));
  while (!begun) await nextTurn();
  assert.ok(crowd - before <= 8, `${crowd - before} of the crowd went first`);
});

test('a dial that dials again when it begins waits like everybody', async () => {
  const turns = new DialTurns();
  let begun = 0;
  const again = (): void => {
    begun += 1;
    if (begun < 20) turns.begin('berlin', again);
  };
  turns.begin('berlin', again);
  assert.equal(begun, 4);
  while (begun < 20) await nextTurn();
});
