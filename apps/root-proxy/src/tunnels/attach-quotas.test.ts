import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AttachQuotas } from './attach-quotas.ts';

test('an agent that attaches a thousand times a second is refused after its burst, and told when to come back', () => {
  const quotas = new AttachQuotas({ perSecond: 1, burst: 2 });
  let granted = 0;
  for (let ms = 0; ms < 1_000; ms += 1) {
    const refusal = quotas.enter('berlin', 'a1', ms);
    if (refusal === undefined) {
      granted += 1;
      quotas.left('berlin', 'a1');
    } else assert.ok(refusal.retryAfterMs > 0 && refusal.retryAfterMs <= 1_000);
  }
  assert.ok(granted >= 60 && granted <= 61, `${granted} attached`);
  assert.equal(quotas.enter('berlin', 'a2', 1_000), undefined, 'its sibling is not held up');
  assert.equal(quotas.enter('tokyo', 'a1', 1_000), undefined, 'nor is another leaf cluster');
});

test('many agents of one leaf cluster share its rate', () => {
  const quotas = new AttachQuotas({ perSecond: 1, burst: 2 });
  let granted = 0;
  for (let agent = 0; agent < 2_000; agent += 1) if (quotas.enter('berlin', `a${agent}`, 0) === undefined) granted += 1;
  assert.equal(granted, 400);
  assert.equal(quotas.enter('tokyo', 'a1', 0), undefined);
});

test('an agent has a bounded number of tunnels, and each that ends makes room', () => {
  const quotas = new AttachQuotas({ perSecond: 1, burst: 2 });
  for (let index = 0; index < 32; index += 1) assert.equal(quotas.enter('berlin', 'a1', 0), undefined);
  assert.match(quotas.enter('berlin', 'a1', 0)?.detail ?? '', /has 32 tunnels here/);
  quotas.left('berlin', 'a1');
  assert.equal(quotas.enter('berlin', 'a1', 0), undefined);
});

test('streams that nobody waits for are counted for each agent', () => {
  const quotas = new AttachQuotas({ perSecond: 1, burst: 2 });
  assert.deepEqual(
    [0, 0, 0, 1_000].map((at) => quotas.unasked('berlin', 'a1', at)),
    [true, true, false, true],
  );
  assert.equal(quotas.unasked('berlin', 'a2', 1_000), true);
});
