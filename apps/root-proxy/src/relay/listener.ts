import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { MAX_CLIENT_HELLO_BYTES, peekClientHello } from '@xylem/discovery';
import type { ClientHelloPeek, ProxyId, RelayPolicy } from '@xylem/discovery';
import type { GrpcServer } from '@xylem/grpc';
import { now } from '../clock.ts';
import { Gate } from '../sockets/gate.ts';
import { addressOf, bind, stopListening } from '../sockets/listen.ts';
import { peek } from '../sockets/peek.ts';
import type { PeekResult, PeekStep } from '../sockets/peek.ts';
import type { TunnelConnections } from './connections.ts';
import { BUSY_ALERT, shed } from './handshakes.ts';
import type { Handshakes } from './handshakes.ts';
import type { Enrolments } from './enrolments.ts';
import type { Relays } from './relays.ts';

/** Why a connection to the tunnel port was closed before anybody served it. Bounded: it labels a metric. */
export type TunnelPortRefusal =
  | 'limit'
  | 'malformed'
  | 'too-long'
  | 'deadline'
  | 'gone'
  | 'relay-limit'
  /** More handshakes at once than this process begins. */
  | 'busy'
  | 'unreachable';

export interface TunnelListenerPorts {
  readonly server: GrpcServer;
  readonly connections: TunnelConnections;
  readonly relays: Relays;
  readonly enrolments: Enrolments;
  /** host:port of registries' enrolment, the best first. */
  enrolmentAddresses(): readonly string[];
  readonly policy: RelayPolicy;
  readonly handshakes: Handshakes;
  /** Tunnel address of another live member. */
  memberAddress(proxy: ProxyId): string | undefined;
  refused(source: string, cause: TunnelPortRefusal, detail: string): void;
}

/** A ClientHello is one small write: whoever takes longer is not a client of ours. */
const HELLO_TIMEOUT_MS = 5_000;
/** Sockets that have not attached yet. Behind a balancer all agents may come from one address. */
const LIMITS = { total: 4_096, perAddress: 1_024 } as const;

/**
 * The raw TCP port of the tunnel plane. Reads the ClientHello of each connection without answering it, and serves the
 * connection here or relays it to the peer, or the registry's enrolment, that its server name asks for.
 */
export class TunnelListener {
  readonly #ports: TunnelListenerPorts;
  readonly #gate = new Gate(LIMITS);
  readonly #server: Server;

  constructor(ports: TunnelListenerPorts) {
    this.#ports = ports;
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => void this.#accept(socket));
  }

  /** Answers with the real port. Rejects with an error that names the address and the remedy. */
  listen(address: string): Promise<number> {
    return bind(this.#server, address, 'tunnel.listen', (detail) => this.#ports.refused('unknown', 'limit', detail));
  }

  /** Stops accepting; connections that were accepted go on. */
  close(): void {
    stopListening(this.#server);
  }

  async #accept(socket: Socket): Promise<void> {
    socket.on('error', ignore);
    const source = addressOf(socket);
    const admission = this.#gate.admit(socket.remoteAddress ?? '');
    if (!admission.admitted)
      return this.#refuse(socket, source, 'limit', `too many connections wait already (limit per ${admission.limit})`);
    const { leave } = admission;
    socket.once('close', leave);
    const hello = await peek(socket, { deadlineMs: HELLO_TIMEOUT_MS, maxBytes: MAX_CLIENT_HELLO_BYTES }, readHello);
    if (hello.kind !== 'seen') return this.#refuse(socket, source, hello.kind, describe(hello));
    const request = { name: hello.value, source: socket.remoteAddress ?? '', relayed: false };
    const enrolment = this.#ports.enrolmentAddresses();
    const decision = this.#ports.policy.decide(request, (proxy) => this.#ports.memberAddress(proxy), now(), enrolment);
    switch (decision.kind) {
      case 'refuse':
        return this.#refuse(socket, source, 'relay-limit', decision.why);
      case 'serve':
        return this.#serve(socket, source, leave);
      case 'relay':
        leave();
        await this.#ports.relays.relay(socket, decision.proxy, source);
        return this.#ports.policy.finished();
      case 'enrol':
        leave();
        await this.#ports.enrolments.relay(socket, decision.addresses, source);
        return this.#ports.policy.enrolmentFinished(request.source);
    }
  }

  async #serve(socket: Socket, source: string, leave: () => void): Promise<void> {
    const turn = await this.#ports.handshakes.turn(socket);
    if (turn === 'busy') return this.#ports.refused(source, 'busy', 'too many handshakes wait already');
    if (turn === 'gone') return;
    this.#ports.connections.addDirect(socket, leave);
    this.#ports.server.inject(socket);
  }

  #refuse(socket: Socket, source: string, cause: TunnelPortRefusal, detail: string): void {
    this.#ports.refused(source, cause, detail);
    if (cause === 'relay-limit') return shed(socket);
    // Whoever is turned away unread is told in one packet; waiting for its end would hold what the limit is to protect.
    if (cause === 'limit') socket.end(BUSY_ALERT, () => socket.destroy());
    else socket.destroy();
  }
}

/** The server name; undefined when the client names none. */
function readHello(bytes: Buffer): PeekStep<string | undefined> {
  const hello: ClientHelloPeek = peekClientHello(bytes);
  switch (hello.kind) {
    case 'need-more':
      return { kind: 'more' };
    case 'server-name':
      return { kind: 'seen', value: hello.name };
    case 'malformed':
      return { kind: 'malformed', detail: hello.why };
  }
}

function describe(result: Exclude<PeekResult<unknown>, { kind: 'seen' }>): string {
  switch (result.kind) {
    case 'malformed':
      return `not a TLS ClientHello: ${result.detail}`;
    case 'too-long':
      return `no complete ClientHello within ${MAX_CLIENT_HELLO_BYTES} bytes`;
    case 'deadline':
      return `no complete ClientHello within ${HELLO_TIMEOUT_MS} ms`;
    case 'gone':
      return 'the connection ended before its ClientHello';
  }
}

function ignore(): void {
  // The socket's end is seen through 'close'.
}
