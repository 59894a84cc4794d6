import { randomUUID } from 'node:crypto';
import { createEtcdStore } from '@xylem/etcd';
import type { EtcdOptions, EtcdStore } from '@xylem/etcd';
import { isSessionId, RegistryCore } from '@xylem/membership';
import type {
  CloseReason,
  RegistryConfig,
  RegistryEffect,
  RegistryEvent,
  RegistryReport,
  RegistryStatus,
  SessionId,
  SessionIdentity,
  SessionReply,
  Stamp,
  StoreOperation,
  StoreOutcome,
  ViewMember,
} from '@xylem/membership';

/** What the replica may do with the stream of a session. */
export interface SessionPort {
  /**
   * `statement`: what is signed about the members that a view or delta leads to; empty for other messages.
   * False: the other end does not keep up; call `flowing` when it does again.
   */
  send(message: SessionReply, statement: string): boolean;
  /** Ends the stream after what was sent. */
  close(reason: CloseReason, detail: string): void;
}

export interface ReplicaOptions {
  readonly config: RegistryConfig;
  readonly endpoints: readonly string[];
  readonly tls?: EtcdOptions['tls'];
  readonly onReport: (report: RegistryReport) => void;
  /** After each store operation. */
  readonly onOperation: (operation: StoreOperation['type'], outcome: StoreOutcome['status'], tookMs: number) => void;
  /** Told each time the replica gets ready or stops being so. */
  readonly onReady: (ready: boolean, why: string) => void;
  readonly onWatchLost: (detail: string) => void;
  /** Signs the member list as of a stamp. */
  readonly attest: (stamp: Stamp, members: readonly ViewMember[]) => string;
}

/** Runs one RegistryCore: turns what happens into events and effects into what shall happen, and decides nothing. */
export class Replica {
  readonly #options: ReplicaOptions;
  readonly #core: RegistryCore;
  readonly #store: EtcdStore;
  readonly #ports = new Map<SessionId, SessionPort>();
  readonly #events: RegistryEvent[] = [];
  readonly #stopped = Promise.withResolvers<void>();
  #running = false;
  #timer: NodeJS.Timeout | undefined;
  #timerAt: number | undefined;
  #ready: boolean | undefined;
  #closed = false;
  #sessions = 0;

  constructor(options: ReplicaOptions) {
    this.#options = options;
    const { endpoints, tls } = options;
    const onEvent = (event: RegistryEvent): void => {
      if (event.type === 'watchLost') options.onWatchLost(event.detail);
      this.#deliver(event);
    };
    this.#store = createEtcdStore({ endpoints, now, onEvent, ...(tls === undefined ? {} : { tls }) });
    this.#core = new RegistryCore(options.config, now());
    this.#turn();
  }

  /** Opens a session; its messages go to `received`, its end to `closed`. */
  open(identity: SessionIdentity, address: string, port: SessionPort): SessionId {
    this.#sessions += 1;
    const session = `${this.#sessions}`;
    if (!isSessionId(session)) throw new Error(`no session id: ${session}`);
    this.#ports.set(session, port);
    this.#deliver({ type: 'sessionOpened', session, identity, address, since: new Date().toISOString() });
    return session;
  }

  received(session: SessionId, message: Extract<RegistryEvent, { type: 'messageReceived' }>['message']): void {
    this.#deliver({ type: 'messageReceived', session, message });
  }

  flowing(session: SessionId): void {
    this.#deliver({ type: 'sessionFlowing', session });
  }

  closed(session: SessionId): void {
    this.#ports.delete(session);
    this.#deliver({ type: 'sessionClosed', session });
  }

  /** Own certificate is another: what was signed with the one before is signed again. */
  attestAgain(): void {
    this.#deliver({ type: 'attestationDue' });
  }

  status(): RegistryStatus {
    return this.#core.status();
  }

  /** Sends every session elsewhere and gives up the replica's lease; root proxies' leases live on. */
  async shutDown(): Promise<void> {
    this.#deliver({ type: 'shutdownRequested' });
    await this.#stopped.promise;
    this.kill();
  }

  /** Ends at once, as a crash would. Idempotent. */
  kill(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#store.close();
    this.#stopped.resolve();
  }

  #deliver(event: RegistryEvent): void {
    if (this.#closed) return;
    this.#events.push(event);
    if (this.#running) return;
    try {
      this.#turn();
    } catch (error) {
      // A broken invariant: whatever the caller makes of it, the process must not go on with this state.
      this.kill();
      setImmediate(() => {
        throw error;
      });
    }
  }

  /** Events that effects cause are taken after those effects. */
  #turn(): void {
    this.#running = true;
    this.#perform();
    for (let event = this.#events.shift(); event !== undefined; event = this.#events.shift()) {
      this.#core.handle(event, now());
      this.#perform();
    }
    this.#running = false;
    this.#arm(this.#core.nextTimeout());
    this.#noteReady();
  }

  #perform(): void {
    for (let effect = this.#core.pollEffect(); effect !== undefined; effect = this.#core.pollEffect())
      this.#run(effect);
  }

  #run(effect: RegistryEffect): void {
    switch (effect.type) {
      case 'send':
        if (this.#ports.get(effect.session)?.send(effect.message, this.#statementFor(effect.message)) === false) {
          this.#events.push({ type: 'sessionStalled', session: effect.session });
        }
        return;
      case 'closeSession':
        return this.#ports.get(effect.session)?.close(effect.reason, effect.detail);
      case 'request':
        return void this.#request(effect.operation, effect.request, effect.timeoutMs);
      case 'keepAlive':
        return this.#store.keepAlive(effect.lease);
      case 'openWatch':
        return this.#store.openWatch(effect.watch, effect.fromRevision);
      case 'closeWatch':
        return this.#store.closeWatch(effect.watch);
      case 'report':
        return this.#options.onReport(effect.report);
      case 'stopped':
        return this.#stopped.resolve();
    }
  }

  /** Effects are performed before the next event, so the core's members are those that a delta leads to. */
  #statementFor(message: SessionReply): string {
    if (message.type === 'view') return this.#options.attest(message.stamp, message.members);
    if (message.type !== 'viewDelta') return '';
    const { to, members, removedMembers, claims, removedClaims } = message;
    const ofMembers = members.length + removedMembers.length > 0;
    const ofNothing = claims.length + removedClaims.length === 0;
    return ofMembers || ofNothing ? this.#options.attest(to, this.#core.members()) : '';
  }

  async #request(operation: number, request: StoreOperation, timeoutMs: number): Promise<void> {
    const startedAt = now();
    const outcome = await this.#store.run(request, timeoutMs);
    this.#options.onOperation(request.type, outcome.status, now() - startedAt);
    this.#deliver({ type: 'storeReplied', operation, outcome });
  }

  #arm(at: number | undefined): void {
    if (at === this.#timerAt || this.#closed) return;
    clearTimeout(this.#timer);
    this.#timerAt = at;
    if (at === undefined) return;
    this.#timer = setTimeout(
      () => {
        this.#timerAt = undefined;
        this.#deliver({ type: 'timeout' });
      },
      Math.max(0, Math.ceil(at - now())),
    );
  }

  #noteReady(): void {
    const { ready, why } = this.#core.readiness();
    if (ready === this.#ready) return;
    this.#ready = ready;
    this.#options.onReady(ready, why);
  }
}

/** Random, made once per process: tells two lives of one replica apart. */
export function newBoot(): string {
  return randomUUID();
}

function now(): number {
  return performance.now();
}
