import type { LeaseId } from './ids.ts';

/**
 * Operations on an MVCC store (etcd's model) as data. Keys and values are text; every read outside a watch is
 * linearizable. The shell runs them and answers each with exactly one outcome.
 */
export type StoreOperation =
  | TxnOperation
  /** Keys in [key, end), newest when `revision` is 0n, otherwise as of that revision. In key order. */
  | {
      readonly type: 'range';
      readonly key: string;
      readonly end: string;
      readonly revision: bigint;
      /** Greatest number of keys in the answer. */
      readonly limit: number;
    }
  | { readonly type: 'leaseGrant'; readonly ttlMs: number }
  /** Deletes the lease and, in one revision, every key under it. */
  | { readonly type: 'leaseRevoke'; readonly lease: LeaseId };

export interface TxnOperation {
  readonly type: 'txn';
  readonly compares: readonly Compare[];
  readonly success: readonly TxnStep[];
  readonly failure: readonly TxnStep[];
}

/** An absent key has create and mod revision 0n and no value. */
export type Compare =
  | { readonly key: string; readonly target: 'create' | 'mod'; readonly equals: bigint }
  | { readonly key: string; readonly target: 'value'; readonly equals: string };

export type TxnStep =
  | { readonly type: 'get'; readonly key: string }
  | { readonly type: 'put'; readonly key: string; readonly value: string; readonly lease: LeaseId }
  | { readonly type: 'delete'; readonly key: string };

export interface KeyValue {
  readonly key: string;
  readonly value: string;
  readonly createRevision: bigint;
  readonly modRevision: bigint;
  readonly lease: LeaseId;
}

/** What every answer of the store says about itself. */
export interface StoreHeader {
  readonly cluster: bigint;
  readonly revision: bigint;
  readonly term: bigint;
}

export type StoreOutcome =
  | { readonly status: 'done'; readonly header: StoreHeader; readonly result: StoreResult }
  /** Certainly not executed. */
  | { readonly status: 'failed'; readonly cause: StoreFailure; readonly detail: string }
  /** May have been executed, or may still be. */
  | { readonly status: 'unknown'; readonly detail: string };

export type StoreFailure =
  | 'unavailable'
  | 'lease-not-found'
  /** The revision asked for was compacted. */
  | 'compacted'
  /** The store takes no writes until it is given space. */
  | 'no-space'
  /** The store understood and refused: credentials, limits, a malformed request. */
  | 'refused';

export type StoreResult =
  | TxnResult
  | { readonly type: 'range'; readonly kvs: readonly KeyValue[]; readonly more: boolean }
  | { readonly type: 'leaseGrant'; readonly lease: LeaseId; readonly ttlMs: number }
  | { readonly type: 'leaseRevoke' };

export interface TxnResult {
  readonly type: 'txn';
  readonly succeeded: boolean;
  /** One per step of the branch that ran: the key for a get that found one, otherwise undefined. */
  readonly steps: readonly (KeyValue | undefined)[];
}

/** One change seen by a watch. */
export type StoreEvent =
  | { readonly type: 'put'; readonly kv: KeyValue }
  | { readonly type: 'delete'; readonly key: string; readonly modRevision: bigint };
