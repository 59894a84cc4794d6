import { Metadata } from '@grpc/grpc-js';
import type { ChannelCredentials, ClientDuplexStream, ServiceError } from '@grpc/grpc-js';
import type { Instant, StoreEvent } from '@xylem/membership';
import { etcd } from '@xylem/wire';
import type { mvcc } from '@xylem/wire';
import { CHANNEL_OPTIONS } from './endpoints.ts';
import type { Endpoint } from './endpoints.ts';
import { storeEvent } from './translate.ts';

export interface WatchOptions {
  readonly endpoint: Endpoint;
  readonly credentials: ChannelCredentials;
  readonly fromRevision: bigint;
  readonly keys: KeyRange;
  readonly now: () => Instant;
  readonly onOpened: () => void;
  /** Whole revisions only, up to `revision`. */
  readonly onEvents: (events: readonly StoreEvent[], revision: bigint) => void;
  /** Exactly once, unless `close` comes first. */
  readonly onEnded: (end: { readonly kind: 'compacted' } | { readonly kind: 'lost'; readonly detail: string }) => void;
}

/** Keys in [start, end). */
export interface KeyRange {
  readonly start: string;
  readonly end: string;
}

/** Nothing heard for so long: ask for progress. */
const QUIET_MS = 1_000;
/** Nothing heard for so long, though asked: the store is gone or stands still. */
const DEAD_MS = 3_000;
const CHECK_MS = 500;

/**
 * One watch on a range of keys, on a connection of its own. Ends at the first sign of trouble: going on is the core's
 * decision. Progress is asked for and heard as a sign of life only: etcd before 3.4.25 may tell of progress ahead of events.
 */
export class StoreWatch {
  readonly #options: WatchOptions;
  readonly #client: InstanceType<typeof etcd.WatchClient>;
  readonly #call: ClientDuplexStream<etcd.WatchRequest, etcd.WatchResponse>;
  readonly #check: NodeJS.Timeout;
  #heardAt: Instant;
  #askedAt: Instant;
  /** Parts of an answer that etcd split. */
  #parts: mvcc.Event[] = [];
  #ended = false;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#heardAt = this.#askedAt = options.now();
    this.#client = new etcd.WatchClient(options.endpoint.target, options.credentials, CHANNEL_OPTIONS);
    const metadata = new Metadata();
    // A member that lost its leader ends the stream instead of going quiet.
    metadata.set('hasleader', 'true');
    this.#call = this.#client.watch(metadata);
    this.#call.on('data', (response: etcd.WatchResponse) => this.#received(response));
    this.#call.on('error', (error: ServiceError) => this.#end({ kind: 'lost', detail: error.message }));
    this.#call.on('end', () => this.#end({ kind: 'lost', detail: 'the store ended the watch' }));
    this.#call.write(createRequest(options));
    this.#check = setInterval(() => this.#checkAlive(), CHECK_MS);
  }

  /** Ends it without a word. Idempotent. */
  close(): void {
    this.#ended = true;
    clearInterval(this.#check);
    this.#call.cancel();
    this.#client.close();
  }

  #received(response: etcd.WatchResponse): void {
    if (this.#ended) return;
    this.#heardAt = this.#options.now();
    if (response.compactRevision !== 0n) return this.#end({ kind: 'compacted' });
    if (response.canceled)
      return this.#end({ kind: 'lost', detail: response.cancelReason || 'the store cancelled the watch' });
    if (response.created) this.#options.onOpened();
    if (response.events.length === 0) return;
    this.#parts.push(...response.events);
    if (response.fragment) return;
    const events = this.#parts.flatMap((event) => storeEvent(event) ?? []);
    this.#parts = [];
    const last = events.at(-1);
    if (last !== undefined)
      this.#options.onEvents(events, last.type === 'put' ? last.kv.modRevision : last.modRevision);
  }

  #checkAlive(): void {
    const now = this.#options.now();
    if (now - this.#heardAt > DEAD_MS) return this.#end({ kind: 'lost', detail: `nothing heard for ${DEAD_MS} ms` });
    if (now - this.#heardAt < QUIET_MS || now - this.#askedAt < QUIET_MS) return;
    this.#askedAt = now;
    this.#call.write({ requestUnion: { $case: 'progressRequest', value: {} } });
  }

  #end(end: Parameters<WatchOptions['onEnded']>[0]): void {
    if (this.#ended) return;
    this.close();
    this.#options.onEnded(end);
  }
}

function createRequest({ keys, fromRevision }: WatchOptions): etcd.WatchRequest {
  return {
    requestUnion: {
      $case: 'createRequest',
      value: {
        key: Buffer.from(keys.start),
        rangeEnd: Buffer.from(keys.end),
        startRevision: fromRevision,
        progressNotify: true,
        filters: [],
        prevKv: false,
        watchId: 0n,
        fragment: true,
      },
    },
  };
}
