/** gRPC status codes that the store's errors carry. */
export type StatusCode = 3 | 5 | 8 | 9 | 11;

/** A request that cannot be done, as etcd words it. Returned, never thrown: it is the answer to that request. */
export class StoreError extends Error {
  readonly code: StatusCode;

  constructor(code: StatusCode, message: string) {
    super(message);
    this.name = 'StoreError';
    this.code = code;
  }
}

/** An answer, or the reason why there is none. */
export type Outcome<T> = T | StoreError;

const INVALID_ARGUMENT = 3;
const NOT_FOUND = 5;
const RESOURCE_EXHAUSTED = 8;
const FAILED_PRECONDITION = 9;
const OUT_OF_RANGE = 11;

/** Texts and codes are etcd's (its package rpctypes): clients compare them. */
export const ERRORS = {
  emptyKey: new StoreError(INVALID_ARGUMENT, 'etcdserver: key is not provided'),
  keyNotFound: new StoreError(INVALID_ARGUMENT, 'etcdserver: key not found'),
  valueProvided: new StoreError(INVALID_ARGUMENT, 'etcdserver: value is provided'),
  leaseProvided: new StoreError(INVALID_ARGUMENT, 'etcdserver: lease is provided'),
  tooManyOps: new StoreError(INVALID_ARGUMENT, 'etcdserver: too many operations in txn request'),
  duplicateKey: new StoreError(INVALID_ARGUMENT, 'etcdserver: duplicate key given in txn request'),
  invalidSortOption: new StoreError(INVALID_ARGUMENT, 'etcdserver: invalid sort option'),
  requestTooLarge: new StoreError(INVALID_ARGUMENT, 'etcdserver: request is too large'),
  leaseNotFound: new StoreError(NOT_FOUND, 'etcdserver: requested lease not found'),
  noSpace: new StoreError(RESOURCE_EXHAUSTED, 'etcdserver: mvcc: database space exceeded'),
  leaseExists: new StoreError(FAILED_PRECONDITION, 'etcdserver: lease already exists'),
  compacted: new StoreError(OUT_OF_RANGE, 'etcdserver: mvcc: required revision has been compacted'),
  futureRevision: new StoreError(OUT_OF_RANGE, 'etcdserver: mvcc: required revision is a future revision'),
  leaseTtlTooLarge: new StoreError(OUT_OF_RANGE, 'etcdserver: too large lease TTL'),
  /** A watch's cancel reason, not a status. */
  emptyWatchRange: new StoreError(INVALID_ARGUMENT, 'mvcc: watcher range is empty'),
} as const;
