import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { GossipMessage, ProxyRecord, Snapshot, Stamp } from './gossip.ts';
import {
  applyMessage,
  canonicalText,
  checkMessage,
  compactHeard,
  compareStamps,
  deltaBetween,
  EMPTY_VIEW,
  headCovers,
  hear,
  MAX_PROXIES,
  mergeViews,
  normalise,
  viewText,
  type GossipView,
} from './gossip-view.ts';
import type { Incarnation, ProxyId } from './ids.ts';

const UINT64_MAX = 2n ** 64n - 1n;

/** Few values, so that equal stamps and equal ids happen; extremes of the wire's integers among them. */
const tricky = fc.constantFrom(0n, 1n, 2n, 3n, 2n ** 63n - 1n, 2n ** 63n, UINT64_MAX);
const stamps: fc.Arbitrary<Stamp> = fc.record({ epoch: fc.constantFrom(0n, 1n, UINT64_MAX), revision: tricky });
const ids = fc.constantFrom('a', 'b', 'c', 'd', 'e') as fc.Arbitrary<ProxyId>;
const records: fc.Arbitrary<ProxyRecord> = fc.record({
  id: ids,
  incarnation: tricky as fc.Arbitrary<Incarnation>,
  state: fc.constantFrom('ready', 'draining'),
  generation: fc.constantFrom(0, 1, 2 ** 32 - 1),
});
/** Duplicates of one id included. */
const snapshots: fc.Arbitrary<Snapshot> = fc.record({
  kind: fc.constant('snapshot'),
  stamp: stamps,
  proxies: fc.array(records, { maxLength: 6 }),
});
const handshakes = fc.record({ proxy: ids, incarnation: tricky as fc.Arbitrary<Incarnation>, at: fc.nat(5) });

const views: fc.Arbitrary<GossipView> = fc
  .tuple(fc.array(snapshots, { maxLength: 4 }), fc.array(handshakes, { maxLength: 4 }))
  .map(([messages, heard]) => {
    const view = receiveAll(messages);
    return heard.reduce((merged, { proxy, incarnation, at }) => hear(merged, proxy, incarnation, at), view);
  });

function receiveAll(messages: readonly GossipMessage[], start = EMPTY_VIEW): GossipView {
  return messages.reduce((view, message) => applyMessage(view, message).view, start);
}

test('merge is commutative, associative and idempotent for any views', () => {
  fc.assert(
    fc.property(views, views, views, (a, b, c) => {
      assert.equal(viewText(mergeViews(a, b)), viewText(mergeViews(b, a)));
      assert.equal(viewText(mergeViews(mergeViews(a, b), c)), viewText(mergeViews(a, mergeViews(b, c))));
      assert.equal(viewText(mergeViews(a, a)), viewText(a));
    }),
    { numRuns: 1_000 },
  );
});

test('merge is inflationary: the result is never less than either side', () => {
  fc.assert(
    fc.property(views, views, (a, b) => {
      const merged = mergeViews(a, b);
      assert.equal(viewText(mergeViews(merged, a)), viewText(merged));
      if (a.head !== undefined)
        assert.ok(merged.head !== undefined && compareStamps(merged.head.stamp, a.head.stamp) >= 0);
    }),
  );
});

test('every order, repetition and subset that holds the greatest message gives the same chain', () => {
  const input = fc
    .array(snapshots, { minLength: 1, maxLength: 8 })
    .chain((messages) => fc.tuple(fc.constant(messages), fc.shuffledSubarray([...messages, ...messages]), fc.nat()));
  fc.assert(
    fc.property(input, ([messages, shuffled, where]) => {
      const { head } = receiveAll(messages);
      assert.ok(head !== undefined);
      const withGreatest = shuffled.toSpliced(where % (shuffled.length + 1), 0, head);
      assert.equal(viewText(receiveAll(withGreatest)), viewText(receiveAll(messages)));
    }),
    { numRuns: 1_000 },
  );
});

test('no resurrection: once a greater stamp omits a proxy no older message brings it back', () => {
  fc.assert(
    fc.property(snapshots, fc.array(snapshots, { maxLength: 6 }), (last, others) => {
      const older = others.filter((message) => compareStamps(message.stamp, last.stamp) < 0);
      assert.equal(viewText(receiveAll([last, ...older])), viewText(receiveAll([last])));
    }),
  );
});

test('a delta leads exactly where the snapshot would', () => {
  fc.assert(
    fc.property(snapshots, snapshots, (from, to) => {
      fc.pre(compareStamps(from.stamp, to.stamp) < 0);
      const start = receiveAll([from]);
      assert.ok(start.head !== undefined);
      const delta = deltaBetween(start.head, to);
      assert.equal(checkMessage(delta), undefined);
      const { view, outcome } = applyMessage(start, delta);
      assert.equal(outcome, 'advanced');
      assert.equal(viewText(view), viewText(receiveAll([to])));
      assert.equal(applyMessage(view, delta).outcome, 'confirmed');
    }),
  );
});

