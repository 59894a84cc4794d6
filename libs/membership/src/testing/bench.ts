import assert from 'node:assert/strict';
import { isSessionId } from '../ids.ts';
import type { SessionId } from '../ids.ts';
import type { SessionReply, SessionRequest, Stamp } from '../messages.ts';
import { RegistryCore } from '../registry-core.ts';
import type { StoreOperation, StoreOutcome } from '../store.ts';
import { DEFAULT_REGISTRY_CONFIG } from '../types.ts';
import type { CloseReason, RegistryConfig, RegistryEffect, RegistryEvent, RegistryReport } from '../types.ts';
import { TinyStore } from './tiny-store.ts';

/** One root proxy's end of a session. */
export class TestSession {
  readonly id: SessionId;
  readonly sent: SessionReply[] = [];
  closed: CloseReason | undefined;
  readonly #bench: Bench;

  constructor(bench: Bench, id: SessionId) {
    this.#bench = bench;
    this.id = id;
  }

  say(message: SessionRequest): void {
    this.#bench.handle({ type: 'messageReceived', session: this.id, message });
  }

  hello(proxy: string, nonce: string, newestStamp?: Stamp): this {
    this.say({
      type: 'hello',
      minVersion: 1,
      maxVersion: 1,
      proxy,
      instanceNonce: nonce,
      peerAddress: 'h:1',
      tunnelAddress: 'h:2',
      generation: 0,
      software: 'test',
      incarnation: 0n,
      newestStamp,
    });
    return this;
  }

  acquire(request: bigint, leaf: string, nonce = `${leaf}-${request}`): void {
    this.say({ type: 'acquire', request, leaf, slot: 0, agent: 'a', nonce });
  }

  /** The messages of one type so far. */
  all<T extends SessionReply['type']>(type: T): readonly Extract<SessionReply, { readonly type: T }>[] {
    return this.sent.filter((reply): reply is Extract<SessionReply, { readonly type: T }> => reply.type === type);
  }

  /** The only message of its type so far. */
  only<T extends SessionReply['type']>(type: T): Extract<SessionReply, { readonly type: T }> {
    const all = this.all(type);
    assert.equal(all.length, 1, `one ${type} among: ${this.sent.map((reply) => reply.type).join(', ')}`);
    const [first] = all;
    assert.ok(first !== undefined);
    return first;
  }
}

/** A core with a store that answers at once, unless `answering` or `watching` says otherwise, and a clock that stands. */
export class Bench {
  readonly store: TinyStore;
  readonly core: RegistryCore;
  readonly reports: RegistryReport[] = [];
  /** Operations that were not answered. */
  readonly waiting: { readonly operation: number; readonly request: StoreOperation }[] = [];
  readonly keepAlives: { readonly lease: bigint; readonly sentAt: number }[] = [];
  answering = true;
  keepingAlive = true;
  watching = true;
  stopped = false;
  now = 0;
  #watch: number | undefined;
  #next = 1n;
  readonly #sessions = new Map<SessionId, TestSession>();

  constructor(config: Partial<RegistryConfig> = {}, store = new TinyStore()) {
    this.store = store;
    this.core = new RegistryCore(
      { ...DEFAULT_REGISTRY_CONFIG, registry: 'r1', boot: 'boot', storeName: 'store', ...config },
      this.now,
    );
    this.#settle();
  }

  open(identity = 'p1'): TestSession {
    const id = `s${this.#sessions.size + 1}`;
    assert.ok(isSessionId(id));
    const session = new TestSession(this, id);
    this.#sessions.set(id, session);
    this.handle({
      type: 'sessionOpened',
      session: id,
      identity: { kind: 'proxy', proxy: identity },
      address: 'a:1',
      since: 'now',
    });
    return session;
  }

  /** A session past its welcome. */
  attach(proxy: string, nonce = `${proxy}-nonce`): TestSession {
    const session = this.open(proxy).hello(proxy, nonce);
    session.only('welcome');
    return session;
  }

  handle(event: RegistryEvent): void {
    this.core.handle(event, this.now);
    this.#settle();
  }

  /** Lets time go by, waking the core whenever it asked for it. */
  pass(ms: number): void {
    const until = this.now + ms;
    for (let at = this.core.nextTimeout(); at !== undefined && at <= until; at = this.core.nextTimeout()) {
      this.now = Math.max(this.now, at);
      this.handle({ type: 'timeout' });
    }
    this.now = until;
  }

  /** Time goes by while this process does not run. */
  pause(ms: number): void {
    this.now += ms;
    this.handle({ type: 'timeout' });
  }

  /** Answers the operation that waits longest. */
  answer(outcome?: StoreOutcome): void {
    const waiting = this.waiting.shift();
    assert.ok(waiting !== undefined, 'an operation waits');
    this.handle({
      type: 'storeReplied',
      operation: waiting.operation,
      outcome: outcome ?? this.store.execute(waiting.request),
    });
  }

  /** Hands on what the watch has. */
  pumpWatch(): void {
    for (let next = this.store.events.shift(); next !== undefined; next = this.store.events.shift()) {
      if (this.#watch !== undefined && next.revision >= this.#next && next.events.length > 0) {
        this.core.handle(
          { type: 'watchAdvanced', watch: this.#watch, events: next.events, revision: next.revision },
          this.now,
        );
        this.#perform();
      }
    }
  }

  #settle(): void {
    this.#perform();
    while (this.watching && this.store.events.length > 0) this.pumpWatch();
  }

  #perform(): void {
    for (let effect = this.core.pollEffect(); effect !== undefined; effect = this.core.pollEffect()) this.#run(effect);
  }

  #run(effect: RegistryEffect): void {
    switch (effect.type) {
      case 'send':
        this.#sessions.get(effect.session)?.sent.push(effect.message);
        return;
      case 'closeSession':
        return this.#close(effect.session, effect.reason);
      case 'request':
        if (!this.answering) return void this.waiting.push(effect);
        return this.core.handle(
          { type: 'storeReplied', operation: effect.operation, outcome: this.store.execute(effect.request) },
          this.now,
        );
      case 'keepAlive': {
        const { lease } = effect;
        this.keepAlives.push({ lease, sentAt: this.now });
        if (!this.keepingAlive) return;
        const ttlMs = this.store.leases.has(lease) ? 10_000 : 0;
        return this.core.handle({ type: 'leaseKeptAlive', lease, sentAt: this.now, ttlMs }, this.now);
      }
      case 'openWatch':
        this.#watch = effect.watch;
        this.#next = effect.fromRevision;
        return this.core.handle({ type: 'watchOpened', watch: effect.watch }, this.now);
      case 'closeWatch':
        this.#watch = undefined;
        return;
      case 'report':
        this.reports.push(effect.report);
        return;
      case 'stopped':
        this.stopped = true;
        return;
    }
  }

  #close(id: SessionId, reason: CloseReason): void {
    const session = this.#sessions.get(id);
    if (session === undefined) return;
    session.closed = reason;
    this.core.handle({ type: 'sessionClosed', session: id }, this.now);
  }
}
