import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DialFence } from './dial-fence.ts';

const mark = fc.record({ incarnation: fc.bigInt({ min: 0n, max: 5n }), token: fc.bigInt({ min: 0n, max: 5n }) });
const NEVER = { incarnation: 0n, token: 0n };

test('nothing passes after something greater has been seen', () => {
  fc.assert(
    fc.property(fc.array(mark, { minLength: 1 }), (marks) => {
      const fence = new DialFence();
      const tunnel = fence.admit('p1', 0n);
      let incarnation = 0n;
      let token = 0n;
      for (const each of marks) {
        const older = each.incarnation === incarnation && each.token < token && each.token !== 0n && incarnation !== 0n;
        const refused = fence.check('p1', each, tunnel) !== undefined;
        assert.equal(refused, older || each.incarnation < incarnation);
        if (refused || each.incarnation === 0n) continue;
        if (each.incarnation > incarnation) token = each.token;
        else if (each.token > token) ({ token } = each);
        ({ incarnation } = each);
      }
    }),
  );
});

test('a proxy that restarted while no registry answers is served, whatever its earlier lives named', () => {
  const fence = new DialFence();
  const before = fence.admit('p1', 7n);
  fence.raise('p1', { incarnation: 7n, token: 9n });
  const after = fence.admit('p1', 0n);
  assert.equal(fence.check('p1', NEVER, after), undefined);
  assert.match(
    fence.check('p1', { incarnation: 6n, token: 9n }, before) ?? '',
    /incarnation 6 .* stale, 7 has been seen/,
  );
});

test('an unregistered process is refused once another with its name is registered', () => {
  const fence = new DialFence();
  const stopped = fence.admit('p1', 0n);
  assert.equal(fence.check('p1', NEVER, stopped), undefined);
  const replacement = fence.admit('p1', 8n);
  assert.match(fence.check('p1', NEVER, stopped) ?? '', /unregistered life of root proxy p1 is stale, 8 has been seen/);
  assert.equal(fence.check('p1', { incarnation: 8n, token: 0n }, replacement), undefined);
});

test('a claim that gets its token does not stop the tunnel whose process it is', () => {
  const fence = new DialFence();
  const tunnel = fence.admit('p1', 0n);
  fence.raise('p1', { incarnation: 8n, token: 9n });
  assert.equal(fence.check('p1', { incarnation: 8n, token: 9n }, tunnel), undefined);
});

test('provisional claims pass at the incarnation that was seen', () => {
  const fence = new DialFence();
  const tunnel = fence.admit('p1', 7n);
  fence.raise('p1', { incarnation: 7n, token: 9n });
  assert.equal(fence.check('p1', { incarnation: 7n, token: 0n }, tunnel), undefined);
  assert.match(fence.check('p1', { incarnation: 7n, token: 8n }, tunnel) ?? '', /token 8 .* stale, 9 has been seen/);
});

test('proxies do not touch one another', () => {
  const fence = new DialFence();
  fence.admit('p1', 7n);
  const other = fence.admit('p2', 1n);
  assert.equal(fence.check('p2', { incarnation: 1n, token: 1n }, other), undefined);
});

test('a greater epoch keeps the marks, which rise across it; belief in a smaller one voids them', () => {
  const fence = new DialFence();
  fence.believes(1n);
  const tunnel = fence.admit('p1', 7n);
  fence.believes(2n);
  assert.notEqual(fence.check('p1', { incarnation: 3n, token: 0n }, tunnel), undefined);
  assert.equal(fence.check('p1', { incarnation: (1n << 44n) + 3n, token: 0n }, tunnel), undefined);
  fence.believes(1n);
  assert.equal(fence.check('p1', { incarnation: 3n, token: 0n }, tunnel), undefined);
});

test('what the pool forgot is forgotten', () => {
  const fence = new DialFence();
  const tunnel = fence.admit('p1', 7n);
  fence.keepOnly(new Set(['p2']));
  assert.equal(fence.check('p1', { incarnation: 3n, token: 0n }, tunnel), undefined);
});
