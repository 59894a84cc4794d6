import { etcd } from '@xylem/wire';
import { EtcdClient, bytes, must } from './client.ts';
import type { MessageReader, Reply, WatchReader } from './client.ts';
import type {
  CompareOperand,
  KeyOperation,
  Operation,
  RangeOperation,
  TxnOperation,
  WatchOperation,
} from './operations.ts';

/** Leases of a run have the ids 101 to 104. */
const LEASE_BASE = 100n;
const EVERY_KEY = { key: bytes('\0'), rangeEnd: bytes('\0') };
/** Stays through a run, so that the compaction before it does not fall on a removal, where etcd 3.4 forgets too much. */
const ANCHOR = bytes('~anchor');

interface OpenWatch {
  readonly operation: WatchOperation;
  readonly watchId: bigint;
}

/**
 * One server in a run of operations. Revisions are told relative to the run's start, so that runs compare whatever happened
 * before them.
 */
export class Run {
  #client: EtcdClient;
  #keepAlives: MessageReader<etcd.LeaseKeepAliveRequest, etcd.LeaseKeepAliveResponse>;
  #watches: WatchReader;
  #open: OpenWatch[] = [];
  #base = 0n;
  #compacted = 0n;

  constructor(address: string) {
    this.#client = new EtcdClient(address);
    this.#keepAlives = this.#client.keepAliveStream();
    this.#watches = this.#client.watchStream();
  }

  /** Goes on with a server that was started again; no watch may be open. */
  reconnect(address: string): void {
    this.close();
    this.#client = new EtcdClient(address);
    this.#keepAlives = this.#client.keepAliveStream();
    this.#watches = this.#client.watchStream();
  }

  close(): void {
    this.#watches.cancel();
    this.#keepAlives.cancel();
    this.#client.close();
  }

