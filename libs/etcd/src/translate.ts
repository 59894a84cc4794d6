import type { Compare, KeyValue, StoreEvent, StoreHeader, TxnOperation, TxnResult, TxnStep } from '@xylem/membership';
import type { mvcc } from '@xylem/wire';
import type { ICompare, IKeyValue, IRequestOp, IResponseHeader, ITxnRequest, ITxnResponse } from 'etcd3';

/** Between the core's operations and etcd's messages. Keys and values are UTF-8. */

export function txnRequest(txn: TxnOperation): ITxnRequest {
  return {
    compare: txn.compares.map(compareRequest),
    success: txn.success.map(stepRequest),
    failure: txn.failure.map(stepRequest),
  };
}

export function txnResult(response: ITxnResponse): TxnResult {
  return {
    type: 'txn',
    succeeded: response.succeeded,
    steps: response.responses.map((step) => {
      const [kv] = step.response_range?.kvs ?? [];
      return kv === undefined ? undefined : keyValue(kv);
    }),
  };
}

export function header(value: IResponseHeader): StoreHeader {
  return { cluster: BigInt(value.cluster_id), revision: BigInt(value.revision), term: BigInt(value.raft_term) };
}

export function keyValue(kv: IKeyValue): KeyValue {
  return {
    key: kv.key.toString(),
    value: kv.value.toString(),
    createRevision: BigInt(kv.create_revision),
    modRevision: BigInt(kv.mod_revision),
    lease: BigInt(kv.lease),
  };
}

/** undefined for an event without a key, which etcd never sends. */
export function storeEvent(event: mvcc.Event): StoreEvent | undefined {
  const { kv } = event;
  if (kv === undefined) return undefined;
  const key = kv.key.toString();
  if (event.type === 1) return { type: 'delete', key, modRevision: kv.modRevision };
  const { createRevision, modRevision, lease } = kv;
  return { type: 'put', kv: { key, value: kv.value.toString(), createRevision, modRevision, lease } };
}

function compareRequest(compare: Compare): ICompare {
  const key = Buffer.from(compare.key);
  switch (compare.target) {
    case 'create':
      return { key, result: 'Equal', target: 'Create', create_revision: compare.equals.toString() };
    case 'mod':
      return { key, result: 'Equal', target: 'Mod', mod_revision: compare.equals.toString() };
    case 'value':
      return { key, result: 'Equal', target: 'Value', value: Buffer.from(compare.equals) };
  }
}

function stepRequest(step: TxnStep): IRequestOp {
  const key = Buffer.from(step.key);
  switch (step.type) {
    case 'get':
      return { request_range: { key } };
    case 'put':
      return { request_put: { key, value: Buffer.from(step.value), lease: step.lease.toString() } };
    case 'delete':
      return { request_delete_range: { key } };
  }
}
