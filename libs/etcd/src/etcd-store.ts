import type { ChannelCredentials } from '@grpc/grpc-js';
import { PREFIX, PREFIX_END } from '@xylem/membership';
import type { Instant, LeaseId, RegistryEvent, StoreOperation, StoreOutcome } from '@xylem/membership';
import { channelCredentials, EndpointRing, parseEndpoints } from './endpoints.ts';
import type { Endpoint, EtcdTls } from './endpoints.ts';
import { Keepalives } from './keepalives.ts';
import { StoreRequests } from './requests.ts';
import { StoreWatch } from './watch.ts';
import type { KeyRange } from './watch.ts';

/** Membership and claims. */
const REGISTRY_KEYS: KeyRange = { start: PREFIX, end: PREFIX_END };

/** What the store tells on its own. */
export type EtcdEvent = Extract<
  RegistryEvent,
  { readonly type: 'leaseKeptAlive' | 'watchOpened' | 'watchAdvanced' | 'watchCompacted' | 'watchLost' }
>;

export interface EtcdOptions {
  /** `http://host:port` or `https://host:port`; several members of one cluster are tried in turn. */
  readonly endpoints: readonly string[];
  /** For https; undefined: the system's authorities and no client certificate. */
  readonly tls?: EtcdTls;
  /** What is watched. Default: membership and claims. */
  readonly watched?: KeyRange;
  /** Monotonic. */
  readonly now: () => Instant;
  readonly onEvent: (event: EtcdEvent) => void;
}

/** Runs the core's store operations, keepalives and watch against etcd or anything that speaks its API. */
export interface EtcdStore {
  /** Never rejects; answers within the time and a little. */
  run(operation: StoreOperation, timeoutMs: number): Promise<StoreOutcome>;
  keepAlive(lease: LeaseId): void;
  /** Replaces the watch that is open, if any. */
  openWatch(watch: number, fromRevision: bigint): void;
  /** No events of this watch any more. */
  closeWatch(watch: number): void;
  /** No events of any kind any more. Idempotent. */
  close(): void;
}

/** Throws a RangeError for an endpoint that is none. Connects at the first use. */
export function createEtcdStore(options: EtcdOptions): EtcdStore {
  return new Store(options, parseEndpoints(options.endpoints));
}

class Store implements EtcdStore {
  readonly #options: EtcdOptions;
  readonly #credentials: ChannelCredentials;
  readonly #requests: StoreRequests;
  readonly #keepalives: Keepalives;
  readonly #watchRing: EndpointRing;
  #watch: { readonly id: number; readonly stream: StoreWatch } | undefined;

  constructor(options: EtcdOptions, endpoints: readonly Endpoint[]) {
    const { now, onEvent } = options;
    this.#options = options;
    this.#credentials = channelCredentials(endpoints, options.tls);
    this.#requests = new StoreRequests(endpoints, options.tls);
    this.#watchRing = new EndpointRing(endpoints);
    this.#keepalives = new Keepalives({
      endpoints,
      credentials: this.#credentials,
      now,
      onKeptAlive: (lease, sentAt, ttlMs) => onEvent({ type: 'leaseKeptAlive', lease, sentAt, ttlMs }),
    });
  }

  run(operation: StoreOperation, timeoutMs: number): Promise<StoreOutcome> {
    return this.#requests.run(operation, timeoutMs);
  }

  keepAlive(lease: LeaseId): void {
    this.#keepalives.send(lease);
  }

  openWatch(watch: number, fromRevision: bigint): void {
    this.#watch?.stream.close();
    const { now, onEvent, watched = REGISTRY_KEYS } = this.#options;
    const endpoint = this.#watchRing.index;
    const stream = new StoreWatch({
      endpoint: this.#watchRing.current,
      credentials: this.#credentials,
      fromRevision,
      keys: watched,
      now,
      onOpened: () => onEvent({ type: 'watchOpened', watch }),
      onEvents: (events, revision) => onEvent({ type: 'watchAdvanced', watch, events, revision }),
      onEnded: (end) => {
        if (this.#watch?.id === watch) this.#watch = undefined;
        if (end.kind === 'compacted') return onEvent({ type: 'watchCompacted', watch });
        this.#watchRing.failed(endpoint);
        return onEvent({ type: 'watchLost', watch, detail: end.detail });
      },
    });
    this.#watch = { id: watch, stream };
  }

  closeWatch(watch: number): void {
    if (this.#watch?.id !== watch) return;
    this.#watch.stream.close();
    this.#watch = undefined;
  }

  close(): void {
    this.#watch?.stream.close();
    this.#watch = undefined;
    this.#keepalives.close();
    this.#requests.close();
  }
}
