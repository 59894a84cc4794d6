import type { sendUnaryData } from '@grpc/grpc-js';
import { ERRORS, StoreError } from '@xylem/store';
import type { Instant, Outcome, Store } from '@xylem/store';
import type { etcd } from '@xylem/wire';
import { fromDelete, fromPut, fromRange, fromTxn, toDelete, toPut, toRange, toTxn } from './convert.ts';
import type { HeaderOf } from './convert.ts';
import { StorageError } from './engine.ts';
import type { Engine } from './engine.ts';
import { toServiceError } from './streams.ts';

/** etcd's bound on one request: 1.5 MiB. */
export const MAX_REQUEST_BYTES = 1_572_864;

/** Runs one operation and answers with its encoded result or its error. */
export function answer<T, Response>(
  engine: Engine,
  callback: sendUnaryData<Response>,
  operation: (store: Store, now: Instant) => Outcome<T>,
  encode: (result: T) => Response,
): void {
  engine.execute(operation, (result) => {
    if (result instanceof StoreError || result instanceof StorageError) callback(toServiceError(result));
    else callback(null, encode(result));
  });
}

export function kvHandlers(engine: Engine, headerOf: HeaderOf): etcd.KVServer {
  return {
    range: ({ request }, callback) => {
      const range = toRange(request);
      answer(
        engine,
        callback,
        (store) => (range instanceof StoreError ? range : store.range(range)),
        (result) => fromRange(result, headerOf),
      );
    },
    put: ({ request }, callback) => {
      answer(
        engine,
        callback,
        (store, now) => tooLarge(request.value.length + request.key.length) ?? store.put(toPut(request), now),
        (result) => fromPut(result, headerOf),
      );
    },
    deleteRange: ({ request }, callback) => {
      answer(
        engine,
        callback,
        (store, now) => store.deleteRange(toDelete(request), now),
        (result) => fromDelete(result, headerOf),
      );
    },
    txn: ({ request }, callback) => {
      const txn = toTxn(request);
      answer(
        engine,
        callback,
        (store, now) => tooLarge(putBytes(request)) ?? (txn instanceof StoreError ? txn : store.txn(txn, now)),
        (result) => fromTxn(result, headerOf),
      );
    },
    compact: ({ request }, callback) => {
      answer(
        engine,
        callback,
        (store, now) => store.compact(request.revision, now),
        (revision) => ({ header: headerOf(revision) }),
      );
    },
  };
}

function tooLarge(bytes: number): StoreError | undefined {
  return bytes > MAX_REQUEST_BYTES ? ERRORS.requestTooLarge : undefined;
}

function putBytes(txn: etcd.TxnRequest): number {
  let bytes = 0;
  for (const { request } of [...txn.success, ...txn.failure]) {
    if (request?.$case === 'requestPut') bytes += request.value.key.length + request.value.value.length;
    if (request?.$case === 'requestTxn') bytes += putBytes(request.value);
  }
  return bytes;
}
