import { compareBytes, keyRange } from './bytes.ts';
import { ERRORS, StoreError } from './errors.ts';
import type { Outcome } from './errors.ts';
import { count, list } from './tree.ts';
import type { Tree } from './tree.ts';
import type { KeyValue, RangeRequest, RangeResult, SortTarget } from './types.ts';

const NO_VALUE = new Uint8Array(0);

/** What a read needs to know of the store it reads. */
export interface ReadView {
  readonly root: Tree;
  readonly revision: bigint;
  rootAt(revision: bigint): Outcome<Tree>;
}

/** Checks that need no keys. */
export function checkRange(request: RangeRequest): StoreError | undefined {
  return request.key === '' ? ERRORS.emptyKey : undefined;
}

/** Reads a range, in etcd's order of work: limit, bounds, sorting, limit again, keys only. */
export function readRange(view: ReadView, request: RangeRequest): Outcome<RangeResult> {
  const revision = request.revision ?? 0n;
  const root = revision <= 0n ? view.root : view.rootAt(revision);
  if (root instanceof StoreError) return root;
  const range = keyRange(request.key, request.rangeEnd);
  const result = { type: 'range', revision: view.revision, count: count(root, range) } as const;
  if (request.countOnly === true) return { ...result, kvs: [], more: false };

  const limit = request.limit !== undefined && request.limit > 0 ? request.limit : Infinity;
  const order = request.sortOrder ?? 'none';
  // One more than the limit, to know whether there is more. Sorting and bounds have to see every key first; sorting by
  // something else than the key in no stated order sorts only what the limit left, as etcd does.
  const all = list(root, range, order === 'none' && !isBounded(request) ? limit + 1 : Infinity);
  const bounded = isBounded(request) ? all.filter((kv) => withinBounds(kv, request)) : all;
  const sorted = sort(bounded, order, request.sortTarget ?? 'key');
  const kvs = sorted.length > limit ? sorted.slice(0, limit) : sorted;
  return {
    ...result,
    kvs: request.keysOnly === true ? kvs.map((kv) => ({ ...kv, value: NO_VALUE })) : kvs,
    more: sorted.length > limit,
  };
}

function isBounded(request: RangeRequest): boolean {
  return (
    isSet(request.minModRevision) ||
    isSet(request.maxModRevision) ||
    isSet(request.minCreateRevision) ||
    isSet(request.maxCreateRevision)
  );
}

function isSet(bound: bigint | undefined): bound is bigint {
  return bound !== undefined && bound !== 0n;
}

function withinBounds(kv: KeyValue, request: RangeRequest): boolean {
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = request;
  return (
    !(isSet(minModRevision) && kv.modRevision < minModRevision) &&
    !(isSet(maxModRevision) && kv.modRevision > maxModRevision) &&
    !(isSet(minCreateRevision) && kv.createRevision < minCreateRevision) &&
    !(isSet(maxCreateRevision) && kv.createRevision > maxCreateRevision)
  );
}

function sort(kvs: KeyValue[], order: 'none' | 'ascend' | 'descend', target: SortTarget): KeyValue[] {
  if (order !== 'descend' && target === 'key') return kvs;
  const direction = order === 'descend' ? -1 : 1;
  return [...kvs].sort((left, right) => direction * compareBy(target, left, right));
}

function compareBy(target: SortTarget, left: KeyValue, right: KeyValue): number {
  switch (target) {
    case 'key':
      return compare(left.key, right.key);
    case 'version':
      return compare(left.version, right.version);
    case 'create':
      return compare(left.createRevision, right.createRevision);
    case 'mod':
      return compare(left.modRevision, right.modRevision);
    case 'value':
      return compareBytes(left.value, right.value);
  }
}

export function compare<T extends bigint | string>(left: T, right: T): number {
  return left < right ? -1 : left > right ? 1 : 0;
}
