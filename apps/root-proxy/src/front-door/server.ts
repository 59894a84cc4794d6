import { constants } from 'node:crypto';
import { createServer as createHttpServer } from 'node:http';
import type { IncomingMessage, Server as HttpServer } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import type { Server as TcpServer, Socket } from 'node:net';
import { createServer as createTlsServer, TLSSocket } from 'node:tls';
import type { Server as TlsServer } from 'node:tls';
import { peerOf } from '@xylem/grpc';
import type { StreamPeer, TlsSource } from '@xylem/grpc';
import type { Authority } from '@xylem/tunnel';
import { addressOf, bind, stopListening } from '../sockets/listen.ts';
import { Gate } from '../sockets/gate.ts';
import { peek } from '../sockets/peek.ts';
import type { PeekLimits } from '../sockets/peek.ts';
import { badRequest, ONLY_CONNECT, renderRefusal } from './answer.ts';
import type { Refusal } from './answer.ts';
import { Arrival, connectionKey } from './arrival.ts';
import { endWithCertificate } from './certificate-end.ts';
import { shownLogin } from './login.ts';
import type { ShownLogin } from './login.ts';
import { checkConnect, checkRequestLine } from './request.ts';

/** One CONNECT request that means exactly one thing. Nothing behind its head has been read. */
export interface FrontDoorRequest {
  readonly authority: Authority;
  /** What the client speaks through: plain TCP, or TLS. Nothing flows until it is read. */
  readonly socket: Socket;
  /** The TCP socket itself, where a reset is made. */
  readonly rawSocket: Socket;
  /** host:port of the client as the socket saw it. */
  readonly source: string;
  readonly loopback: boolean;
  /** URI SANs of the client's verified certificate; empty without one. */
  readonly uris: readonly string[];
  /** DER of that certificate and its intermediates; empty without one. */
  readonly certificates: readonly Uint8Array[];
  readonly login: Exclude<ShownLogin, { readonly kind: 'malformed' }>;
  /** Ends the connection when what was shown for it has been over for the grace. */
  readonly endAfter: (notAfterMs: number) => void;
}

/** Why a client was turned away before it had asked for a connection. Bounded: it labels a metric. */
export type FrontDoorRefusal =
  | 'limit'
  | 'deadline'
  | 'plaintext'
  | 'certificate'
  | 'malformed'
  | 'method'
  | 'handshake';

export interface FrontDoorOptions {
  readonly tls: TlsSource;
  /** Takes over the request and its sockets. */
  readonly onConnect: (request: FrontDoorRequest) => void;
  /** Why nothing is served to the holder of this certificate; undefined when it is. */
  readonly refusal: (peer: StreamPeer) => string | undefined;
  readonly onRefused: (source: string, cause: FrontDoorRefusal, detail: string) => void;
  /** Accept to complete request head, TLS included. Default 10_000. */
  readonly headTimeoutMs?: number;
  /** Clients that have not asked for a connection yet, in all and per address. Defaults 1_024 and 256. */
  readonly maxWaiting?: number;
  readonly maxWaitingPerAddress?: number;
  /** How long a connection may outlive the client's certificate. Default 30_000, as everywhere. */
  readonly graceMs?: number;
}

/** First byte of a TLS record that carries a handshake (RFC 8446, 5.1). No HTTP method starts with it. */
const TLS_HANDSHAKE = 0x16;
/** A client that was refused may take this long to read our answer before the socket goes. */
const LINGER_MS = 1_000;
const HEAD_TIMEOUT_MS = 10_000;
const MAX_HEADER_BYTES = 8 * 1_024;
const GRACE_MS = 30_000;

/** Users who vanish without a word are noticed, however long a connection is silent. */
const SOCKET = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 } as const;
const HEAD_TOO_LONG: Refusal = {
  status: 431,
  outcome: 'invalid',
  reason: `the request head is longer than ${MAX_HEADER_BYTES} bytes`,
};

/**
 * One port that speaks HTTP/1.1 CONNECT over TLS (client certificate optional) and, to loopback clients only, in
 * plaintext: the first byte tells which. Node's own strict parser reads the head; anything ambiguous is a 400.
 */
