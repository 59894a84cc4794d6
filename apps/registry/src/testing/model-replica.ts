import { DEFAULT_REGISTRY_CONFIG, isSessionId, RegistryCore } from '@xylem/membership';
import type {
  RegistryConfig,
  RegistryEffect,
  RegistryEvent,
  SessionId,
  SessionReply,
  StoreOperation,
  StoreOutcome,
} from '@xylem/membership';
import type { WatchId } from '@xylem/store';
import type { ModelStore } from './model-store.ts';

/** A request on its way: executed at a moment of the test's choice, answered at another, or never. */
export interface Flight {
  readonly replica: ModelReplica;
  /** Of the replica, when it was sent. */
  readonly life: number;
  readonly operation: number;
  readonly request: StoreOperation;
  readonly deadline: number;
  /** What executing it gave. */
  outcome: StoreOutcome | undefined;
  /** The replica was told something, true or not. */
  answered: boolean;
}

/** A keepalive on its way. */
export interface Beat {
  readonly replica: ModelReplica;
  readonly life: number;
  readonly lease: bigint;
  readonly sentAt: number;
}

/** The far end of a session, as the replica's shell sees it. */
export interface SessionPeer {
  deliver(message: SessionReply): void;
  ended(): void;
}

/** One registry replica whose surroundings are driven step by step. */
export class ModelReplica {
  readonly name: string;
  readonly flights: Flight[] = [];
  readonly beats: Beat[] = [];
  readonly #store: ModelStore;
  readonly #config: Partial<RegistryConfig>;
  readonly #peers = new Map<SessionId, SessionPeer>();
  #core: RegistryCore | undefined;
  #watch: { readonly id: WatchId; readonly watch: number; opened: boolean } | undefined;
  /** Counts lives: what was sent in an earlier one is not answered. */
  life = 0;
  #sessions = 0;

  constructor(name: string, store: ModelStore, config: Partial<RegistryConfig>) {
    this.name = name;
    this.#store = store;
    this.#config = config;
  }

  get running(): boolean {
    return this.#core !== undefined;
  }

  get core(): RegistryCore | undefined {
    return this.#core;
  }

  start(now: number): void {
    this.life += 1;
    const boot = `${this.name}-${this.life}`;
    const config = { ...DEFAULT_REGISTRY_CONFIG, registry: this.name, boot, storeName: 'model', ...this.#config };
    this.#core = new RegistryCore(config, now);
    this.#perform(now);
  }

  crash(): void {
    this.#core = undefined;
    this.#watch = undefined;
    this.life += 1;
    const peers = [...this.#peers.values()];
    this.#peers.clear();
    for (const peer of peers) peer.ended();
  }

  open(proxy: string, peer: SessionPeer, now: number): SessionId {
    this.#sessions += 1;
    const session = `${this.life}.${this.#sessions}`;
    if (!isSessionId(session)) throw new Error('no session id');
    this.#peers.set(session, peer);
    this.handle(
      { type: 'sessionOpened', session, identity: { kind: 'proxy', proxy }, address: `${proxy}:1`, since: 'now' },
      now,
    );
    return session;
  }

  closeSession(session: SessionId, now: number): void {
    if (this.#peers.delete(session)) this.handle({ type: 'sessionClosed', session }, now);
  }

  /** No word reaches the far end any more, and the replica does not know. */
  cutOff(session: SessionId): void {
    if (this.#peers.has(session)) this.#peers.set(session, { deliver: () => undefined, ended: () => undefined });
  }

  handle(event: RegistryEvent, now: number): void {
    this.#core?.handle(event, now);
    this.#perform(now);
  }

  answer(flight: Flight, outcome: StoreOutcome, now: number): void {
    flight.answered = true;
    if (flight.life === this.life) this.handle({ type: 'storeReplied', operation: flight.operation, outcome }, now);
  }

  /** Hands on what the watch has; false when there was nothing. */
  pumpWatch(now: number): boolean {
    const open = this.#watch;
    if (open === undefined) return false;
    if (!open.opened) {
      open.opened = true;
      this.handle({ type: 'watchOpened', watch: open.watch }, now);
      return true;
    }
    const read = this.#store.readWatch(open.id);
    if (read === undefined) return false;
    if (read.kind === 'compacted') {
      this.#watch = undefined;
      this.handle({ type: 'watchCompacted', watch: open.watch }, now);
    } else {
      this.handle({ type: 'watchAdvanced', watch: open.watch, events: read.events, revision: read.revision }, now);
    }
    return true;
  }

  breakWatch(now: number): void {
    const open = this.#watch;
    if (open === undefined) return;
    this.#watch = undefined;
    this.handle({ type: 'watchLost', watch: open.watch, detail: 'broken' }, now);
  }

  #perform(now: number): void {
    const closing: SessionId[] = [];
    for (let effect = this.#core?.pollEffect(); effect !== undefined; effect = this.#core?.pollEffect()) {
      this.#run(effect, now, closing);
    }
    for (const session of closing) {
      const peer = this.#peers.get(session);
      this.#peers.delete(session);
      peer?.ended();
      this.handle({ type: 'sessionClosed', session }, now);
    }
  }

  #run(effect: RegistryEffect, now: number, closing: SessionId[]): void {
    switch (effect.type) {
      case 'send':
        return this.#peers.get(effect.session)?.deliver(effect.message);
      case 'closeSession':
        closing.push(effect.session);
        return;
      case 'request': {
        const { operation, request, timeoutMs } = effect;
        const common = { replica: this, life: this.life, operation, request, deadline: now + timeoutMs };
        this.flights.push({ ...common, outcome: undefined, answered: false });
        return;
      }
      case 'keepAlive':
        this.beats.push({ replica: this, life: this.life, lease: effect.lease, sentAt: now });
        return;
      case 'openWatch':
        this.#watch = { id: this.#store.watch(effect.fromRevision), watch: effect.watch, opened: false };
        return;
      case 'closeWatch':
        this.#watch = undefined;
        return;
      case 'report':
      case 'stopped':
        return;
    }
  }
}
