import type { ServerDuplexStream } from '@grpc/grpc-js';
import { StoreError } from '@xylem/store';
import type { WatchBatch, WatchId } from '@xylem/store';
import { etcd } from '@xylem/wire';
import { fromEvent, toWatch } from './convert.ts';
import type { HeaderOf } from './convert.ts';
import { StorageError } from './engine.ts';
import type { Engine } from './engine.ts';
import { toServiceError } from './streams.ts';
import type { OpenStreams } from './streams.ts';

/** Events are read from the store in pieces of about this many bytes; grpc-js takes 16 messages before it asks to wait. */
const PIECE_BYTES = 256 * 1024;
/** Watches of one stream; a request for one more is refused. */
const MAX_WATCHES = 10_000;
/** etcd's id for answers that belong to no watch. */
const NO_WATCH = -1n;
const DUPLICATE_ID = 'mvcc: duplicate watch ID provided on the WatchStream';
const TOO_MANY = 'etcdserver: too many watches on one stream';

interface Watch {
  readonly id: WatchId;
  readonly wireId: bigint;
  readonly progressNotify: boolean;
  /** Something was sent since the last look at the progress. */
  busy: boolean;
}

type WatchCall = ServerDuplexStream<etcd.WatchRequest, etcd.WatchResponse>;

export function watchHandlers(
  engine: Engine,
  headerOf: HeaderOf,
  streams: OpenStreams,
  progressIntervalMs: number,
): etcd.WatchServer {
  return {
    watch: (call) => {
      streams.add(call);
      new WatchStream(engine, headerOf, call).start(progressIntervalMs);
    },
  };
}

/**
 * One client's stream of watches. Nothing is queued for it here: while the client does not read, its watches keep their places in
 * the store's history and no request is taken; when compaction passes such a place, the watch is cancelled.
 */
class WatchStream {
  readonly #engine: Engine;
  readonly #headerOf: HeaderOf;
  readonly #call: WatchCall;
  readonly #watches = new Map<bigint, Watch>();
  /** Watches with something to read, in the order in which they got it. */
  readonly #readable = new Set<Watch>();
  #nextWireId = 0n;
  #progressAsked = false;
  #blocked = false;
  #closed = false;

  constructor(engine: Engine, headerOf: HeaderOf, call: WatchCall) {
    this.#engine = engine;
    this.#headerOf = headerOf;
    this.#call = call;
  }

  start(progressIntervalMs: number): void {
    const call = this.#call;
    const timer = setInterval(() => this.#tellProgress(), progressIntervalMs).unref();
    const close = (): void => {
      clearInterval(timer);
      this.#close();
    };
    call.on('data', (message: etcd.WatchRequest) => this.#inOrder(() => this.#handle(message)));
    call.on('drain', () => this.#unblock());
    call.on('cancelled', close);
    call.on('close', close);
    call.on('error', close);
    // The client asks for nothing more and may still be reading; it ends the call by cancelling it, as etcd's clients do.
    call.on('end', () => {
      if (this.#watches.size > 0) return;
      close();
      call.end();
    });
  }

  /** After everything the store did before is kept, so that no answer gets ahead of it. */
  #inOrder(action: () => void): void {
    this.#engine.execute(
      () => undefined,
      (failure) => {
        if (this.#closed) return;
        if (failure instanceof StorageError) this.#fail(failure);
        else action();
      },
    );
  }

  #fail(failure: StorageError): void {
    this.#close();
    this.#call.emit('error', toServiceError(failure));
  }

  #handle({ requestUnion }: etcd.WatchRequest): void {
    switch (requestUnion?.$case) {
      case 'createRequest':
        return this.#create(requestUnion.value);
      case 'cancelRequest':
        return this.#cancel(requestUnion.value.watchId);
      case 'progressRequest':
        this.#progressAsked = true;
        return this.#pump();
      case undefined: // nothing asked
    }
  }

  #create(request: etcd.WatchCreateRequest): void {
    if (this.#watches.size >= MAX_WATCHES) return this.#refuse(TOO_MANY);
    if (request.watchId !== 0n && this.#watches.has(request.watchId)) return this.#refuse(DUPLICATE_ID);
    const { store } = this.#engine;
    const id = store.createWatch(toWatch(request));
    if (id instanceof StoreError) return this.#refuse(id.message);
    const wireId = request.watchId === 0n ? this.#freeWireId() : request.watchId;
    const watch: Watch = { id, wireId, progressNotify: request.progressNotify, busy: false };
    this.#watches.set(wireId, watch);
    this.#send({ watchId: wireId, created: true }, store.revision);
    this.#engine.follow(id, () => {
      this.#readable.add(watch);
      this.#pump();
    });
  }

