import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Fence } from './fence.ts';

const mark = fc.record({ incarnation: fc.bigInt({ min: 0n, max: 5n }), token: fc.bigInt({ min: 0n, max: 5n }) });

test('nothing passes after something greater has been seen', () => {
  fc.assert(
    fc.property(fc.array(mark, { minLength: 1 }), (marks) => {
      const fence = new Fence();
      let incarnation = 0n;
      let token = 0n;
      for (const each of marks) {
        const older =
          each.incarnation < incarnation ||
          (each.incarnation === incarnation && each.token < token && each.token !== 0n);
        const refused = fence.check('p1', each) !== undefined;
        assert.equal(refused, older && each.incarnation !== 0n);
        if (refused || each.incarnation === 0n) continue;
        if (each.incarnation > incarnation) token = each.token;
        else if (each.token > token) ({ token } = each);
        ({ incarnation } = each);
      }
    }),
  );
});

test('a proxy that has never been registered passes, whatever was seen: no registry may be reachable', () => {
  const fence = new Fence();
  fence.raise('p1', { incarnation: 7n, token: 9n });
  assert.equal(fence.check('p1', { incarnation: 0n, token: 0n }), undefined);
  assert.match(fence.check('p1', { incarnation: 6n, token: 9n }) ?? '', /stale/);
});

test('proxies do not touch one another', () => {
  const fence = new Fence();
  fence.raise('p1', { incarnation: 7n, token: 0n });
  assert.equal(fence.check('p2', { incarnation: 1n, token: 1n }), undefined);
});

test('a new store epoch voids all marks, an older one nothing', () => {
  const fence = new Fence();
  fence.epochSeen(2n);
  fence.raise('p1', { incarnation: 7n, token: 0n });
  fence.epochSeen(1n);
  assert.notEqual(fence.check('p1', { incarnation: 3n, token: 0n }), undefined);
  fence.epochSeen(3n);
  assert.equal(fence.check('p1', { incarnation: 3n, token: 0n }), undefined);
});
