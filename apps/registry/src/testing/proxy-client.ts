import assert from 'node:assert/strict';
import { createChannel } from '@xylem/grpc';
import type { GrpcChannel, MessageStream, StreamEnd, TlsSource } from '@xylem/grpc';
import { RegistryService } from '@xylem/wire';
import type { registry } from '@xylem/wire';

type Kind = NonNullable<registry.SessionResponse['kind']>;
type Case = Kind['$case'];
type Values = { readonly [K in Kind as K['$case']]: K['value'] };

const DEADLINE_MS = 10_000;
const MAX_MESSAGE_BYTES = 4 * 1024 * 1024;

export interface ProxyOptions {
  readonly port: number;
  readonly tls: TlsSource | undefined;
  readonly proxy: string;
  readonly nonce: string;
  readonly hello?: Partial<registry.ProxyHello>;
}

/** The root proxy's end of a session, as far as tests need it: sends, and waits for what comes, whatever comes in between. */
export class ProxyClient {
  readonly received: Kind[] = [];
  readonly closed: Promise<StreamEnd>;
  readonly #channel: GrpcChannel;
  readonly #stream: MessageStream<registry.SessionRequest, registry.SessionResponse>;
  readonly #waiting = new Set<() => void>();
  #ended = false;
  #request = 0n;
  #sequence = 0n;
  #beat: NodeJS.Timeout | undefined;

  constructor(options: ProxyOptions) {
    const { port, tls, proxy, nonce, hello } = options;
    this.#channel = createChannel({
      address: `127.0.0.1:${port}`,
      tls,
      serverName: 'registry.xylem.internal',
      maxMessageBytes: MAX_MESSAGE_BYTES,
    });
    this.#stream = this.#channel.stream(RegistryService.session);
    this.closed = this.#stream.closed;
    void this.#read();
    const common = {
      minVersion: 1,
      maxVersion: 1,
      generation: 0,
      software: 'test',
      incarnation: 0n,
      lease: 0n,
      newestStamp: undefined,
    };
    const addresses = { peerAddress: '127.0.0.1:7201', tunnelAddress: '127.0.0.1:7200' };
    this.send({ $case: 'hello', value: { ...common, ...addresses, proxy, instanceNonce: nonce, ...hello } });
  }

  send(kind: NonNullable<registry.SessionRequest['kind']>): void {
    this.#stream.send({ kind });
  }

  heartbeat(): bigint {
    this.#sequence += 1n;
    this.send({ $case: 'heartbeat', value: { sequence: this.#sequence } });
    return this.#sequence;
  }

  /** Heartbeats until closed. */
  beat(intervalMs: number): void {
    this.#beat = setInterval(() => this.heartbeat(), intervalMs);
  }

  async acquire(
    leaf: string,
    agent: string,
    nonce = `${leaf}-${agent}-${Math.random()}`,
    slot = 0,
  ): Promise<registry.AcquireResult> {
    const request = (this.#request += 1n);
    this.send({ $case: 'acquire', value: { request, leaf, slot, agent, nonce } });
    return this.next('acquireResult', (result) => result.request === request);
  }

  async release(leaf: string, token: bigint, slot = 0): Promise<registry.ReleaseResult> {
    const request = (this.#request += 1n);
    this.send({ $case: 'release', value: { request, leaf, slot, token } });
    return this.next('releaseResult', (result) => result.request === request);
  }

  async welcome(): Promise<registry.RegistryWelcome> {
    return this.next('welcome');
  }

  /** The first message of this kind, past or future, that passes. */
  async next<C extends Case>(wanted: C, passes: (value: Values[C]) => boolean = () => true): Promise<Values[C]> {
    const isWanted = (kind: { readonly $case: Case }): kind is { readonly $case: C; readonly value: Values[C] } =>
      kind.$case === wanted;
    return this.until(`${wanted} message`, () => {
      for (const kind of this.received) if (isWanted(kind) && passes(kind.value)) return kind.value;
      return undefined;
    });
  }

  /** What `find` gives once it gives something; looked at after every message. */
  async until<T>(what: string, find: () => T | undefined): Promise<T> {
    const deadline = performance.now() + DEADLINE_MS;
    for (;;) {
      const found = find();
      if (found !== undefined) return found;
      const seen = this.received.map((kind) => kind.$case).join(', ');
      assert.ok(!this.#ended, `the session ended before: ${what}; it had ${seen}`);
      assert.ok(performance.now() < deadline, `no ${what} within ${DEADLINE_MS} ms; it had ${seen}`);
      await this.#changed(deadline - performance.now());
    }
  }

  /** The view as it is now: the last full one with the deltas after it; asserts that they follow each other. */
  view(): {
    readonly members: ReadonlyMap<string, registry.Member>;
    readonly claims: ReadonlyMap<string, registry.Claim>;
    readonly revision: bigint;
  } {
    const members = new Map<string, registry.Member>();
    const claims = new Map<string, registry.Claim>();
    let revision = 0n;
    const key = (claim: registry.ClaimKey): string => `${claim.leaf}/${claim.proxy}/${claim.slot}`;
    for (const kind of this.received) {
      if (kind.$case === 'view') {
        members.clear();
        claims.clear();
        revision = kind.value.stamp?.revision ?? 0n;
      } else if (kind.$case === 'viewDelta') {
        assert.equal(kind.value.from?.revision, revision, 'a delta leads on from what was there');
        for (const gone of kind.value.removedMembers) members.delete(gone);
        for (const gone of kind.value.removedClaims) claims.delete(key(gone));
        revision = kind.value.to?.revision ?? 0n;
      } else continue;
      for (const member of kind.value.members) members.set(member.proxy?.id ?? '', member);
      for (const claim of kind.value.claims) claims.set(key(claim), claim);
    }
    return { members, claims, revision };
  }

  /** As a crash of the proxy: the connection is gone. */
  kill(): void {
    clearInterval(this.#beat);
    this.#channel.close();
  }

  async #read(): Promise<void> {
    for await (const message of this.#stream) {
      if (message.kind !== undefined) this.received.push(message.kind);
      this.#wake();
    }
    this.#ended = true;
    this.#wake();
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
    this.#waiting.clear();
  }

  async #changed(limitMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, limitMs);
    this.#waiting.add(resolve);
    await promise;
    clearTimeout(timer);
  }
}
