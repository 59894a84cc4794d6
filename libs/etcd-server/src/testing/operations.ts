import { etcd } from '@xylem/wire';
import fc from 'fast-check';

/** A revision: 0 none, above 0 that many after the start of the run, below 0 as it is. */
type Revision = number;

export interface RangeOperation {
  readonly type: 'range';
  readonly key: string;
  readonly rangeEnd: string;
  readonly revision: Revision;
  readonly limit: number;
  readonly sortOrder: etcd.RangeRequest_SortOrder;
  readonly sortTarget: etcd.RangeRequest_SortTarget;
  readonly keysOnly: boolean;
  readonly countOnly: boolean;
  /** min mod, max mod, min create, max create. */
  readonly bounds: readonly [Revision, Revision, Revision, Revision];
}

export interface PutOperation {
  readonly type: 'put';
  readonly key: string;
  readonly value: string;
  readonly lease: number;
  readonly prevKv: boolean;
  readonly ignoreValue: boolean;
  readonly ignoreLease: boolean;
}

export interface DeleteOperation {
  readonly type: 'delete';
  readonly key: string;
  readonly rangeEnd: string;
  readonly prevKv: boolean;
}

export interface CompareOperand {
  readonly key: string;
  readonly rangeEnd: string;
  readonly target: etcd.Compare_CompareTarget;
  readonly result: etcd.Compare_CompareResult;
  readonly number: number;
  readonly value: string;
}

export interface TxnOperation {
  readonly type: 'txn';
  readonly compare: readonly CompareOperand[];
  readonly success: readonly KeyOperation[];
  readonly failure: readonly KeyOperation[];
}

export type KeyOperation = RangeOperation | PutOperation | DeleteOperation | TxnOperation;

export interface WatchOperation {
  readonly type: 'watch';
  readonly key: string;
  readonly rangeEnd: string;
  readonly startRevision: Revision;
  readonly noPut: boolean;
  readonly noDelete: boolean;
  readonly prevKv: boolean;
}

export type Operation =
  | KeyOperation
  | WatchOperation
  | { readonly type: 'compact'; readonly revision: Revision }
  | { readonly type: 'grant'; readonly lease: number; readonly ttl: number }
  | { readonly type: 'revoke' | 'keepAlive' | 'timeToLive'; readonly lease: number }
  | { readonly type: 'leases' };

/** Few enough to meet each other; one is a prefix of another, some are not text. */
const KEYS = ['a', 'a\0', 'ab', 'b', 'm', 'm/1', 'm/2', '\xfe', '\xff', '\xff\xff'];
const key = fc.constantFrom(...KEYS);
const emptyOrKey = fc.oneof({ weight: 60, arbitrary: key }, { weight: 1, arbitrary: fc.constant('') });
const rangeEnd = fc.oneof(fc.constant(''), fc.constant('\0'), key, fc.constant('n'));
/** A delete inside a transaction has an orderly range: what etcd makes of others there depends on the others' order. */
const orderlyRange = fc
  .tuple(key, fc.oneof(fc.constant(''), key))
  .map(([from, to]) => ({ key: from, rangeEnd: to > from ? to : '' }));
const value = fc.constantFrom('', '1', '2', 'zz');
const revision = fc.oneof(
  { weight: 12, arbitrary: fc.constant(0) },
  { weight: 4, arbitrary: fc.integer({ min: 1, max: 20 }) },
  { weight: 1, arbitrary: fc.constantFrom(-1, -5, 1_000_000) },
);
const bound = fc.oneof(
  { weight: 5, arbitrary: fc.constant(0) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 20 }) },
);
/** 0: none. 1 and 2 are there at first, 3 and 4 have to be granted. */
const lease = fc.oneof(
  { weight: 12, arbitrary: fc.constant(0) },
  { weight: 6, arbitrary: fc.integer({ min: 1, max: 2 }) },
  { weight: 1, arbitrary: fc.integer({ min: 3, max: 4 }) },
);
const rarely = fc.integer({ min: 0, max: 5 }).map((number) => number === 0);

