import { contains } from './bytes.ts';
import type { Key, KeyRange } from './bytes.ts';
import { ERRORS, StoreError } from './errors.ts';
import type { Outcome } from './errors.ts';
import { checkRange } from './range.ts';
import type { DeleteRangeRequest, PutRequest, RequestOp, TxnRequest } from './types.ts';

/** Checks of a put that need no keys. */
export function checkPut(request: PutRequest): StoreError | undefined {
  if (request.key === '') return ERRORS.emptyKey;
  if (request.ignoreValue === true && (request.value?.length ?? 0) > 0) return ERRORS.valueProvided;
  if (request.ignoreLease === true && (request.lease ?? 0n) !== 0n) return ERRORS.leaseProvided;
  return undefined;
}

export function checkDelete(request: DeleteRangeRequest): StoreError | undefined {
  return request.key === '' ? ERRORS.emptyKey : undefined;
}

/** Checks of a transaction that need no keys: its size, its operations, and that no key is written twice. */
export function checkTxn(request: TxnRequest, maxOps: number): StoreError | undefined {
  return (
    checkShape(request, maxOps) ??
    errorOf(writtenKeys(request.success ?? [])) ??
    errorOf(writtenKeys(request.failure ?? []))
  );
}

function errorOf(outcome: Outcome<unknown>): StoreError | undefined {
  return outcome instanceof StoreError ? outcome : undefined;
}

function checkShape(
  { compare: compares = [], success = [], failure = [] }: TxnRequest,
  maxOps: number,
): StoreError | undefined {
  const ops = Math.max(compares.length, success.length, failure.length);
  if (ops > maxOps) return ERRORS.tooManyOps;
  if (compares.some((condition) => condition.key === '')) return ERRORS.emptyKey;
  for (const op of [...success, ...failure]) {
    const error = checkOp(op, maxOps - ops);
    if (error !== undefined) return error;
  }
  return undefined;
}

function checkOp(op: RequestOp, maxOps: number): StoreError | undefined {
  switch (op.type) {
    case 'range':
      return checkRange(op.request);
    case 'put':
      return checkPut(op.request);
    case 'deleteRange':
      return checkDelete(op.request);
    case 'txn':
      return checkShape(op.request, maxOps);
  }
}

interface WrittenKeys {
  readonly puts: ReadonlySet<Key>;
  readonly deletes: readonly KeyRange[];
}

/**
 * What a list of operations may write, or duplicateKey. As in etcd, the two branches of one nested transaction may write the same
 * key, and the deletes that count against a nested put are those of its own level and of the nested transactions before it.
 */
function writtenKeys(ops: readonly RequestOp[]): Outcome<WrittenKeys> {
  const puts = new Set<Key>();
  const deletes: KeyRange[] = [];
  for (const op of ops) {
    if (op.type === 'deleteRange') deletes.push(deletedRange(op.request));
  }
  for (const op of ops) {
    if (op.type !== 'txn') continue;
    const then = writtenKeys(op.request.success ?? []);
    if (then instanceof StoreError) return then;
    const otherwise = writtenKeys(op.request.failure ?? []);
    if (otherwise instanceof StoreError) return otherwise;
    const before = new Set(puts);
    for (const key of [...then.puts, ...otherwise.puts]) {
      if (before.has(key) || isDeleted(deletes, key)) return ERRORS.duplicateKey;
      puts.add(key);
    }
    deletes.push(...then.deletes, ...otherwise.deletes);
  }
  for (const op of ops) {
    if (op.type !== 'put') continue;
    const { key } = op.request;
    if (puts.has(key) || isDeleted(deletes, key)) return ERRORS.duplicateKey;
    puts.add(key);
  }
  return { puts, deletes };
}

/** etcd takes the end "from the key on" literally here, so that such a delete counts against no put. */
function deletedRange(request: DeleteRangeRequest): KeyRange {
  const { key, rangeEnd } = request;
  return rangeEnd === undefined || rangeEnd === '' ? { kind: 'one', key } : { kind: 'span', from: key, to: rangeEnd };
}

function isDeleted(deletes: readonly KeyRange[], key: Key): boolean {
  return deletes.some((range) => contains(range, key));
}
