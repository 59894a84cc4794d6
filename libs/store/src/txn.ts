import { compareBytes, keyRange } from './bytes.ts';
import { ERRORS, StoreError } from './errors.ts';
import type { Outcome } from './errors.ts';
import type { Keyspace, WriteTxn } from './keyspace.ts';
import { compare, readRange } from './range.ts';
import type { ReadView } from './range.ts';
import { find, list } from './tree.ts';
import type {
  Compare,
  DeleteRangeRequest,
  DeleteRangeResult,
  KeyValue,
  OpResult,
  PutRequest,
  PutResult,
  RequestOp,
  TxnRequest,
  TxnResult,
} from './types.ts';

const NO_VALUE = new Uint8Array(0);

/** A transaction whose conditions have been decided, nested ones too: etcd decides all of them before the first write. */
interface Decided {
  readonly succeeded: boolean;
  readonly ops: readonly (RequestOp & { readonly decided?: Decided })[];
}

/** What a write has to ask of the leases. */
export interface LeaseLookup {
  has(id: bigint): boolean;
}

/** Runs a checked transaction inside `txn`, all or nothing: an error means that nothing was written. */
export function applyTxn(
  keyspace: Keyspace,
  leases: LeaseLookup,
  txn: WriteTxn,
  request: TxnRequest,
): Outcome<TxnResult> {
  const decided = decide(keyspace, request);
  const error = checkPuts(keyspace, leases, decided) ?? checkRanges(keyspace, decided);
  if (error !== undefined) return error;
  const responses = run(keyspace, leases, txn, decided);
  if (responses instanceof StoreError) return responses;
  return { type: 'txn', revision: txn.revision, succeeded: decided.succeeded, responses };
}

function decide(keyspace: Keyspace, request: TxnRequest): Decided {
  const succeeded = (request.compare ?? []).every((condition) => holds(keyspace, condition));
  const ops = (succeeded ? request.success : request.failure) ?? [];
  return {
    succeeded,
    ops: ops.map((op) => (op.type === 'txn' ? { ...op, decided: decide(keyspace, op.request) } : op)),
  };
}

function holds(keyspace: Keyspace, condition: Compare): boolean {
  const kvs = list(keyspace.root, keyRange(condition.key, condition.rangeEnd));
  // No key reads as one whose numbers are 0; it has no value to compare.
  if (kvs.length === 0) return condition.target.type !== 'value' && matches(condition, undefined);
  return kvs.every((kv) => matches(condition, kv));
}

function matches({ target, result }: Compare, kv: KeyValue | undefined): boolean {
  const order =
    target.type === 'value'
      ? compareBytes(kv?.value ?? NO_VALUE, target.operand)
      : compare(numberOf(target.type, kv), target.operand);
  switch (result) {
    case 'equal':
      return order === 0;
    case 'notEqual':
      return order !== 0;
    case 'greater':
      return order > 0;
    case 'less':
      return order < 0;
  }
}

function numberOf(target: 'version' | 'create' | 'mod' | 'lease', kv: KeyValue | undefined): bigint {
  if (kv === undefined) return 0n;
  switch (target) {
    case 'version':
      return kv.version;
    case 'create':
      return kv.createRevision;
    case 'mod':
      return kv.modRevision;
    case 'lease':
      return kv.lease;
  }
}

function checkPuts(keyspace: Keyspace, leases: LeaseLookup, decided: Decided): StoreError | undefined {
  for (const op of decided.ops) {
    if (op.type === 'put') {
      const { key, lease = 0n, ignoreValue, ignoreLease } = op.request;
      const mustExist = ignoreValue === true || ignoreLease === true;
      if (mustExist && find(keyspace.root, key) === undefined) return ERRORS.keyNotFound;
      if (lease !== 0n && !leases.has(lease)) return ERRORS.leaseNotFound;
    }
    const error = op.decided && checkPuts(keyspace, leases, op.decided);
    if (error !== undefined) return error;
  }
  return undefined;
}

function checkRanges(keyspace: Keyspace, decided: Decided): StoreError | undefined {
  for (const op of decided.ops) {
    if (op.type === 'range') {
      const revision = op.request.revision ?? 0n;
      if (revision > keyspace.revision) return ERRORS.futureRevision;
      if (revision !== 0n && revision < keyspace.compactRevision) return ERRORS.compacted;
    }
    const error = op.decided && checkRanges(keyspace, op.decided);
    if (error !== undefined) return error;
  }
  return undefined;
}

function run(keyspace: Keyspace, leases: LeaseLookup, txn: WriteTxn, decided: Decided): Outcome<readonly OpResult[]> {
  const responses: OpResult[] = [];
  for (const op of decided.ops) {
    const response = runOp(keyspace, leases, txn, op);
    if (response instanceof StoreError) return response;
    responses.push(response);
  }
  return responses;
}

function runOp(keyspace: Keyspace, leases: LeaseLookup, txn: WriteTxn, op: Decided['ops'][number]): Outcome<OpResult> {
  switch (op.type) {
    case 'range':
      return readRange(viewOf(keyspace, txn), op.request);
    case 'put':
      return applyPut(leases, txn, op.request);
    case 'deleteRange':
      return applyDelete(txn, op.request);
    case 'txn': {
      if (op.decided === undefined) throw new TypeError('a nested transaction is decided with the one around it');
      const responses = run(keyspace, leases, txn, op.decided);
      if (responses instanceof StoreError) return responses;
      return { type: 'txn', revision: 0n, succeeded: op.decided.succeeded, responses };
    }
  }
}

/** Reads inside a transaction see its writes so far. */
function viewOf(keyspace: Keyspace, txn: WriteTxn): ReadView {
  return { root: txn.root, revision: txn.revision, rootAt: (revision) => keyspace.rootAt(revision) };
}

export function applyPut(leases: LeaseLookup, txn: WriteTxn, request: PutRequest): Outcome<PutResult> {
  const { key, value = NO_VALUE, lease = 0n, ignoreValue, ignoreLease } = request;
  if (lease !== 0n && !leases.has(lease)) return ERRORS.leaseNotFound;
  const before = find(txn.root, key);
  const mustExist = ignoreValue === true || ignoreLease === true;
  if (mustExist && before === undefined) return ERRORS.keyNotFound;
  txn.put(
    key,
    ignoreValue === true && before !== undefined ? before.value : value,
    ignoreLease === true && before !== undefined ? before.lease : lease,
  );
  return { type: 'put', revision: txn.revision, prevKv: request.prevKv === true ? before : undefined };
}

export function applyDelete(txn: WriteTxn, request: DeleteRangeRequest): DeleteRangeResult {
  const gone = txn.deleteRange(keyRange(request.key, request.rangeEnd));
  return {
    type: 'deleteRange',
    revision: txn.revision,
    deleted: gone.length,
    prevKvs: request.prevKv === true ? gone : [],
  };
}
