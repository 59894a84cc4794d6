import assert from 'node:assert/strict';
import { test } from 'node:test';
import { coldStartRows, couponCollector, rotationRows } from './compare-tables.ts';
import type { Cell } from './compare-tables.ts';

function cell(name: string, dials: number, healedMs: number | undefined): Cell {
  const coldStart = { meshMs: 20, dials, relayed: 1, quietDials: 0, directDials: 0, pool: 3 };
  return {
    entrant: { name, strategy: 'stamped', steering: 'sni' },
    job: { trial: 'cold-start', strategy: 'stamped', steering: 'sni', balancer: 'first', proxies: 3, seeds: 1 },
    result: {
      coldStarts: [coldStart],
      rotations: [{ healedMs: [healedMs], converged: true, dials, quietDials: 0, pool: 3 }],
      changes: [],
    },
  };
}

test('the coupon collector of ten needs 29.3 dials', () => {
  assert.equal(couponCollector(10).toFixed(1), '29.3');
});

test('protocols with the same figures share a row', () => {
  const rows = coldStartRows([cell('one', 3, 5), cell('two', 3, 5), cell('three', 4, 5)]);
  const shown = rows.filter((row) => row.startsWith('| first'));
  assert.deepEqual(
    shown.map((row) => row.split(' | ')[1]),
    ['one; two', 'three'],
  );
});

test('a mesh that did not heal before the next replacement is not called healed', () => {
  const [row = ''] = rotationRows([cell('one', 3, undefined)]).filter((each) => each.startsWith('| first'));
  assert.match(row, /over 20 s/);
});
