import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { tunnel } from '@xylem/wire';
import { readGossip, showStamp } from './gossip.ts';

const stamp = { epoch: 2n ** 64n - 1n, revision: 2n ** 63n };
const proxy = { id: 'p1', incarnation: 2n ** 64n - 1n, state: 1 as const, generation: 3 };

test('reads a snapshot, extremes included', () => {
  assert.deepEqual(
    readGossip({
      kind: { $case: 'snapshot', value: { stamp, proxies: [proxy, { ...proxy, id: 'p2', state: 2 }], statement: '' } },
    }),
    {
      kind: 'gossip',
      message: {
        kind: 'snapshot',
        stamp,
        proxies: [
          { id: 'p1', incarnation: 2n ** 64n - 1n, state: 'ready', generation: 3 },
          { id: 'p2', incarnation: 2n ** 64n - 1n, state: 'draining', generation: 3 },
        ],
      },
    },
  );
});

test('reads a delta', () => {
  const reading = readGossip({
    kind: { $case: 'delta', value: { from: stamp, to: stamp, changed: [], removed: ['p9'], statement: '' } },
  });
  assert.deepEqual(reading, {
    kind: 'gossip',
    message: { kind: 'delta', from: stamp, to: stamp, changed: [], removed: ['p9'] },
  });
});

const BAD: readonly (readonly [what: string, kind: tunnel.DiscoveryRequest['kind']])[] = [
  ['nothing', undefined],
  ['a snapshot without a stamp', { $case: 'snapshot', value: { stamp: undefined, proxies: [], statement: '' } }],
  [
    'a proxy with a bad name',
    { $case: 'snapshot', value: { stamp, proxies: [{ ...proxy, id: 'P1\n' }], statement: '' } },
  ],
  [
    'a proxy without a state',
    { $case: 'snapshot', value: { stamp, proxies: [{ ...proxy, state: 0 }], statement: '' } },
  ],
  [
    'a delta without stamps',
    { $case: 'delta', value: { from: stamp, to: undefined, changed: [], removed: [], statement: '' } },
  ],
  [
    'a delta that removes a bad name',
    { $case: 'delta', value: { from: stamp, to: stamp, changed: [], removed: [''], statement: '' } },
  ],
];
for (const [what, kind] of BAD) {
  test(`refuses ${what} as a whole`, () => {
    assert.equal(readGossip({ kind }).kind, 'malformed');
  });
}

test('shows a stamp in one word', () =>
  assert.deepEqual([showStamp(undefined), showStamp({ epoch: 1n, revision: 20n })], ['none', '1.20']));
