import type { ClientDuplexStream, MethodDefinition } from '@grpc/grpc-js';
import { Client, Metadata, credentials } from '@grpc/grpc-js';
import { etcd } from '@xylem/wire';
import type { mvcc } from '@xylem/wire';

const DEADLINE_MS = 10_000;

/** What a call came to: an answer, or a gRPC status. */
export type Reply<T> = { readonly ok: T } | { readonly code: number; readonly details: string };

/** Bytes from one character per byte. */
export function bytes(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}

/** The answer; a refusal throws. */
export function must<T>(reply: Reply<T>): T {
  if ('ok' in reply) return reply.ok;
  throw new Error(`${reply.code} ${reply.details}`);
}

/** etcd's API as promises, on a connection of its own. */
export class EtcdClient {
  readonly #client: Client;

  constructor(address: string) {
    this.#client = new Client(address, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.max_receive_message_length': -1,
      'grpc.initial_reconnect_backoff_ms': 20,
      'grpc.max_reconnect_backoff_ms': 100,
    });
  }

  range(request: Partial<etcd.RangeRequest>): Promise<Reply<etcd.RangeResponse>> {
    return this.#call(etcd.KVService.range, { ...etcd.RangeRequest.create(), ...request });
  }

  put(request: Partial<etcd.PutRequest>): Promise<Reply<etcd.PutResponse>> {
    return this.#call(etcd.KVService.put, { ...etcd.PutRequest.create(), ...request });
  }

  deleteRange(request: Partial<etcd.DeleteRangeRequest>): Promise<Reply<etcd.DeleteRangeResponse>> {
    return this.#call(etcd.KVService.deleteRange, { ...etcd.DeleteRangeRequest.create(), ...request });
  }

  txn(request: Partial<etcd.TxnRequest>): Promise<Reply<etcd.TxnResponse>> {
    return this.#call(etcd.KVService.txn, { ...etcd.TxnRequest.create(), ...request });
  }

  compact(revision: bigint): Promise<Reply<etcd.CompactionResponse>> {
    return this.#call(etcd.KVService.compact, { revision, physical: false });
  }

  leaseGrant(TTL: bigint, ID = 0n): Promise<Reply<etcd.LeaseGrantResponse>> {
    return this.#call(etcd.LeaseService.leaseGrant, { TTL, ID });
  }

  leaseRevoke(ID: bigint): Promise<Reply<etcd.LeaseRevokeResponse>> {
    return this.#call(etcd.LeaseService.leaseRevoke, { ID });
  }

  leaseTimeToLive(ID: bigint, keys = false): Promise<Reply<etcd.LeaseTimeToLiveResponse>> {
    return this.#call(etcd.LeaseService.leaseTimeToLive, { ID, keys });
  }

  leases(): Promise<Reply<etcd.LeaseLeasesResponse>> {
    return this.#call(etcd.LeaseService.leaseLeases, {});
  }

  status(): Promise<Reply<etcd.StatusResponse>> {
    return this.#call(etcd.MaintenanceService.status, {});
  }

  members(): Promise<Reply<etcd.MemberListResponse>> {
    return this.#call(etcd.ClusterService.memberList, { linearizable: true });
  }

  alarms(): Promise<Reply<etcd.AlarmResponse>> {
    return this.#call(etcd.MaintenanceService.alarm, etcd.AlarmRequest.create());
  }

  keepAliveStream(): MessageReader<etcd.LeaseKeepAliveRequest, etcd.LeaseKeepAliveResponse> {
    return new MessageReader(this.#open(etcd.LeaseService.leaseKeepAlive));
  }

  watchStream(): WatchReader {
    return new WatchReader(this.#open(etcd.WatchService.watch));
  }

  close(): void {
    this.#client.close();
  }

  #call<Request, Response>(
    { path, requestSerialize, responseDeserialize }: MethodDefinition<Request, Response>,
    request: Request,
  ): Promise<Reply<Response>> {
    const options = { deadline: Date.now() + DEADLINE_MS };
    const { promise, resolve } = Promise.withResolvers<Reply<Response>>();
    this.#client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      new Metadata(),
      options,
      (error, response) => {
        if (response !== undefined) resolve({ ok: response });
        else resolve({ code: error?.code ?? -1, details: error?.details ?? '' });
      },
    );
    return promise;
  }

  #open<Request, Response>(method: MethodDefinition<Request, Response>): ClientDuplexStream<Request, Response> {
    return this.#client.makeBidiStreamRequest(method.path, method.requestSerialize, method.responseDeserialize);
  }
}

