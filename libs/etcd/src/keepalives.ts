import type { ChannelCredentials, ClientDuplexStream } from '@grpc/grpc-js';
import type { Instant, LeaseId } from '@xylem/membership';
import { etcd } from '@xylem/wire';
import { CHANNEL_OPTIONS, EndpointRing } from './endpoints.ts';
import type { Endpoint } from './endpoints.ts';

export interface KeepalivesOptions {
  readonly endpoints: readonly Endpoint[];
  readonly credentials: ChannelCredentials;
  readonly now: () => Instant;
  /** `sentAt`: when the keepalive that is acknowledged was given to the connection. `ttlMs` 0: no such lease. */
  readonly onKeptAlive: (lease: LeaseId, sentAt: Instant, ttlMs: number) => void;
}

interface Connection {
  readonly client: InstanceType<typeof etcd.LeaseClient>;
  readonly call: ClientDuplexStream<etcd.LeaseKeepAliveRequest, etcd.LeaseKeepAliveResponse>;
  /** Keepalives not acknowledged yet, oldest first. etcd answers those of one stream in order. */
  readonly awaited: Map<LeaseId, Instant[]>;
  readonly endpoint: number;
}

/** An answer that took longer is not waited for: the stream is given up and the next endpoint tried. */
const PATIENCE_MS = 1_500;
const RETRY_MS = 100;
const CHECK_MS = 250;

/** One LeaseKeepAlive stream for all leases, on a connection of its own. What a broken stream owed is sent again on the next. */
export class Keepalives {
  readonly #options: KeepalivesOptions;
  readonly #ring: EndpointRing;
  #connection: Connection | undefined;
  #retry: NodeJS.Timeout | undefined;
  #check: NodeJS.Timeout | undefined;
  /** To be sent when there is a stream again. */
  readonly #owed = new Set<LeaseId>();
  #closed = false;

  constructor(options: KeepalivesOptions) {
    this.#options = options;
    this.#ring = new EndpointRing(options.endpoints);
  }

  send(lease: LeaseId): void {
    if (this.#closed) return;
    if (this.#retry !== undefined) {
      this.#owed.add(lease);
      return;
    }
    const connection = (this.#connection ??= this.#connect());
    const now = this.#options.now();
    const awaited = connection.awaited.get(lease);
    if (awaited === undefined) connection.awaited.set(lease, [now]);
    else awaited.push(now);
    connection.call.write({ ID: lease });
    this.#check ??= setInterval(() => this.#giveUpSilent(), CHECK_MS);
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    clearInterval(this.#check);
    this.#disconnect();
  }

  #connect(): Connection {
    const client = new etcd.LeaseClient(this.#ring.current.target, this.#options.credentials, CHANNEL_OPTIONS);
    const call = client.leaseKeepAlive();
    const connection: Connection = { client, call, awaited: new Map(), endpoint: this.#ring.index };
    call.on('data', (response: etcd.LeaseKeepAliveResponse) => this.#acknowledged(connection, response));
    call.on('error', () => this.#broken(connection));
    call.on('end', () => this.#broken(connection));
    return connection;
  }

  #acknowledged(connection: Connection, response: etcd.LeaseKeepAliveResponse): void {
    const awaited = connection.awaited.get(response.ID);
    const sentAt = awaited?.shift();
    if (awaited?.length === 0) connection.awaited.delete(response.ID);
    if (sentAt === undefined || connection !== this.#connection) return;
    this.#options.onKeptAlive(response.ID, sentAt, Number(response.TTL) * 1_000);
  }

  #giveUpSilent(): void {
    const connection = this.#connection;
    if (connection === undefined) return;
    const limit = this.#options.now() - PATIENCE_MS;
    for (const [oldest] of connection.awaited.values()) {
      if (oldest !== undefined && oldest <= limit) return this.#broken(connection);
    }
  }

  #broken(connection: Connection): void {
    if (connection !== this.#connection || this.#closed) return;
    for (const lease of connection.awaited.keys()) this.#owed.add(lease);
    this.#ring.failed(connection.endpoint);
    this.#disconnect();
    this.#retry = setTimeout(() => this.#reconnect(), RETRY_MS);
  }

  #reconnect(): void {
    this.#retry = undefined;
    const owed = [...this.#owed];
    this.#owed.clear();
    for (const lease of owed) this.send(lease);
  }

  #disconnect(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    if (connection === undefined) return;
    connection.call.cancel();
    connection.client.close();
  }
}
