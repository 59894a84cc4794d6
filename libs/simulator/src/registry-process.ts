import { DEFAULT_REGISTRY_CONFIG, PREFIX, PREFIX_END } from '@xylem/membership';
import type {
  RegistryConfig,
  RegistryEffect,
  RegistryEvent,
  SessionId,
  SessionReply,
  SessionRequest,
} from '@xylem/membership';
import type { CoreMakers, RegistryApi } from './cores.ts';
import type { Host } from './host.ts';
import type { End } from './network.ts';
import type { StoreModel } from './store-model.ts';
import type { Trace } from './trace.ts';

/** What a root proxy and a registry say to each other, each wrapped in its direction's message. */
export interface SessionUp {
  readonly request: SessionRequest;
}
export interface SessionDown {
  readonly reply: SessionReply;
}

/** One registry replica: the product's `RegistryCore` with its store and its sessions simulated. */
export class RegistryProcess {
  readonly host: Host;
  readonly #store: StoreModel;
  readonly #trace: Trace;
  readonly #clock: () => number;
  readonly #sessions = new Map<SessionId, End>();
  readonly #make: CoreMakers['registry'];
  #core: RegistryApi | undefined;
  #closeWatch: (() => void) | undefined;
  #lives = 0;
  #nextSession = 0;

  constructor(host: Host, store: StoreModel, make: CoreMakers['registry'], trace: Trace, clock: () => number) {
    this.host = host;
    this.#store = store;
    this.#make = make;
    this.#trace = trace;
    this.#clock = clock;
  }

  get core(): RegistryApi | undefined {
    return this.#core;
  }

  start(): void {
    this.#lives += 1;
    this.host.start();
    this.#sessions.clear();
    const config: RegistryConfig = {
      ...DEFAULT_REGISTRY_CONFIG,
      registry: this.host.name,
      boot: `${this.host.name}-${String(this.#lives)}-${String(Math.floor(this.host.random.next('boot') * 1e9))}`,
      storeName: 'the simulated store',
    };
    this.#core = this.#make(config, this.host);
    this.#note('starts');
    this.#perform();
  }

  /** The process dies; its connections are the network's to end. */
  crash(): void {
    this.#note('crashes');
    this.#closeWatch?.();
    this.#closeWatch = undefined;
    this.#core = undefined;
    this.host.crash();
  }

  /** A root proxy's session stream has arrived; its certificate says who it is. */
  accept(end: End, proxy: string): void {
    const session = `s${String(this.#nextSession)}` as SessionId;
    this.#nextSession += 1;
    this.#sessions.set(session, end);
    this.#handle({
      type: 'sessionOpened',
      session,
      identity: { kind: 'proxy', proxy },
      address: `${proxy}:1`,
      since: 'now',
    });
    end.listen({
      onMessage: (message) => {
        if (!this.#sessions.has(session)) return;
        this.#handle({ type: 'messageReceived', session, message: (message as SessionUp).request });
      },
      onEnd: () => this.#ended(session),
    });
  }

  #ended(session: SessionId): void {
    if (!this.#sessions.delete(session)) return;
    this.#handle({ type: 'sessionClosed', session });
  }

  #handle(event: RegistryEvent): void {
    this.#core?.handle(event, this.host.now);
    this.#perform();
  }

  #perform(): void {
    const core = this.#core;
    if (core === undefined) return;
    for (let effect = core.pollEffect(); effect !== undefined; effect = core.pollEffect()) this.#do(effect);
    this.host.wakeAt(core.nextTimeout(), () => this.#handle({ type: 'timeout' }));
  }

  #do(effect: RegistryEffect): void {
    switch (effect.type) {
      case 'send': {
        const message: SessionDown = { reply: effect.message };
        return this.#sessions.get(effect.session)?.send(message);
      }
      case 'closeSession': {
        this.#note(`ends session ${effect.session}: ${effect.reason}`);
        const end = this.#sessions.get(effect.session);
        end?.close();
        // The stream's end is told after this turn, as a real stream would.
        return void this.host.after(0, () => this.#ended(effect.session));
      }
      case 'request': {
        const { operation } = effect;
        return this.#store.request(this.host, effect.request, effect.timeoutMs, (outcome) =>
          this.#handle({ type: 'storeReplied', operation, outcome }),
        );
      }
      case 'keepAlive': {
        const { lease } = effect;
        const sentAt = this.host.now;
        return this.#store.keepAlive(this.host, lease, (ttlMs) =>
          this.#handle({ type: 'leaseKeptAlive', lease, sentAt, ttlMs }),
        );
      }
      case 'openWatch':
        return this.#openWatch(effect.watch, effect.fromRevision);
      case 'closeWatch':
        this.#closeWatch?.();
        this.#closeWatch = undefined;
        return;
      case 'report':
        return this.#note(
          JSON.stringify(effect.report, (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value)),
        );
      case 'stopped':
        return;
    }
  }

  #openWatch(watch: number, fromRevision: bigint): void {
    this.#closeWatch = this.#store.watch(
      this.host,
      { from: PREFIX, end: PREFIX_END, startRevision: fromRevision },
      {
        onOpened: () => this.#handle({ type: 'watchOpened', watch }),
        onAdvanced: (revision, events) => this.#handle({ type: 'watchAdvanced', watch, revision, events }),
        onCompacted: () => {
          this.#note('watch is compacted');
          this.#handle({ type: 'watchCompacted', watch });
        },
        onLost: (detail) => this.#handle({ type: 'watchLost', watch, detail }),
      },
    );
  }

  #note(what: string): void {
    this.#trace.add(this.#clock(), this.host.name, what);
  }
}
