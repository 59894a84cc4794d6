import type { Compare as CoreCompare, KeyValue, StoreFailure, TxnStep } from '@xylem/membership';
import { ERRORS, key } from '@xylem/store';
import type { Compare, KeyValue as StoredKeyValue, OpResult, RequestOp, StoreError } from '@xylem/store';

/** The registry's records are ASCII (JSON over checked names), so a character is a byte. */
function toBytes(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

export function fromStored(kv: StoredKeyValue): KeyValue {
  const { createRevision, modRevision, lease } = kv;
  return { key: kv.key, value: String.fromCharCode(...kv.value), createRevision, modRevision, lease };
}

export function toCompare(compare: CoreCompare): Compare {
  const target =
    compare.target === 'value'
      ? ({ type: 'value', operand: toBytes(compare.equals) } as const)
      : ({ type: compare.target, operand: compare.equals } as const);
  return { key: key(compare.key), result: 'equal', target };
}

export function toRequestOp(step: TxnStep): RequestOp {
  switch (step.type) {
    case 'get':
      return { type: 'range', request: { key: key(step.key) } };
    case 'put':
      return { type: 'put', request: { key: key(step.key), value: toBytes(step.value), lease: step.lease } };
    case 'delete':
      return { type: 'deleteRange', request: { key: key(step.key) } };
  }
}

export function fromResponse(response: OpResult): KeyValue | undefined {
  const found = response.type === 'range' ? response.kvs[0] : undefined;
  return found === undefined ? undefined : fromStored(found);
}

export function failureOf(error: StoreError): StoreFailure {
  if (error === ERRORS.leaseNotFound) return 'lease-not-found';
  if (error === ERRORS.compacted) return 'compacted';
  if (error === ERRORS.noSpace) return 'no-space';
  return 'refused';
}