export class FrontDoorServer {
  readonly #options: FrontDoorOptions;
  readonly #tcp: TcpServer;
  readonly #tls: TlsServer;
  readonly #http: HttpServer;
  readonly #gate: Gate;
  readonly #stopRenewing: () => void;
  /** Clients that have not asked yet, by connection key. */
  readonly #arrivals = new Map<string, Arrival>();

  constructor(options: FrontDoorOptions) {
    this.#options = options;
    this.#gate = new Gate({ total: options.maxWaiting ?? 1_024, perAddress: options.maxWaitingPerAddress ?? 256 });
    this.#tcp = createTcpServer({ ...SOCKET, allowHalfOpen: true }, (socket) => this.#accept(socket));
    this.#tls = createTlsServer(this.#tlsOptions(), (socket) => void this.#awaitRequest(socket));
    this.#tls.on('tlsClientError', (error, socket) => this.#handshakeFailed(error, socket));
    this.#http = createHttpServer({
      maxHeaderSize: MAX_HEADER_BYTES,
      insecureHTTPParser: false,
      requireHostHeader: true,
    });
    this.#http.on('connect', (request: IncomingMessage, socket: Socket, head: Buffer) =>
      this.#connect(request, socket, head),
    );
    this.#http.on('request', (request: IncomingMessage) => this.#unserved(request.socket));
    this.#http.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => this.#malformed(error, socket));
    this.#stopRenewing = options.tls.onChange(() => this.#tls.setSecureContext(this.#tlsOptions()));
  }

  /** Answers with the real port. Rejects with an error that names the address and the remedy. */
  listen(address: string): Promise<number> {
    const { onRefused } = this.#options;
    return bind(this.#tcp, address, 'frontDoor.listen', (detail) => onRefused('unknown', 'limit', detail));
  }

  /** Stops accepting and turns away those who have not asked yet. Connections that were handed over stay. */
  close(): void {
    this.#stopRenewing();
    stopListening(this.#tcp);
    for (const arrival of [...this.#arrivals.values()]) arrival.raw.destroy();
  }

  #tlsOptions() {
    const { ca, cert, key } = this.#options.tls.current();
    // The certificate is optional; whoever presents one that does not verify is refused later, never taken as anonymous.
    return {
      ca,
      cert,
      key,
      minVersion: 'TLSv1.2',
      // A resumed session skips the check of the certificate, which may have expired or lost its authority since.
      secureOptions: constants.SSL_OP_NO_TICKET,
      ALPNProtocols: ['http/1.1'],
      requestCert: true,
      rejectUnauthorized: false,
    } as const;
  }

  #accept(raw: Socket): void {
    raw.on('error', ignore);
    const admission = this.#gate.admit(raw.remoteAddress ?? '');
    if (!admission.admitted) {
      this.#options.onRefused(addressOf(raw), 'limit', `too many clients wait already (limit per ${admission.limit})`);
      raw.destroy();
      return;
    }
    const leave = (): void => {
      admission.leave();
      this.#arrivals.delete(arrival.key);
    };
    const arrival = new Arrival(raw, this.#options.headTimeoutMs ?? HEAD_TIMEOUT_MS, leave, () =>
      this.#tooSlow(arrival),
    );
    this.#arrivals.set(arrival.key, arrival);
    void this.#sort(arrival);
  }

  /** TLS or plaintext: the first byte tells. */
  async #sort(arrival: Arrival): Promise<void> {
    const { raw } = arrival;
    const first = await peek(raw, this.#peekLimits(1), (bytes) => ({ kind: 'seen', value: bytes[0] }));
    if (first.kind !== 'seen') {
      raw.destroy();
    } else if (first.value === TLS_HANDSHAKE) {
      this.#tls.emit('connection', raw);
    } else if (arrival.loopback) {
      await this.#awaitRequest(raw);
    } else {
      const reason = 'plaintext is accepted from loopback only; use TLS (curl: -x https://...)';
      this.#turnAway(arrival, raw, 'plaintext', { status: 403, outcome: 'plaintext', reason });
    }
  }

  async #awaitRequest(socket: Socket): Promise<void> {
    socket.on('error', ignore);
    const line = await peek(socket, this.#peekLimits(MAX_HEADER_BYTES), checkRequestLine);
    const arrival = this.#arrivals.get(connectionKey(socket));
    if (arrival === undefined || line.kind === 'gone' || line.kind === 'deadline') {
      socket.destroy();
    } else if (line.kind === 'seen') {
      this.#http.emit('connection', socket);
    } else {
      const refusal = line.kind === 'too-long' ? HEAD_TOO_LONG : badRequest(line.detail);
      this.#turnAway(arrival, socket, 'malformed', refusal);
    }
  }

  #peekLimits(maxBytes: number): PeekLimits {
    return { deadlineMs: this.#options.headTimeoutMs ?? HEAD_TIMEOUT_MS, maxBytes };
  }

  #connect(request: IncomingMessage, socket: Socket, head: Buffer): void {
    const arrival = this.#arrivals.get(connectionKey(socket));
    if (arrival === undefined) {
      socket.destroy();
      return;
    }
    const { httpVersion, rawHeaders } = request;
    const check = checkConnect({ target: request.url ?? '', httpVersion, rawHeaders });
    if (!check.ok) return this.#turnAway(arrival, socket, 'malformed', badRequest(check.problem));
    const login = shownLogin(rawHeaders);
    if (login.kind === 'malformed') return this.#turnAway(arrival, socket, 'malformed', badRequest(login.problem));
    if (presentsUnverified(socket)) {
      const reason = 'the client certificate does not verify against the authority of this deployment';
      return this.#turnAway(arrival, socket, 'certificate', { status: 403, outcome: 'denied', reason });
    }
    const { raw: rawSocket, source, loopback } = arrival;
    const peer = peerOf(socket, source);
    const refusal = this.#options.refusal(peer);
    if (refusal !== undefined)
      return this.#turnAway(arrival, socket, 'certificate', { status: 403, outcome: 'denied', reason: refusal });
    arrival.settle();
    const graceMs = this.#options.graceMs ?? GRACE_MS;
    endWithCertificate(socket, rawSocket, peer, graceMs);
    const endAfter = (notAfterMs: number): void => endWithCertificate(socket, rawSocket, { notAfterMs }, graceMs);
    // Bytes that were sent behind the head wait in the socket until the node has answered.
    if (head.length > 0) socket.unshift(head);
    const { uris, certificates } = peer;
    const { authority } = check;
    const who = { source, loopback, uris, certificates, login };
    this.#options.onConnect({ authority, socket, rawSocket, ...who, endAfter });
  }

  #unserved(socket: Socket): void {
    const arrival = this.#arrivals.get(connectionKey(socket));
    // A second request on a connection that was answered already: the answer said that it closes.
    if (arrival !== undefined) this.#turnAway(arrival, socket, 'method', ONLY_CONNECT);
  }

  #malformed(error: NodeJS.ErrnoException, socket: Socket): void {
    const arrival = this.#arrivals.get(connectionKey(socket));
    if (arrival === undefined || error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy();
      return;
    }
    const refusal =
      error.code === 'HPE_HEADER_OVERFLOW' ? HEAD_TOO_LONG : badRequest('this is not a well-formed request head');
    this.#turnAway(arrival, socket, 'malformed', refusal);
  }

  #tooSlow(arrival: Arrival): void {
    this.#options.onRefused(arrival.source, 'deadline', 'no complete request came in time');
    arrival.raw.destroy();
  }

  #handshakeFailed(error: Error, socket: TLSSocket): void {
    this.#options.onRefused(addressOf(socket), 'handshake', error.message);
    socket.destroy();
  }

  #turnAway(arrival: Arrival, socket: Socket, cause: FrontDoorRefusal, refusal: Refusal): void {
    if (!arrival.settle()) return;
    this.#options.onRefused(arrival.source, cause, refusal.reason);
    answerAndClose(socket, refusal);
  }
}

/** Sends the refusal and closes. What the client still sends is thrown away, so that it sees the answer and not a reset. */
export function answerAndClose(socket: Socket, refusal: Refusal): void {
  const linger = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once('close', () => clearTimeout(linger));
  socket.end(renderRefusal(refusal));
  socket.resume();
}

/** All or nothing: a certificate that was presented and does not verify gives neither identity nor anonymity. */
function presentsUnverified(socket: Socket): boolean {
  return socket instanceof TLSSocket && !socket.authorized && socket.getPeerX509Certificate() !== undefined;
}

function ignore(): void {
  // The socket's end is seen through 'close'.
}