test('a delta from anywhere but the head is a gap, and changes nothing', () => {
  const head: Snapshot = { kind: 'snapshot', stamp: { epoch: 1n, revision: 5n }, proxies: [] };
  const start = receiveAll([head]);
  for (const from of [4n, 6n]) {
    const delta: GossipMessage = {
      kind: 'delta',
      from: { epoch: 1n, revision: from },
      to: { epoch: 1n, revision: 9n },
      changed: [],
      removed: [],
    };
    assert.deepEqual(applyMessage(start, delta), { view: start, outcome: 'gap' });
    assert.equal(applyMessage(EMPTY_VIEW, delta).outcome, 'gap');
  }
});

test('of two contents under one stamp the same one wins everywhere', () => {
  const stamp = { epoch: 1n, revision: 5n };
  const one: Snapshot = { kind: 'snapshot', stamp, proxies: [record('a', 1n)] };
  const two: Snapshot = { kind: 'snapshot', stamp, proxies: [record('b', 1n)] };
  assert.equal(viewText(receiveAll([one, two])), viewText(receiveAll([two, one])));
});

function record(id: string, incarnation: bigint): ProxyRecord {
  return { id: id as ProxyId, incarnation: incarnation as Incarnation, state: 'ready', generation: 0 };
}

test('a proxy named twice in one message counts once, whatever the order', () => {
  const twice = [record('a', 3n), record('a', 9n), record('b', 1n)];
  assert.deepEqual(normalise(twice), normalise(twice.toReversed()));
  assert.equal(
    canonicalText({ kind: 'snapshot', stamp: { epoch: 0n, revision: 0n }, proxies: normalise(twice) }).split(' ')
      .length,
    2,
  );
});

for (const [what, message] of [
  ['an invalid name', snapshotOf([record('UPPER', 1n)])],
  ['a name with a slash', snapshotOf([record('a/b', 1n)])],
  ['__proto__', snapshotOf([record('__proto__', 1n)])],
  ['a negative incarnation', snapshotOf([record('a', -1n)])],
  ['an incarnation of 65 bits', snapshotOf([record('a', 2n ** 64n)])],
  ['a negative revision', { ...snapshotOf([]), stamp: { epoch: 0n, revision: -1n } }],
  ['an epoch of 65 bits', { ...snapshotOf([]), stamp: { epoch: 2n ** 64n, revision: 1n } }],
  ['a fractional generation', snapshotOf([{ ...record('a', 1n), generation: 0.5 }])],
  ['too many proxies', snapshotOf(Array.from({ length: MAX_PROXIES + 1 }, (_, index) => record(`p${index}`, 1n)))],
  ['a delta that leads backwards', deltaOf(5n, 5n, [])],
  ['a delta that removes an invalid name', deltaOf(5n, 6n, ['..' as ProxyId])],
] as const) {
  test(`refuses a message with ${what}`, () => {
    assert.notEqual(checkMessage(message), undefined);
  });
}

function snapshotOf(proxies: readonly ProxyRecord[]): Snapshot {
  return { kind: 'snapshot', stamp: { epoch: 1n, revision: 1n }, proxies };
}

function deltaOf(from: bigint, to: bigint, removed: readonly ProxyId[]): GossipMessage {
  const at = (revision: bigint): Stamp => ({ epoch: 1n, revision });
  return { kind: 'delta', from: at(from), to: at(to), changed: [], removed };
}

test('accepts a message of the greatest size and the greatest numbers', () => {
  const full = Array.from({ length: MAX_PROXIES }, (_, index) => record(`p${index}`, UINT64_MAX));
  assert.equal(
    checkMessage({ kind: 'snapshot', stamp: { epoch: UINT64_MAX, revision: UINT64_MAX }, proxies: full }),
    undefined,
  );
});

test('a handshake is covered by a head of at least its revision, never when unregistered', () => {
  const head = { ...snapshotOf([]), stamp: { epoch: 2n, revision: 50n } };
  const heard = (epoch: bigint, incarnation: bigint) => ({ epoch, incarnation: incarnation as Incarnation, at: 0 });
  const inEpoch2 = (revision: bigint): bigint => (1n << 44n) + revision;
  assert.equal(headCovers(head, heard(2n, inEpoch2(50n))), true);
  assert.equal(headCovers(head, heard(2n, inEpoch2(51n))), false);
  assert.equal(headCovers(head, heard(1n, 900n)), true);
  assert.equal(headCovers(head, heard(2n, 0n)), false);
  assert.equal(headCovers(undefined, heard(0n, 1n)), false);
});

test('what was heard is bounded, oldest forgotten first', () => {
  const heard = new Map(
    Array.from({ length: MAX_PROXIES + 10 }, (_, at) => [
      `p${at}` as ProxyId,
      { epoch: 0n, incarnation: 0n as Incarnation, at },
    ]),
  );
  const compact = compactHeard({ head: undefined, heard }, 0);
  assert.equal(compact.heard.size, MAX_PROXIES);
  assert.equal(compact.heard.has('p0' as ProxyId), false);
  assert.equal(compact.heard.has(`p${MAX_PROXIES + 9}` as ProxyId), true);
});
