import { createServer, Socket } from 'node:net';
import type { Server as NetServer } from 'node:net';
import type { Duplex } from 'node:stream';
import { formatAddress, parseAddress } from './address.ts';
import type { ServerFault, TlsSource } from './api.ts';
import { TCP_KEEPALIVE } from './options.ts';
import { addressOf } from './peer.ts';
import { SessionPeer } from './session-peer.ts';
import { FrameMeter } from './frame-meter.ts';
import { SocketBridge } from './socket-bridge.ts';
import { createTlsServer, renewTlsServer } from './tls.ts';

export interface ListenerOptions {
  readonly tls: TlsSource | undefined;
  readonly requireClientCertificate: boolean;
  readonly handshakeTimeoutMs: number;
  /** A connection that is ready for HTTP/2: plain, or TLS with its handshake done and its certificate verified. */
  readonly onConnection: (connection: Duplex, peer: SessionPeer) => void;
  readonly onFault: (fault: ServerFault) => void;
}

/**
 * Accepts connections and completes TLS on them before anything else sees a byte. It stands in front of grpc-js, so that
 * listened and injected connections take one path, and so that every socket has an error listener for its whole life
 * (CVE-2025-59465: one without takes the process down).
 */
export class Listener {
  readonly #options: ListenerOptions;
  readonly #server: NetServer;
  readonly #stopRenewal: () => void;
  /** Raw connections, for `close` to end those that are still in their handshake. */
  readonly #open = new Set<Duplex>();
  #stopped = false;

  constructor(options: ListenerOptions) {
    this.#options = options;
    const { tls } = options;
    if (tls === undefined) {
      this.#server = createServer({ noDelay: true, ...TCP_KEEPALIVE }, (socket) => {
        this.#track(socket);
        this.#accept(socket, addressOf(socket, 'unknown'));
      });
      this.#stopRenewal = () => undefined;
      return;
    }
    const server = this.#tlsServer(tls, undefined);
    this.#stopRenewal = tls.onChange((material) => renewTlsServer(server, material));
    this.#server = server;
  }

  #tlsServer(tls: TlsSource, source: string | undefined): ReturnType<typeof createTlsServer> {
    const server = createTlsServer(tls.current(), this.#options);
    server.on('connection', (raw: Socket) => this.#track(raw));
    server.on('secureConnection', (socket) => this.#accept(socket, source ?? addressOf(socket, 'unknown')));
    server.on('tlsClientError', (cause, socket) => {
      this.#options.onFault({ kind: 'handshake', where: source ?? addressOf(socket, 'unknown'), cause });
      socket.destroy();
    });
    return server;
  }

  #track(raw: Duplex): void {
    if (this.#stopped) {
      raw.destroy();
      return;
    }
    this.#open.add(raw);
    raw.on('error', ignoreError);
    raw.once('close', () => this.#open.delete(raw));
  }

  #accept(connection: Duplex, address: string): void {
    connection.on('error', ignoreError);
    if (this.#stopped) {
      connection.destroy();
      return;
    }
    this.#options.onConnection(
      new SocketBridge(connection, new FrameMeter({ preface: true })),
      new SessionPeer(connection, address),
    );
  }

  /** See GrpcServer.listen. */
  async listen(text: string): Promise<number> {
    const { host, port } = parseAddress(text);
    const server = this.#server;
    await new Promise<void>((resolve, reject) => {
      const failed = (error: NodeJS.ErrnoException): void => reject(listenError(text, error));
      server.once('error', failed);
      server.listen({ port, ...(host === '' ? {} : { host }) }, () => {
        server.off('error', failed);
        // From now on only accept() fails, for one connection, when descriptors run out.
        server.on('error', (cause) => this.#options.onFault({ kind: 'session', where: text, cause }));
        resolve();
      });
    });
    const bound = server.address();
    return typeof bound === 'object' && bound !== null ? bound.port : port;
  }

  /** See GrpcServer.inject. */
  inject(connection: Duplex, source: string | undefined): void {
    const { tls } = this.#options;
    // HTTP/2 has no half-closed connections: the other end's FIN is its end, not something to wait behind for a silent peer.
    connection.allowHalfOpen = false;
    if (connection instanceof Socket && source === undefined) {
      this.#server.emit('connection', connection);
    } else if (tls === undefined) {
      this.#track(connection);
      this.#accept(connection, source ?? addressOf(connection, 'injected'));
    } else {
      // A TLS server of its own, so that its connection is known to be this one: Node tells the raw side to nobody.
      this.#tlsServer(tls, source ?? addressOf(connection, 'injected')).emit('connection', connection);
    }
  }

  /** Accepts no more, and drops what is still in its handshake. Sessions go on. */
  stop(): void {
    this.#stopped = true;
    this.#stopRenewal();
    if (this.#server.listening) this.#server.close();
  }

  destroyConnections(): void {
    for (const raw of this.#open) raw.destroy();
  }
}

/** The 'close' that follows tells the session; a listener has to be there so that the process goes on. */
function ignoreError(): void {}

const LISTEN_REMEDIES: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the port is taken; stop the process that uses it or choose another port',
  EACCES: 'no permission; choose a port above 1023 or grant CAP_NET_BIND_SERVICE',
  EADDRNOTAVAIL: 'this machine has no such address; use one of its own, or 0.0.0.0',
  ENOTFOUND: 'the host name is unknown; use an address of this machine',
};

function listenError(text: string, error: NodeJS.ErrnoException): Error {
  const remedy = LISTEN_REMEDIES[error.code ?? ''] ?? error.message;
  return new Error(`cannot listen on ${formatAddress(parseAddress(text))}: ${remedy}`, { cause: error });
}