const range: fc.Arbitrary<RangeOperation> = fc.record({
  type: fc.constant('range'),
  key: emptyOrKey,
  rangeEnd,
  revision,
  limit: fc.constantFrom(0, 0, 1, 2, 3, -1),
  sortOrder: fc.constantFrom(...Object.values(etcd.RangeRequest_SortOrder)),
  sortTarget: fc.constantFrom(...Object.values(etcd.RangeRequest_SortTarget)),
  keysOnly: rarely,
  countOnly: rarely,
  bounds: fc.tuple(bound, bound, bound, bound),
});

const put: fc.Arbitrary<PutOperation> = fc
  .record({
    type: fc.constant('put'),
    key: emptyOrKey,
    value,
    lease,
    prevKv: fc.boolean(),
    ignoreValue: rarely,
    ignoreLease: rarely,
    contradicts: rarely,
  })
  .map(({ contradicts, ...operation }) => ({
    ...operation,
    value: operation.ignoreValue && !contradicts ? '' : operation.value,
    lease: operation.ignoreLease && !contradicts ? 0 : operation.lease,
  }));

const remove: fc.Arbitrary<DeleteOperation> = fc.record({
  type: fc.constant('delete'),
  key: emptyOrKey,
  rangeEnd,
  prevKv: fc.boolean(),
});

const removeInTxn: fc.Arbitrary<DeleteOperation> = fc
  .tuple(orderlyRange, fc.boolean())
  .map(([keys, prevKv]) => ({ type: 'delete', ...keys, prevKv }));

const compare: fc.Arbitrary<CompareOperand> = fc.record({
  key: emptyOrKey,
  rangeEnd,
  target: fc.constantFrom(...Object.values(etcd.Compare_CompareTarget)),
  result: fc.constantFrom(...Object.values(etcd.Compare_CompareResult)),
  number: fc.integer({ min: 0, max: 12 }),
  value,
});

const MAX_DEPTH = 2;

function txn(depth: number): fc.Arbitrary<TxnOperation> {
  const simple: fc.Arbitrary<KeyOperation> = fc.oneof(range, put, put, removeInTxn);
  const op =
    depth < MAX_DEPTH ? fc.oneof({ weight: 4, arbitrary: simple }, { weight: 1, arbitrary: txn(depth + 1) }) : simple;
  const ops = fc.array(op, { maxLength: 4 });
  return fc.record({
    type: fc.constant('txn'),
    compare: fc.array(compare, { maxLength: 2 }),
    success: ops,
    failure: ops,
  });
}

const watch: fc.Arbitrary<WatchOperation> = fc.record({
  type: fc.constant('watch'),
  key: emptyOrKey,
  rangeEnd,
  startRevision: revision.filter((start) => start < 1_000),
  noPut: rarely,
  noDelete: rarely,
  prevKv: fc.boolean(),
});

const grantedLease = fc.integer({ min: 1, max: 4 });

/** What clients may do, good and bad requests mixed. */
export const operations: fc.Arbitrary<readonly Operation[]> = fc.array(
  fc.oneof(
    { weight: 24, arbitrary: put },
    { weight: 10, arbitrary: remove },
    { weight: 16, arbitrary: range },
    { weight: 24, arbitrary: txn(0) },
    { weight: 6, arbitrary: watch },
    { weight: 3, arbitrary: fc.record({ type: fc.constant('compact'), revision }) },
    {
      weight: 6,
      arbitrary: fc.record({
        type: fc.constant('grant'),
        lease: grantedLease,
        ttl: fc.constantFrom(60, 100, 9_000_000_001),
      }),
    },
    {
      weight: 6,
      arbitrary: fc.record({ type: fc.constantFrom('revoke', 'keepAlive', 'timeToLive'), lease: grantedLease }),
    },
    { weight: 1, arbitrary: fc.record({ type: fc.constant('leases') }) },
  ),
  { minLength: 1, maxLength: 60, size: 'max' },
);