/** One duplex call: messages are awaited one by one; a wait ends with an error when the call does, or after 10 s. */
export class MessageReader<Request, Response> {
  readonly stream: ClientDuplexStream<Request, Response>;
  readonly #arrived: Response[] = [];
  #waiter: (() => void) | undefined;
  #error: Error | undefined;

  constructor(stream: ClientDuplexStream<Request, Response>) {
    this.stream = stream;
    stream.on('data', (message: Response) => {
      this.#arrived.push(message);
      this.#waiter?.();
    });
    stream.on('error', (error) => this.#fail(error));
    stream.on('end', () => this.#fail(new Error('the stream ended')));
  }

  async next(): Promise<Response> {
    for (;;) {
      const message = this.#arrived.shift();
      if (message !== undefined) return message;
      if (this.#error !== undefined) throw this.#error;
      await this.#arrival();
    }
  }

  cancel(): void {
    this.stream.cancel();
  }

  #arrival(): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('no message within 10 s')), DEADLINE_MS);
      this.#waiter = () => {
        clearTimeout(timer);
        this.#waiter = undefined;
        resolve();
      };
    });
  }

  #fail(error: Error): void {
    this.#error ??= error;
    this.#waiter?.();
  }
}

/** A watch stream, its messages sorted by watch. */
export class WatchReader extends MessageReader<etcd.WatchRequest, etcd.WatchResponse> {
  readonly #later: etcd.WatchResponse[] = [];

  /** Asks for a watch and answers with the server's first word on it. */
  async create(request: Partial<etcd.WatchCreateRequest>): Promise<etcd.WatchResponse> {
    const value = { ...etcd.WatchCreateRequest.create(), ...request };
    this.stream.write({ requestUnion: { $case: 'createRequest', value } });
    return this.#nextWhere((response) => response.created);
  }

  drop(watchId: bigint): void {
    this.stream.write({ requestUnion: { $case: 'cancelRequest', value: { watchId } } });
  }

  askProgress(): void {
    this.stream.write({ requestUnion: { $case: 'progressRequest', value: {} } });
  }

  /** The next message for that watch; -1n: for none. */
  nextOf(watchId: bigint): Promise<etcd.WatchResponse> {
    return this.#nextWhere((response) => !response.created && response.watchId === watchId);
  }

  /** Events of a watch up to the one of `lastRevision`; fewer when the watch is cancelled. */
  async eventsUpTo(watchId: bigint, lastRevision: bigint): Promise<readonly mvcc.Event[]> {
    const events: mvcc.Event[] = [];
    for (;;) {
      const response = await this.nextOf(watchId);
      events.push(...response.events);
      if (response.fragment) continue;
      if (response.canceled || (events.at(-1)?.kv?.modRevision ?? 0n) >= lastRevision) return events;
    }
  }

  async #nextWhere(wanted: (response: etcd.WatchResponse) => boolean): Promise<etcd.WatchResponse> {
    const index = this.#later.findIndex(wanted);
    const [kept] = index < 0 ? [] : this.#later.splice(index, 1);
    if (kept !== undefined) return kept;
    for (;;) {
      const response = await this.next();
      if (wanted(response)) return response;
      this.#later.push(response);
    }
  }
}
