import { constants } from 'node:http2';
import type { Http2Server, ServerHttp2Session } from 'node:http2';
import type { LifetimeOptions, ServerFault, StreamPeer } from './api.ts';
import { CONNECTION_WINDOW_BYTES } from './options.ts';
import { setSessionPeer, UNKNOWN_PEER } from './server-stream.ts';
import { SessionLife } from './session-life.ts';
import type { EndingSession } from './session-life.ts';
import type { SessionPeer } from './session-peer.ts';
import { StreamWindows } from './stream-windows.ts';

export interface SessionOptions {
  /** Deadline for the peer's first settings. */
  readonly settingsTimeoutMs: number;
  /** Whether stream windows follow the number of streams. */
  readonly adaptWindows: boolean;
  readonly lifetime: LifetimeOptions | undefined;
  /** See ServerOptions.admit. */
  readonly admit: ((peer: StreamPeer) => string | undefined) | undefined;
  readonly onFault: (fault: ServerFault) => void;
}

/** The HTTP/2 sessions of one server, from their start to their end. */
export class Sessions {
  readonly #open = new Set<ServerHttp2Session>();
  readonly #lives = new Map<SessionPeer, SessionLife>();
  readonly #options: SessionOptions;
  #starting = UNKNOWN_PEER;

  constructor(http2Server: Http2Server, options: SessionOptions) {
    this.#options = options;
    http2Server.on('session', (session) => this.#prepare(session, this.#starting));
  }

  /** Runs `start`, within which Node creates the session and emits it, and says who is at its other end. */
  start(peer: SessionPeer, start: () => void): void {
    this.#starting = peer;
    start();
    this.#starting = UNKNOWN_PEER;
  }

  #prepare(session: ServerHttp2Session, peer: SessionPeer): void {
    const where = peer.address;
    const { settingsTimeoutMs, onFault } = this.#options;
    setSessionPeer(session, peer);
    this.#open.add(session);
    const life = new SessionLife(peer, ending(session), this.#options.lifetime);
    this.#lives.set(peer, life);
    // Settings give windows to streams only; the connection's own is raised by a WINDOW_UPDATE.
    session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    if (this.#options.adaptWindows) adaptWindows(session);
    const silent = setTimeout(() => {
      onFault({ kind: 'session', where, cause: new Error('no HTTP/2 settings before the deadline') });
      session.destroy();
    }, settingsTimeoutMs);
    session.once('remoteSettings', () => clearTimeout(silent));
    session.once('close', () => {
      clearTimeout(silent);
      this.#open.delete(session);
      this.#lives.delete(peer);
      life.over();
    });
    session.on('error', (cause) => onFault({ kind: 'session', where, cause }));
    const refusal = this.#options.admit?.(peer);
    if (refusal !== undefined) life.refuse(refusal);
  }

  /** See GrpcServer.cut. */
  cut(matches: (peer: StreamPeer) => boolean, detail: string): number {
    const lives = [...this.#lives].filter(([peer]) => matches(peer));
    for (const [, life] of lives) life.cut(detail);
    return lives.length;
  }

  /**
   * Lets open streams finish and takes no new ones (GOAWAY), until the limit. Not grpc-js' tryShutdown: on Node 24 it
   * reports the end at once, because Node's own close has marked the sessions closed before grpc-js looks at them.
   */
  async finish(limitMs: number): Promise<void> {
    const closed = [...this.#open].map(
      (session) => new Promise<void>((resolve) => void session.once('close', () => resolve())),
    );
    for (const session of this.#open) session.close();
    const limit = Promise.withResolvers<void>();
    const timer = setTimeout(limit.resolve, limitMs);
    await Promise.race([Promise.all(closed), limit.promise]);
    clearTimeout(timer);
    for (const session of this.#open) session.destroy();
  }
}

/** GOAWAY carries the reason to whoever looks: grpc-js does not, our channels do. */
function ending(session: ServerHttp2Session): EndingSession {
  return {
    retire(detail) {
      if (session.destroyed) return;
      session.goaway(constants.NGHTTP2_NO_ERROR, 0, Buffer.from(detail));
      session.close();
    },
    destroy: () => session.destroy(),
  };
}

function adaptWindows(session: ServerHttp2Session): void {
  const windows = new StreamWindows();
  windows.attach(session);
  session.on('stream', (stream) => {
    windows.opened();
    stream.once('close', () => windows.closed());
  });
}
