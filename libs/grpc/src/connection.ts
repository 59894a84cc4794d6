import { CallCredentials, ChannelCredentials } from '@grpc/grpc-js';
import type { experimental } from '@grpc/grpc-js';
import type { Socket } from 'node:net';
import type { ConnectionLoss, ConnectStage, TlsMaterial, TlsSource } from './api.ts';
import { TCP_KEEPALIVE } from './options.ts';
import { addressOf } from './peer.ts';
import { SessionPeer } from './session-peer.ts';
import { FrameMeter } from './frame-meter.ts';
import { SocketBridge } from './socket-bridge.ts';
import { startTls } from './tls.ts';

type SecureConnector = experimental.SecureConnector;
type SecureConnectResult = experimental.SecureConnectResult;

/**
 * Follows one channel's connection from the dial to its loss. grpc-js dials TCP and speaks HTTP/2; in between it asks
 * its credentials to secure the socket, which is where we learn how far a dial came and get hold of the socket.
 */
export class Connection {
  readonly credentials: ChannelCredentials;
  readonly #tls: TlsSource | undefined;
  readonly #serverName: string;
  readonly #reconnect: boolean;
  readonly #onLost: (loss: ConnectionLoss) => void;
  #stage: ConnectStage = 'tcp';
  #failure: Error | undefined;
  #socket: Socket | undefined;
  #peer: SessionPeer | undefined;
  #shown: TlsMaterial | undefined;
  #dials = 0;
  #closed = false;

  /** @param onLost called when an established connection is gone, or draining. */
  constructor(
    tls: TlsSource | undefined,
    serverName: string,
    reconnect: boolean,
    onLost: (loss: ConnectionLoss) => void,
  ) {
    this.#onLost = onLost;
    this.#tls = tls;
    this.#serverName = serverName;
    this.#reconnect = reconnect;
    this.credentials = new ConnectionCredentials(this, tls !== undefined);
  }

  /** How far the dial has come. */
  get stage(): ConnectStage {
    return this.#stage;
  }

  /** Why TLS failed; other failures are known to grpc-js only. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  get peer(): SessionPeer | undefined {
    return this.#peer;
  }

  /** What the handshake showed to the server. */
  get shown(): TlsMaterial | undefined {
    return this.#shown;
  }

  /** Called by grpc-js before each TCP dial. Throws to forbid it. */
  beforeDial(): void {
    if (this.#closed) throw new Error('the channel is closed');
    if (this.#dials > 0 && !this.#reconnect) throw new Error('the connection was lost and is not made again');
    this.#dials += 1;
    this.#stage = 'tcp';
    this.#failure = undefined;
  }

  /** Called by grpc-js with each TCP connection. */
  async secure(tcp: Socket): Promise<SecureConnectResult> {
    tcp.on('error', ignoreError);
    tcp.setKeepAlive(TCP_KEEPALIVE.keepAlive, TCP_KEEPALIVE.keepAliveInitialDelay);
    if (this.#closed) tcp.destroy();
    this.#socket = tcp;
    if (this.#tls === undefined) return this.#ready(tcp, false);
    this.#stage = 'tls';
    try {
      this.#shown = this.#tls.current();
      return this.#ready(await handshake(tcp, this.#shown, this.#serverName), true);
    } catch (error) {
      this.#failure = error instanceof Error ? error : new Error(String(error));
      tcp.destroy();
      throw this.#failure;
    }
  }

  #ready(socket: Socket, secure: boolean): SecureConnectResult {
    socket.on('error', (error) => {
      this.#failure = error;
    });
    this.#socket = socket;
    this.#stage = 'http2';
    return { socket: new SocketBridge(socket, new FrameMeter({ preface: false })), secure };
  }

  /** The connection is gone, and grpc-js knows. */
  broken(): void {
    const detail = this.#failure?.message ?? 'the connection was closed by the peer';
    this.#onLost({ kind: 'broken', detail });
  }

  /** HTTP/2 is up. */
  established(): void {
    const socket = this.#socket;
    if (socket !== undefined) this.#peer = new SessionPeer(socket, addressOf(socket, 'unknown'));
  }

  /** The server takes no new streams, and may say why. */
  goaway(reason: string): void {
    const detail = reason === '' ? 'the server takes no new streams' : `the server ends the connection: ${reason}`;
    this.#onLost({ kind: 'goaway', detail });
  }

  /** The server's certificate is over. */
  expired(detail: string): void {
    this.#onLost({ kind: 'expired', detail });
  }

  close(): void {
    this.#closed = true;
    this.#socket?.destroy();
  }
}

/** The error that matters is followed by 'close'; a listener has to be there so that the process goes on. */
function ignoreError(): void {}

function handshake(tcp: Socket, material: TlsMaterial, serverName: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = startTls(tcp, material, serverName);
    socket.once('secureConnect', () => {
      if (socket.alpnProtocol === 'h2') resolve(socket);
      else reject(new Error('the server does not speak HTTP/2'));
    });
    // Stays: a second error, after the first has rejected, must find a listener.
    socket.on('error', reject);
    socket.once('close', () => reject(new Error('the server closed the connection during the TLS handshake')));
  });
}

class ConnectionCredentials extends ChannelCredentials {
  readonly #connection: Connection;
  readonly #secure: boolean;

  constructor(connection: Connection, secure: boolean) {
    super();
    this.#connection = connection;
    this.#secure = secure;
  }

  override _isSecure(): boolean {
    return this.#secure;
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(
    ...[, , callCredentials]: Parameters<ChannelCredentials['_createSecureConnector']>
  ): SecureConnector {
    const connection = this.#connection;
    return {
      waitForReady: async () => connection.beforeDial(),
      connect: (socket) => connection.secure(socket),
      getCallCredentials: () => callCredentials ?? CallCredentials.createEmpty(),
      destroy: () => undefined,
    };
  }
}
