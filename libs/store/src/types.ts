import type { Key } from './bytes.ts';

/** Milliseconds on a monotonic clock whose zero means nothing. Never goes backwards. */
export type Instant = number;

/** Chance as an argument; every draw names its site. */
export interface Random {
  /** A number in [0, 1). */
  next(site: string): number;
}

/** One key as it was written at one revision. Never changes; identity tells two writes apart. */
export interface KeyValue {
  readonly key: Key;
  readonly value: Uint8Array;
  /** Revision that made the key after it did not exist. */
  readonly createRevision: bigint;
  /** Revision of this write. */
  readonly modRevision: bigint;
  /** Position of this write among the writes of its revision, from 0. */
  readonly sub: number;
  /** 1 for a new key. */
  readonly version: bigint;
  /** 0n: none. */
  readonly lease: bigint;
}

/** A key that ceased to be. */
export interface Tombstone {
  readonly key: Key;
  readonly modRevision: bigint;
  readonly sub: number;
}

/** One write; the writes of a revision are in order of `sub`. */
export type StoreEvent =
  | { readonly type: 'put'; readonly kv: KeyValue }
  | { readonly type: 'delete'; readonly kv: Tombstone };

export type SortTarget = 'key' | 'version' | 'create' | 'mod' | 'value';

export interface RangeRequest {
  readonly key: Key;
  /** Exclusive end; FROM_KEY: no end. Default: the one key. */
  readonly rangeEnd?: Key;
  /** Default, and anything below 1: now. */
  readonly revision?: bigint;
  /** Default, and anything below 1: no limit. */
  readonly limit?: number;
  readonly sortOrder?: 'none' | 'ascend' | 'descend';
  readonly sortTarget?: SortTarget;
  readonly keysOnly?: boolean;
  readonly countOnly?: boolean;
  readonly minModRevision?: bigint;
  readonly maxModRevision?: bigint;
  readonly minCreateRevision?: bigint;
  readonly maxCreateRevision?: bigint;
}

export interface RangeResult {
  readonly type: 'range';
  /** The store's newest revision when this was read. */
  readonly revision: bigint;
  readonly kvs: readonly KeyValue[];
  /** The limit left keys out. */
  readonly more: boolean;
  /** Keys in the range, whatever limit and revision bounds say. */
  readonly count: number;
}

export interface PutRequest {
  readonly key: Key;
  /** Default: empty. */
  readonly value?: Uint8Array;
  readonly lease?: bigint;
  readonly prevKv?: boolean;
  readonly ignoreValue?: boolean;
  readonly ignoreLease?: boolean;
}

export interface PutResult {
  readonly type: 'put';
  readonly revision: bigint;
  readonly prevKv: KeyValue | undefined;
}

export interface DeleteRangeRequest {
  readonly key: Key;
  readonly rangeEnd?: Key;
  readonly prevKv?: boolean;
}

export interface DeleteRangeResult {
  readonly type: 'deleteRange';
  readonly revision: bigint;
  readonly deleted: number;
  readonly prevKvs: readonly KeyValue[];
}

export type CompareTarget =
  | { readonly type: 'version' | 'create' | 'mod' | 'lease'; readonly operand: bigint }
  | { readonly type: 'value'; readonly operand: Uint8Array };

/** True when the stored value is `result` to the operand; over a range, for every key in it. */
export interface Compare {
  readonly key: Key;
  readonly rangeEnd?: Key;
  readonly result: 'equal' | 'notEqual' | 'greater' | 'less';
  readonly target: CompareTarget;
}

export type RequestOp =
  | { readonly type: 'range'; readonly request: RangeRequest }
  | { readonly type: 'put'; readonly request: PutRequest }
  | { readonly type: 'deleteRange'; readonly request: DeleteRangeRequest }
  | { readonly type: 'txn'; readonly request: TxnRequest };

export interface TxnRequest {
  /** Default: none, which holds. */
  readonly compare?: readonly Compare[];
  readonly success?: readonly RequestOp[];
  readonly failure?: readonly RequestOp[];
}

export interface TxnResult {
  readonly type: 'txn';
  /** 0n for a nested transaction, as etcd has it. */
  readonly revision: bigint;
  readonly succeeded: boolean;
  readonly responses: readonly OpResult[];
}

export type OpResult = RangeResult | PutResult | DeleteRangeResult | TxnResult;

/** What has to be written down so that a store can be made again; in the order in which it happened. */
export type StoreChange =
  | { readonly type: 'committed'; readonly revision: bigint; readonly events: readonly StoreEvent[] }
  | { readonly type: 'leaseGranted'; readonly id: bigint; readonly ttlSeconds: bigint }
  | { readonly type: 'leaseEnded'; readonly id: bigint }
  /** `dropped` are writes that no read or watch can reach any more. */
  | { readonly type: 'compacted'; readonly revision: bigint; readonly dropped: readonly WriteId[] };

/** Names one write for ever. */
export interface WriteId {
  readonly modRevision: bigint;
  readonly sub: number;
}
