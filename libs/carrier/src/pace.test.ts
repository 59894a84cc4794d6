import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { PacedSource } from './pace.ts';
import type { OpenLane } from './pace.ts';
import { makeWorld } from './testing/world.ts';

/** A source, and the lane that says no after each read until it is told to go. */
function bench() {
  const calls: string[] = [];
  let go = (): void => undefined;
  const open: OpenLane = (read) => {
    go = read;
    return { passed: () => false, close: () => void calls.push('close') };
  };
  const source = { pause: () => void calls.push('pause'), resume: () => void calls.push('resume') };
  return { calls, paced: new PacedSource(source, open), go: () => go() };
}

test('what its lane holds back is read again when the lane says so', () => {
  const { calls, paced, go } = bench();
  paced.passed(10);
  go();
  assert.deepEqual(calls, ['pause', 'resume']);
});

test('what two hold back is read when the later of them lets it go, whichever that is', () => {
  for (const lastIsLane of [true, false]) {
    const { calls, paced, go } = bench();
    paced.passed(10);
    paced.pause();
    if (lastIsLane) paced.resume();
    else go();
    assert.ok(!calls.includes('resume'));
    if (lastIsLane) go();
    else paced.resume();
    assert.deepEqual(calls, ['pause', 'pause', 'resume']);
  }
});

test('without a lane only the far end holds it back', () => {
  const calls: string[] = [];
  const source = { pause: () => void calls.push('pause'), resume: () => void calls.push('resume') };
  const paced = new PacedSource(source, undefined);
  paced.passed(1_000_000);
  paced.pause();
  paced.resume();
  paced.close();
  assert.deepEqual(calls, ['pause', 'resume']);
});

for (const hops of [0, 1] as const) {
  test(`every byte and both ends arrive though each read waits for leave, over ${hops} extra hops`, async (t) => {
    let opened = 0;
    let closed = 0;
    const lane: OpenLane = (go) => {
      opened += 1;
      let over = false;
      const passed = (): boolean => {
        if (!over) setImmediate(() => void (over || go()));
        return over;
      };
      const close = (): void => {
        closed += Number(!over);
        over = true;
      };
      return { passed, close };
    };
    const world = await makeWorld({ hops, lane });
    t.after(() => world.close());
    const { user, node, ends, hop } = await world.dial();
    const sent = randomBytes(3_000_000);
    user.end(sent);
    node.end(sent);
    const [atNode, atUser] = await Promise.all([buffer(node), buffer(user)]);
    assert.ok(atNode.equals(sent) && atUser.equals(sent));
    assert.ok((await ends).every(({ kind }) => kind === 'clean'));
    await hop;
    assert.deepEqual([opened, closed], [2 + 2 * hops, 2 + 2 * hops]);
  });
}
