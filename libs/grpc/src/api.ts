import type { ClientDuplexStream, MethodDefinition, Server } from '@grpc/grpc-js';
import type { Duplex } from 'node:stream';

/** PEM texts of one process's credentials. Never logged. */
export interface TlsMaterial {
  /** Certificates of every CA that is trusted now. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/**
 * Checks a chain that was shown outside a handshake, as TLS would have checked it within one: it leads to an authority
 * that is trusted now, every certificate in it is valid now, and the first one may be used by a `client` or `server`.
 * Throws, or rejects with, an Error whose message says in one line what is wrong. @xylem/identity makes these.
 */
export type CertificateVerifier = (
  /** DER, the end entity first, then intermediates. */
  certificates: readonly Uint8Array[],
  purpose: 'client' | 'server',
) => void | Promise<void>;

/** Credentials that may be renewed while in use. @xylem/identity makes these. */
export interface TlsSource {
  current(): TlsMaterial;
  /** Calls back after each renewal; returns the way to stop. */
  onChange(listener: (material: TlsMaterial) => void): () => void;
  /** Against the trust of `current()`. */
  readonly verify: CertificateVerifier;
}

/** Why this end ends a session that the other end would have kept. */
export interface SessionEnding {
  /** expired: the peer showed no certificate that is still valid. cut: asked for, see GrpcServer.cut. */
  readonly cause: 'expired' | 'cut';
  /** One line for a person. */
  readonly detail: string;
}

/** Who is at the other end, from the verified certificate only. One object per connection. */
export interface StreamPeer {
  /** host:port as the socket saw it. */
  readonly address: string;
  /** URI SANs of the verified client certificate; empty without one. Identity is exactly one of them (see @xylem/identity). */
  readonly uris: readonly string[];
  /**
   * End of the certificate the peer showed last, in the handshake or by a Refresh: milliseconds since 1970. undefined
   * without a verified one. A certificate with another identity is never taken, so `uris` stay as they are.
   */
  readonly notAfterMs: number | undefined;
  /** Its beginning. */
  readonly notBeforeMs: number | undefined;
  /** That certificate and its intermediates, DER, the end entity first; empty without a verified one. */
  readonly certificates: readonly Uint8Array[];
  /**
   * Calls back once when this end is about to end the session; last messages have `LifetimeOptions.lastWordsMs` to leave.
   * At once when that has happened already. Returns the way to stop.
   */
  onEnding(listener: (ending: SessionEnding) => void): () => void;
}

/**
 * A connection lives no longer than the certificate its peer showed last, plus a grace. Time is counted on the monotonic
 * clock from the moment of verification, so that setting the wall clock ends nothing.
 */
export interface LifetimeOptions {
  /** How long a connection may outlive its peer's certificate: time for a renewal that is late. Default 30_000. */
  readonly graceMs?: number;
  /** Between telling the handlers of the end and the end. Part of the grace after an expiry. Default 500. */
  readonly lastWordsMs?: number;
  /** Least time between two refreshes of one connection; servers allow a burst of 8. Default 1_000. */
  readonly refreshIntervalMs?: number;
}

/** How a stream ended; exactly one per stream, never thrown. */
export type StreamEnd =
  /** Both directions were ended on purpose. Says nothing about the protocol on top: only its own closing message does. */
  | { readonly kind: 'ended' }
  /** The other side, or the connection, failed it. `code` is a gRPC status code. */
  | { readonly kind: 'failed'; readonly code: number; readonly detail: string }
  /** We cancelled it. */
  | { readonly kind: 'cancelled'; readonly detail: string };

/**
 * One bidirectional stream of messages, the same shape on both sides. Iterating reads (with back-pressure: the next
 * message is fetched when asked for); iteration finishes when the stream has ended and never throws; `closed` says how.
 */
export interface MessageStream<Out, In> extends AsyncIterable<In> {
  readonly peer: StreamPeer;
  /** First value of a metadata key sent by the other side's opening; undefined when absent. */
  metadata(key: string): string | undefined;
  /**
   * Queues a message. Returns false once more than the soft bound is queued; past `queueLimitBytes` the stream is
   * cancelled with RESOURCE_EXHAUSTED, because a control stream whose peer does not read is dead.
   */
  send(message: Out): boolean;
  /** Resolves when the queue is below the soft bound again, or the stream has ended. */
  drained(): Promise<void>;
  /** Ends our direction after what is queued. Idempotent. */
  end(): void;
  /** Gives the whole stream up. Idempotent. On a server `code` (default CANCELLED) becomes the status. */
  cancel(detail: string, code?: number): void;
  readonly closed: Promise<StreamEnd>;
}

export interface ServerOptions {
  /** undefined: plaintext, for the embedded etcd API on loopback and for tests only. */
  readonly tls: TlsSource | undefined;
  /** Demand a client certificate in the handshake. Default true. */
  readonly requireClientCertificate?: boolean;
  /** Made by handleStream, handleServerStream, handleDuplex and handleUnary. */
  readonly services: readonly MethodBinding[];
  /** Streams per connection. Default 1_000. */
  readonly maxConcurrentStreams?: number;
  /** Greatest message. Default 128 KiB. */
  readonly maxMessageBytes?: number;
  /**
   * HTTP/2 stream window: what a stopped reader holds in memory, and what a stream can carry per round trip. Default:
   * 4 MiB for a few streams on a connection, down to 256 KiB each for many (see stream-windows.ts).
   */
  readonly streamWindowBytes?: number;
  /**
   * Streams that one connection may reset before it is closed. Default 1_000, and 200 a second. More where the peer is one
   * of us and resets on behalf of many strangers, none of whom may be able to end what the others have.
   */
  readonly streamResets?: { readonly burst: number; readonly perSecond: number };
  /** Bytes one MessageStream may have queued for a peer that does not read, before it is cancelled. Default 1 MiB. */
  readonly queueLimitBytes?: number;
  /** Deadline for the TLS handshake, and then for the peer's HTTP/2 settings. Default 10_000. */
  readonly handshakeTimeoutMs?: number;
  readonly lifetime?: LifetimeOptions;
  /**
   * Asked once per session, when its handshakes are done: one line that the peer may see says why it is not let in, and
   * no handler is ever called for it.
   */
  readonly admit?: (peer: StreamPeer) => string | undefined;
  /** Told of what a handler threw that is not a StatusError, and of refused handshakes. Peers never see the cause. */
  readonly onError?: (error: ServerFault) => void;
}

/** Something that went wrong on a server and is hidden from the peer. */
export interface ServerFault {
  readonly kind: 'handler' | 'handshake' | 'session' | 'refresh';
  /** Full method name for a handler, otherwise the address of the peer. A refresh is one that proved nothing. */
  readonly where: string;
  readonly cause: unknown;
}

/** What the server gives to its handlers' bindings. */
export interface HandlerContext {
  readonly maxMessageBytes: number;
  readonly queueLimitBytes: number;
  readonly onFault: (fault: ServerFault) => void;
}

/** One method with its handler, for ServerOptions.services. Methods without a binding answer UNIMPLEMENTED. */
export interface MethodBinding {
  /** `/package.Service/Method` */
  readonly path: string;
  /** False when the method has a handler already. */
  bind(server: Server, context: HandlerContext): boolean;
}

/**
 * A gRPC server with health (grpc.health.v1), reflection (v1 and v1alpha) and, with TLS, the renewal of connections
 * (xylem.channel.v1) served beside its services.
 */
export interface GrpcServer {
  /** Binds and listens; answers with the real port. Rejects with a message naming address and remedy (port taken, no permission). */
  listen(address: string): Promise<number>;
  /**
   * Takes over a raw connection (not yet TLS), after bytes already read were unshifted. `source` is the peer's address
   * to report when the connection has none of its own, as with a relayed tunnel.
   */
  inject(connection: Duplex, source?: string): void;
  setServing(serving: boolean): void;
  /**
   * Ends every session whose peer matches: tells its handlers (StreamPeer.onEnding), takes no new streams (GOAWAY), and
   * cuts what is left after `lifetime.lastWordsMs`. `detail` is one line that the peer may see. Returns how many.
   */
  cut(matches: (peer: StreamPeer) => boolean, detail: string): number;
  /** Stops accepting; lets calls finish until the limit; then closes everything. A later call with a shorter limit holds. */
  close(limitMs: number): Promise<void>;
}

export interface ChannelOptions {
  /** host:port, or a list of them tried in turn by `connect()`. */
  readonly address: string | readonly string[];
  readonly tls: TlsSource | undefined;
  /** The name to send as SNI and to verify the certificate against. Default: the host of the address. */
  readonly serverName?: string;
  /**
   * Every address of a host name, in the order in which they are to be tried; given up by the signal. Default: the system's
   * resolver, which holds one of the process' few threads for as long as it takes. Not asked with `reconnect`.
   */
  readonly resolve?: (host: string, signal: AbortSignal) => Promise<readonly string[]>;
  /** Deadline for TCP + TLS + HTTP/2 settings. Default 5_000. */
  readonly connectTimeoutMs?: number;
  /** These three as in ServerOptions. */
  readonly maxMessageBytes?: number;
  readonly streamWindowBytes?: number;
  readonly queueLimitBytes?: number;
  readonly lifetime?: LifetimeOptions;
  /** Dial again, with backoff, at the first call after a loss. Default false: exactly one TCP connection is ever made. */
  readonly reconnect?: boolean;
}

/** How a channel's connection went. */
export interface ConnectionLoss {
  /**
   * closed: by us. goaway: the server lets open streams finish but takes no new ones. expired: closed by us because the
   * server showed no newer certificate in time. broken: the connection is gone.
   */
  readonly kind: 'closed' | 'goaway' | 'expired' | 'broken';
  readonly detail: string;
}

/** One connection of its own (never shared with another channel), made at the first call or `connect()`. */
export interface GrpcChannel {
  /** Resolves when connected. Rejects with a ChannelError whose `stage` says how far it came; the channel is then closed. */
  connect(): Promise<void>;
  stream<Out, In>(
    method: MethodDefinition<Out, In>,
    metadata?: Readonly<Record<string, string>>,
  ): MessageStream<Out, In>;
  /**
   * The bare grpc-js stream, for code that moves bytes at full speed. An error listener is installed, so the process
   * never dies of an unhandled one. Waits for 'drain' must also end on 'close', 'error' and 'status'.
   */
  duplex<Out, In>(
    method: MethodDefinition<Out, In>,
    metadata?: Readonly<Record<string, string>>,
  ): ClientDuplexStream<Out, In>;
  /** One request, one answer. Rejects with a StatusError. */
  unary<Request, Response>(
    method: MethodDefinition<Request, Response>,
    request: Request,
    deadlineMs: number,
  ): Promise<Response>;
  /** The verified server; undefined until connected. */
  readonly peer: StreamPeer | undefined;
  /** Resolves once, when a connection that was made goes, or on `close()`. */
  readonly lost: Promise<ConnectionLoss>;
  /** Closes at once; streams end as failed. Idempotent. */
  close(): void;
}

export type ConnectStage = 'resolve' | 'tcp' | 'tls' | 'http2' | 'deadline';
