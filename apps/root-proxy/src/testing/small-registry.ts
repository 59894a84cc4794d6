import { createServer, handleStream } from '@xylem/grpc';
import type { GrpcServer, MessageStream, TlsSource } from '@xylem/grpc';
import { registry, RegistryService, tunnel } from '@xylem/wire';

type Session = MessageStream<registry.SessionResponse, registry.SessionRequest>;

/**
 * A registry that grants everything and says what a test tells it: a double of the session protocol, for what the real one
 * says only when an administrator has done something.
 */
export class SmallRegistry {
  readonly #server: GrpcServer;
  readonly #members = new Map<Session, registry.Member>();
  #revision = 1n;
  #lastSecurity: registry.Security | undefined;
  port = 0;

  constructor(tls: TlsSource) {
    this.#server = createServer({
      tls,
      services: [handleStream(RegistryService.session, (stream) => this.#serve(stream))],
    });
  }

  static async start(tls: TlsSource): Promise<SmallRegistry> {
    const started = new SmallRegistry(tls);
    started.port = await started.#server.listen('127.0.0.1:0');
    return started;
  }

  /** Tells every root proxy now, and those that come later. Returns when it was sent, on the clock of performance.now(). */
  revoke(...revocations: registry.Revocation[]): number {
    this.#revision += 1n;
    const before = this.#lastSecurity?.revocations ?? [];
    this.#lastSecurity = {
      revision: this.#revision,
      policyVersion: 0n,
      policy: '',
      groups: [],
      revocations: [...before, ...revocations],
      trust: '',
      trustGeneration: 0n,
    };
    for (const stream of this.#members.keys()) this.#secure(stream);
    return performance.now();
  }

  close(): Promise<void> {
    return this.#server.close(0);
  }

  #secure(stream: Session): void {
    if (this.#lastSecurity !== undefined) stream.send({ kind: { $case: 'security', value: this.#lastSecurity } });
  }

  async #serve(stream: Session): Promise<void> {
    for await (const { kind } of stream) this.#received(stream, kind);
    this.#members.delete(stream);
  }

  #received(stream: Session, kind: registry.SessionRequest['kind']): void {
    const say = (answer: NonNullable<registry.SessionResponse['kind']>): void => void stream.send({ kind: answer });
    switch (kind?.$case) {
      case 'hello':
        return this.#welcome(stream, kind.value, say);
      case 'heartbeat':
        return say({ $case: 'heartbeatAck', value: { sequence: kind.value.sequence, leaseValidMs: 10_000 } });
      case 'acquire': {
        const { request } = kind.value;
        const code = registry.AcquireCode.ACQUIRE_CODE_GRANTED;
        this.#revision += 1n;
        const token = this.#revision;
        return say({ $case: 'acquireResult', value: { request, code, token, holder: undefined, detail: '' } });
      }
      case 'release': {
        const code = registry.ReleaseCode.RELEASE_CODE_DONE;
        return say({ $case: 'releaseResult', value: { request: kind.value.request, code } });
      }
      case 'drain':
        return say({ $case: 'drainResult', value: { recorded: true } });
      case 'leave':
        return say({ $case: 'left', value: {} });
      case undefined:
    }
  }

  #welcome(
    stream: Session,
    hello: registry.ProxyHello,
    say: (kind: NonNullable<registry.SessionResponse['kind']>) => void,
  ): void {
    this.#revision += 1n;
    const incarnation = hello.incarnation === 0n ? this.#revision : hello.incarnation;
    const { peerAddress, tunnelAddress, instanceNonce, software, generation } = hello;
    const state = tunnel.ProxyState.PROXY_STATE_READY;
    const proxy = { id: hello.proxy, incarnation, state, generation };
    this.#members.set(stream, { proxy, peerAddress, tunnelAddress, instanceNonce, software, lease: 1n });
    const times = { leaseTtlMs: 10_000, heartbeatIntervalMs: 2_500 };
    say({ $case: 'welcome', value: { version: 1, registry: 'r1', incarnation, lease: 1n, ...times, enrolPort: 0 } });
    const members = [...this.#members.values()];
    const view = { stamp: { epoch: 1n, revision: this.#revision }, members, claims: [], statement: '' };
    for (const session of this.#members.keys()) session.send({ kind: { $case: 'view', value: view } });
    this.#secure(stream);
  }
}
