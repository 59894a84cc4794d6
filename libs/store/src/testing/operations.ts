import fc from 'fast-check';
import { FROM_KEY, key } from '../bytes.ts';
import type { Store } from '../store.ts';
import type { Instant, RequestOp } from '../types.ts';

/** One call that may change a store. Revisions of compactions count back from the newest. */
export type Operation =
  | { readonly type: 'txn'; readonly ops: readonly RequestOp[] }
  | { readonly type: 'compact'; readonly back: bigint }
  | { readonly type: 'grant'; readonly id: bigint; readonly ttlSeconds: bigint }
  | { readonly type: 'revoke'; readonly id: bigint }
  | { readonly type: 'wait'; readonly ms: number };

const keys = fc.constantFrom('a', 'b', 'b/1', 'b/2', 'c', '\xff').map(key);
const id = fc.bigInt({ min: 1n, max: 3n });
const put: fc.Arbitrary<RequestOp> = fc
  .record({ key: keys, value: fc.uint8Array({ maxLength: 2 }), lease: fc.oneof(fc.constant(0n), id) })
  .map((request) => ({ type: 'put', request }));
const remove: fc.Arbitrary<RequestOp> = fc
  .record({ key: keys, rangeEnd: fc.constantFrom(key(''), FROM_KEY, key('b0')) })
  .map((request) => ({ type: 'deleteRange', request }));
/** Only so may one transaction write a key twice. */
const nested = fc
  .array(fc.oneof(put, remove), { minLength: 1, maxLength: 2 })
  .map((success): RequestOp => ({ type: 'txn', request: { success } }));

export const operations: fc.Arbitrary<readonly Operation[]> = fc.array(
  fc.oneof(
    {
      weight: 12,
      arbitrary: fc.record({
        type: fc.constant('txn'),
        ops: fc.array(fc.oneof(put, put, remove, nested), { minLength: 1, maxLength: 3 }),
      }),
    },
    { weight: 2, arbitrary: fc.record({ type: fc.constant('compact'), back: fc.bigInt({ min: 0n, max: 5n }) }) },
    {
      weight: 2,
      arbitrary: fc.record({ type: fc.constant('grant'), id, ttlSeconds: fc.bigInt({ min: 1n, max: 5n }) }),
    },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('revoke'), id }) },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('wait'), ms: fc.integer({ min: 0, max: 3_000 }) }) },
  ),
  { maxLength: 60, size: 'max' },
);

/** Does one; answers the time after it. Refusals are fine. */
export function perform(store: Store, operation: Operation, now: Instant): Instant {
  switch (operation.type) {
    case 'txn':
      store.txn({ success: operation.ops }, now);
      return now;
    case 'compact':
      store.compact(store.revision - operation.back, now);
      return now;
    case 'grant':
      store.grantLease(operation.id, operation.ttlSeconds, now);
      return now;
    case 'revoke':
      store.revokeLease(operation.id, now);
      return now;
    case 'wait':
      store.advance(now + operation.ms);
      return now + operation.ms;
  }
}