  /** No keys but the anchor, leases 1 and 2, no history, no watches. */
  async reset(): Promise<void> {
    this.#watches.cancel();
    this.#watches = this.#client.watchStream();
    this.#open = [];
    for (const { ID } of must(await this.#client.leases()).leases) must(await this.#client.leaseRevoke(ID));
    must(await this.#client.deleteRange(EVERY_KEY));
    for (const lease of [1, 2]) must(await this.#client.leaseGrant(1_000n, leaseId(lease)));
    this.#base = must(await this.#client.put({ key: ANCHOR })).header?.revision ?? 0n;
    this.#compacted = this.#base;
    must(await this.#client.compact(this.#base));
  }

  /** Does one operation; answers what it came to, as comparable text. */
  async perform(operation: Operation): Promise<string> {
    switch (operation.type) {
      case 'range':
        return this.#text(await this.#client.range(this.#range(operation)));
      case 'put':
      case 'delete':
      case 'txn':
        return this.#text(await this.#write(operation));
      case 'compact':
        return this.#compact(operation.revision);
      case 'grant':
        return this.#text(await this.#client.leaseGrant(BigInt(operation.ttl), leaseId(operation.lease)));
      case 'revoke':
        return this.#text(await this.#client.leaseRevoke(leaseId(operation.lease)));
      case 'keepAlive':
        this.#keepAlives.stream.write({ ID: leaseId(operation.lease) });
        return this.#text({ ok: await this.#keepAlives.next() });
      case 'timeToLive':
        return this.#timeToLive(operation.lease);
      case 'leases': {
        const ids = must(await this.#client.leases()).leases.map(({ ID }) => ID.toString());
        return ids.sort().join(' ');
      }
      case 'watch':
        return this.#watch(operation);
    }
  }

  /**
   * Ends the open watches after all that they have to tell: each is given a last put and a last removal of its key, and is read
   * to there. Answers one text per watch.
   */
  async finishWatches(): Promise<readonly string[]> {
    const open = this.#open;
    this.#open = [];
    const ends: bigint[] = [];
    for (const { operation } of open) ends.push(await this.#lastRevisionOf(operation));
    const texts: string[] = [];
    for (const [index, { watchId }] of open.entries()) {
      const end = ends[index];
      if (end !== undefined && end > 0n) texts.push(await this.#collect(watchId, end));
      this.#watches.drop(watchId);
    }
    return texts;
  }

  /** Revision of the last event that the watch will tell; 0n when it tells none. */
  async #lastRevisionOf({ key, startRevision, noPut, noDelete }: WatchOperation): Promise<bigint> {
    if (noPut && noDelete) return 0n;
    const start = this.#absolute(startRevision);
    const own = bytes(key === '' ? '\0' : key);
    for (;;) {
      const written = must(await this.#client.put({ key: own, value: bytes('end') })).header?.revision ?? 0n;
      const removed = must(await this.#client.deleteRange({ key: own })).header?.revision ?? 0n;
      if (written >= start) return noDelete ? written : removed;
    }
  }

  async #collect(watchId: bigint, end: bigint): Promise<string> {
    const events: unknown[] = [];
    let newest = 0n;
    for (;;) {
      const response = await this.#watches.nextOf(watchId);
      if (response.canceled) return this.#text({ ok: { events, compactRevision: response.compactRevision } });
      const first = response.events[0]?.kv?.modRevision ?? 0n;
      if (first <= newest)
        throw new Error(`revision ${first} comes after ${newest}: a revision was divided or repeated`);
      newest = response.events.at(-1)?.kv?.modRevision ?? newest;
      if (newest > (response.header?.revision ?? 0n)) throw new Error('an event is newer than its header says');
      // What the watches finished after it bring may already be there.
      events.push(...response.events.filter(({ kv }) => (kv?.modRevision ?? 0n) <= end));
      if (newest >= end) return this.#text({ ok: { events } });
    }
  }

  async #watch(operation: WatchOperation): Promise<string> {
    const { key, rangeEnd, prevKv, noPut, noDelete } = operation;
    const { NOPUT, NODELETE } = etcd.WatchCreateRequest_FilterType;
    const start = this.#absolute(operation.startRevision);
    const response = await this.#watches.create({
      key: bytes(key),
      rangeEnd: bytes(rangeEnd),
      // etcd 3.4 forgets removals of the very revision it compacts to.
      startRevision: start === this.#compacted ? start + 1n : start,
      prevKv,
      filters: [...(noPut ? [NOPUT] : []), ...(noDelete ? [NODELETE] : [])],
    });
    if (!response.canceled) this.#open.push({ operation, watchId: response.watchId });
    return this.#text({ ok: response });
  }

  async #compact(revision: number): Promise<string> {
    const absolute = this.#absolute(revision);
    const reply = await this.#client.compact(absolute);
    if ('ok' in reply) this.#compacted = absolute;
    return this.#text(reply);
  }

  async #timeToLive(lease: number): Promise<string> {
    const { TTL, ...rest } = must(await this.#client.leaseTimeToLive(leaseId(lease), true));
    const keys = rest.keys.map((key) => key.toString('latin1')).sort();
    // A second may pass between the two servers.
    const left = rest.grantedTTL - TTL <= 2n ? 'nearly all' : TTL.toString();
    return this.#text({ ok: { ...rest, keys, left } });
  }

  #write(operation: Exclude<KeyOperation, RangeOperation>): Promise<Reply<unknown>> {
    const { request } = this.#op(operation);
    switch (request?.$case) {
      case 'requestPut':
        return this.#client.put(request.value);
      case 'requestDeleteRange':
        return this.#client.deleteRange(request.value);
      case 'requestTxn':
        return this.#client.txn(request.value);
      default:
        throw new TypeError('not a write');
    }
  }

  #op(operation: KeyOperation): etcd.RequestOp {
    switch (operation.type) {
      case 'range':
        return { request: { $case: 'requestRange', value: this.#range(operation) } };
      case 'put': {
        const { prevKv, ignoreValue, ignoreLease } = operation;
        const key = bytes(operation.key);
        const value = bytes(operation.value);
        const lease = operation.lease === 0 ? 0n : leaseId(operation.lease);
        return { request: { $case: 'requestPut', value: { key, value, lease, prevKv, ignoreValue, ignoreLease } } };
      }
      case 'delete': {
        const { prevKv } = operation;
        const value = { key: bytes(operation.key), rangeEnd: bytes(operation.rangeEnd), prevKv };
        return { request: { $case: 'requestDeleteRange', value } };
      }
      case 'txn':
        return { request: { $case: 'requestTxn', value: this.#txn(operation) } };
    }
  }

  #range({ bounds, ...operation }: RangeOperation): etcd.RangeRequest {
    const [minModRevision, maxModRevision, minCreateRevision, maxCreateRevision] = bounds;
    const { sortOrder, sortTarget, keysOnly, countOnly } = operation;
    return {
      ...{ sortOrder, sortTarget, keysOnly, countOnly, serializable: false },
      key: bytes(operation.key),
      rangeEnd: bytes(operation.rangeEnd),
      limit: BigInt(operation.limit),
      revision: this.#absolute(operation.revision),
      minModRevision: this.#absolute(minModRevision),
      maxModRevision: this.#absolute(maxModRevision),
      minCreateRevision: this.#absolute(minCreateRevision),
      maxCreateRevision: this.#absolute(maxCreateRevision),
    };
  }

  #txn({ compare, success, failure }: TxnOperation): etcd.TxnRequest {
    return {
      compare: compare.map((operand) => this.#compare(operand)),
      success: success.map((operation) => this.#op(operation)),
      failure: failure.map((operation) => this.#op(operation)),
    };
  }

  #compare({ target, result, ...operand }: CompareOperand): etcd.Compare {
    const base = { target, result, key: bytes(operand.key), rangeEnd: bytes(operand.rangeEnd) };
    const { VERSION, CREATE, MOD, VALUE } = etcd.Compare_CompareTarget;
    switch (target) {
      case VERSION:
        return { ...base, targetUnion: { $case: 'version', value: BigInt(operand.number) } };
      case CREATE:
        return { ...base, targetUnion: { $case: 'createRevision', value: this.#absolute(operand.number) } };
      case MOD:
        return { ...base, targetUnion: { $case: 'modRevision', value: this.#absolute(operand.number) } };
      case VALUE:
        return { ...base, targetUnion: { $case: 'value', value: bytes(operand.value) } };
      default:
        return { ...base, targetUnion: { $case: 'lease', value: leaseId(operand.number) } };
    }
  }

  #absolute(revision: number): bigint {
    return revision > 0 ? this.#base + BigInt(revision) : BigInt(revision);
  }

  #text(reply: Reply<unknown>): string {
    if (!('ok' in reply)) return `${reply.code} ${reply.details}`;
    return JSON.stringify(reply.ok, (name, value: unknown) => this.#comparable(name, value));
  }

  #comparable(name: string, value: unknown): unknown {
    if (IGNORED.has(name)) return undefined;
    if (typeof value === 'bigint') {
      return REVISIONS.has(name) && value > 0n ? `start+${value - this.#base}` : value.toString();
    }
    if (isSerialisedBuffer(value)) return Buffer.from(value.data).toString('latin1');
    return value;
  }
}

/** Say which server it is, not what it did. */
const IGNORED = new Set(['clusterId', 'memberId', 'raftTerm', '_unknownFields']);
const REVISIONS = new Set(['revision', 'createRevision', 'modRevision', 'compactRevision']);

function isSerialisedBuffer(value: unknown): value is { readonly data: number[] } {
  return typeof value === 'object' && value !== null && 'type' in value && value.type === 'Buffer' && 'data' in value;
}

function leaseId(lease: number): bigint {
  return LEASE_BASE + BigInt(lease);
}
