import { ERRORS, StoreError, key } from '@xylem/store';
import type {
  Compare,
  CompareTarget,
  DeleteRangeRequest,
  Key,
  KeyValue,
  OpResult,
  Outcome,
  PutRequest,
  RangeRequest,
  RequestOp,
  SortTarget,
  TxnRequest,
  WatchEvent,
  WatchRequest,
} from '@xylem/store';
import { etcd, mvcc } from '@xylem/wire';

/** Messages of etcd's API to requests of the store, and its answers back. No decisions but which fields mean what. */

const NO_BYTES = Buffer.alloc(0);
const ZERO_KEY = key('\0');

function toKey(bytes: Buffer): Key {
  return key(bytes.toString('latin1'));
}

export function fromKey(text: Key): Buffer {
  return Buffer.from(text, 'latin1');
}

/** A copy of its own: decoded messages share pooled memory, which a value that stays would hold on to. */
function toValue(bytes: Buffer): Uint8Array {
  return new Uint8Array(bytes);
}

function fromValue(value: Uint8Array): Buffer {
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
}

const SORT_ORDERS = new Map<number, 'none' | 'ascend' | 'descend'>([
  [etcd.RangeRequest_SortOrder.NONE, 'none'],
  [etcd.RangeRequest_SortOrder.ASCEND, 'ascend'],
  [etcd.RangeRequest_SortOrder.DESCEND, 'descend'],
]);

const SORT_TARGETS = new Map<number, SortTarget>([
  [etcd.RangeRequest_SortTarget.KEY, 'key'],
  [etcd.RangeRequest_SortTarget.VERSION, 'version'],
  [etcd.RangeRequest_SortTarget.CREATE, 'create'],
  [etcd.RangeRequest_SortTarget.MOD, 'mod'],
  [etcd.RangeRequest_SortTarget.VALUE, 'value'],
]);

export function toRange(message: etcd.RangeRequest): Outcome<RangeRequest> {
  const sortOrder = SORT_ORDERS.get(message.sortOrder);
  const sortTarget = SORT_TARGETS.get(message.sortTarget);
  if (sortOrder === undefined || sortTarget === undefined) return ERRORS.invalidSortOption;
  return {
    key: toKey(message.key),
    rangeEnd: toKey(message.rangeEnd),
    revision: message.revision,
    limit: Number(message.limit),
    sortOrder,
    sortTarget,
    keysOnly: message.keysOnly,
    countOnly: message.countOnly,
    minModRevision: message.minModRevision,
    maxModRevision: message.maxModRevision,
    minCreateRevision: message.minCreateRevision,
    maxCreateRevision: message.maxCreateRevision,
  };
}

export function toPut(message: etcd.PutRequest): PutRequest {
  const { lease, prevKv, ignoreValue, ignoreLease } = message;
  return { key: toKey(message.key), value: toValue(message.value), lease, prevKv, ignoreValue, ignoreLease };
}

export function toDelete(message: etcd.DeleteRangeRequest): DeleteRangeRequest {
  return { key: toKey(message.key), rangeEnd: toKey(message.rangeEnd), prevKv: message.prevKv };
}

export function toTxn(message: etcd.TxnRequest): Outcome<TxnRequest> {
  const compare = allOf(message.compare.map(toCompare));
  const success = allOf(message.success.map(toOp));
  const failure = allOf(message.failure.map(toOp));
  if (compare instanceof StoreError) return compare;
  if (success instanceof StoreError) return success;
  return failure instanceof StoreError ? failure : { compare, success, failure };
}

function allOf<T>(outcomes: readonly Outcome<T>[]): Outcome<readonly T[]> {
  const values: T[] = [];
  for (const outcome of outcomes) {
    if (outcome instanceof StoreError) return outcome;
    values.push(outcome);
  }
  return values;
}

/** etcd answers keyNotFound to an operation that names none. */
function toOp({ request }: etcd.RequestOp): Outcome<RequestOp> {
  switch (request?.$case) {
    case undefined:
      return ERRORS.keyNotFound;
    case 'requestRange': {
      const range = toRange(request.value);
      return range instanceof StoreError ? range : { type: 'range', request: range };
    }
    case 'requestPut':
      return { type: 'put', request: toPut(request.value) };
    case 'requestDeleteRange':
      return { type: 'deleteRange', request: toDelete(request.value) };
    case 'requestTxn': {
      const txn = toTxn(request.value);
      return txn instanceof StoreError ? txn : { type: 'txn', request: txn };
    }
  }
}

const COMPARE_RESULTS = new Map<number, Compare['result']>([
  [etcd.Compare_CompareResult.EQUAL, 'equal'],
  [etcd.Compare_CompareResult.GREATER, 'greater'],
  [etcd.Compare_CompareResult.LESS, 'less'],
  [etcd.Compare_CompareResult.NOT_EQUAL, 'notEqual'],
]);