  #refuse(cancelReason: string): void {
    this.#send({ watchId: NO_WATCH, created: true, canceled: true, cancelReason }, this.#engine.store.revision);
  }

  #freeWireId(): bigint {
    while (this.#watches.has(this.#nextWireId)) this.#nextWireId += 1n;
    const id = this.#nextWireId;
    this.#nextWireId += 1n;
    return id;
  }

  #cancel(wireId: bigint): void {
    const watch = this.#watches.get(wireId);
    if (watch === undefined) return;
    this.#forget(watch);
    this.#send({ watchId: wireId, canceled: true }, this.#engine.store.revision);
  }

  #forget(watch: Watch): void {
    this.#watches.delete(watch.wireId);
    this.#readable.delete(watch);
    this.#engine.unfollow(watch.id);
  }

  /** Sends while the client reads: a piece of each readable watch in turn. */
  #pump(): void {
    while (!this.#blocked && !this.#closed) {
      const [watch] = this.#readable;
      if (watch === undefined) break;
      this.#readable.delete(watch);
      const batch = this.#engine.store.readWatch(watch.id, PIECE_BYTES);
      if (batch === undefined) continue;
      this.#readable.add(watch);
      this.#sendBatch(watch, batch);
    }
    this.#answerProgress();
  }

  #sendBatch(watch: Watch, batch: WatchBatch): void {
    if (batch.type === 'compacted') {
      this.#forget(watch);
      this.#send({ watchId: watch.wireId, canceled: true, compactRevision: batch.compactRevision }, 0n);
      return;
    }
    watch.busy = true;
    const { revision, fragment, events } = batch;
    this.#send({ watchId: watch.wireId, fragment, events: events.map(fromEvent) }, revision);
  }

  /** Promises that everything up to the revision was sent; so only once it was. */
  #answerProgress(): void {
    if (!this.#progressAsked || this.#blocked || this.#closed) return;
    for (const watch of this.#watches.values()) {
      if (!this.#engine.store.isWatchInStep(watch.id)) return;
    }
    this.#progressAsked = false;
    this.#send({ watchId: NO_WATCH }, this.#engine.store.revision);
  }

  #tellProgress(): void {
    this.#inOrder(() => {
      for (const watch of this.#watches.values()) {
        const idle = !watch.busy && watch.progressNotify && this.#engine.store.isWatchInStep(watch.id);
        watch.busy = false;
        if (idle && !this.#blocked) this.#send({ watchId: watch.wireId }, this.#engine.store.revision);
      }
    });
  }

  #send(fields: Partial<etcd.WatchResponse>, revision: bigint): void {
    if (this.#closed) return;
    const wrote = this.#call.write({ ...etcd.WatchResponse.create(), ...fields, header: this.#headerOf(revision) });
    if (wrote || this.#blocked) return;
    this.#blocked = true;
    this.#call.pause();
  }

  #unblock(): void {
    this.#blocked = false;
    this.#call.resume();
    this.#pump();
  }

  #close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const watch of this.#watches.values()) this.#engine.unfollow(watch.id);
    this.#watches.clear();
    this.#readable.clear();
  }
}