const INVALID_COMPARE = new StoreError(3, 'etcdserver: unknown compare target or result');

function toCompare(message: etcd.Compare): Outcome<Compare> {
  const result = COMPARE_RESULTS.get(message.result);
  const target = toTarget(message);
  if (result === undefined || target === undefined) return INVALID_COMPARE;
  return { key: toKey(message.key), rangeEnd: toKey(message.rangeEnd), result, target };
}

/** An operand of another kind than the target reads as 0 or empty, as etcd has it. */
function toTarget({ target, targetUnion }: etcd.Compare): CompareTarget | undefined {
  switch (target) {
    case etcd.Compare_CompareTarget.VERSION:
      return { type: 'version', operand: targetUnion?.$case === 'version' ? targetUnion.value : 0n };
    case etcd.Compare_CompareTarget.CREATE:
      return { type: 'create', operand: targetUnion?.$case === 'createRevision' ? targetUnion.value : 0n };
    case etcd.Compare_CompareTarget.MOD:
      return { type: 'mod', operand: targetUnion?.$case === 'modRevision' ? targetUnion.value : 0n };
    case etcd.Compare_CompareTarget.VALUE:
      return { type: 'value', operand: targetUnion?.$case === 'value' ? targetUnion.value : NO_BYTES };
    case etcd.Compare_CompareTarget.LEASE:
      return { type: 'lease', operand: targetUnion?.$case === 'lease' ? targetUnion.value : 0n };
    default:
      return undefined; // an enum number that this version does not know
  }
}

/** An empty key watches from the least key on, as in etcd. */
export function toWatch(message: etcd.WatchCreateRequest): WatchRequest {
  return {
    key: message.key.length === 0 ? ZERO_KEY : toKey(message.key),
    rangeEnd: toKey(message.rangeEnd),
    startRevision: message.startRevision,
    noPut: message.filters.includes(etcd.WatchCreateRequest_FilterType.NOPUT),
    noDelete: message.filters.includes(etcd.WatchCreateRequest_FilterType.NODELETE),
    prevKv: message.prevKv,
    fragment: message.fragment,
  };
}

function fromKeyValue(kv: KeyValue): mvcc.KeyValue {
  const { createRevision, modRevision, version, lease } = kv;
  return { key: fromKey(kv.key), value: fromValue(kv.value), createRevision, modRevision, version, lease };
}

export function fromEvent(event: WatchEvent): mvcc.Event {
  const prevKv = event.prevKv && fromKeyValue(event.prevKv);
  if (event.type === 'put') return { type: mvcc.Event_EventType.PUT, kv: fromKeyValue(event.kv), prevKv };
  const kv = mvcc.KeyValue.create({ key: fromKey(event.kv.key), modRevision: event.kv.modRevision });
  return { type: mvcc.Event_EventType.DELETE, kv, prevKv };
}

/** Makes the header of an answer: of a whole answer, or of one operation's inside a transaction. */
export type HeaderOf = (revision: bigint) => etcd.ResponseHeader;

const nestedHeader: HeaderOf = (revision) => ({ clusterId: 0n, memberId: 0n, revision, raftTerm: 0n });

export function fromRange(result: Extract<OpResult, { type: 'range' }>, headerOf: HeaderOf): etcd.RangeResponse {
  const { revision, kvs, more, count } = result;
  return { header: headerOf(revision), kvs: kvs.map(fromKeyValue), more, count: BigInt(count) };
}

export function fromPut(result: Extract<OpResult, { type: 'put' }>, headerOf: HeaderOf): etcd.PutResponse {
  return { header: headerOf(result.revision), prevKv: result.prevKv && fromKeyValue(result.prevKv) };
}

export function fromDelete(
  result: Extract<OpResult, { type: 'deleteRange' }>,
  headerOf: HeaderOf,
): etcd.DeleteRangeResponse {
  const { revision, deleted, prevKvs } = result;
  return { header: headerOf(revision), deleted: BigInt(deleted), prevKvs: prevKvs.map(fromKeyValue) };
}

export function fromTxn(result: Extract<OpResult, { type: 'txn' }>, headerOf: HeaderOf): etcd.TxnResponse {
  const { revision, succeeded, responses } = result;
  return { header: headerOf(revision), succeeded, responses: responses.map(fromOp) };
}

function fromOp(result: OpResult): etcd.ResponseOp {
  switch (result.type) {
    case 'range':
      return { response: { $case: 'responseRange', value: fromRange(result, nestedHeader) } };
    case 'put':
      return { response: { $case: 'responsePut', value: fromPut(result, nestedHeader) } };
    case 'deleteRange':
      return { response: { $case: 'responseDeleteRange', value: fromDelete(result, nestedHeader) } };
    case 'txn':
      return { response: { $case: 'responseTxn', value: fromTxn(result, nestedHeader) } };
  }
}
