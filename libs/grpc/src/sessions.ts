import type { Http2Server, ServerHttp2Session } from 'node:http2';
import type { ServerFault } from './api.ts';
import { CONNECTION_WINDOW_BYTES } from './options.ts';
import { setSessionPeer } from './server-stream.ts';

/** The HTTP/2 sessions of one server, from their start to their end. */
export class Sessions {
  readonly #open = new Set<ServerHttp2Session>();
  readonly #settingsTimeoutMs: number;
  readonly #onFault: (fault: ServerFault) => void;
  #starting = 'unknown';

  constructor(http2Server: Http2Server, settingsTimeoutMs: number, onFault: (fault: ServerFault) => void) {
    this.#settingsTimeoutMs = settingsTimeoutMs;
    this.#onFault = onFault;
    http2Server.on('session', (session) => this.#prepare(session, this.#starting));
  }

  /** Runs `start`, within which Node creates the session and emits it, and gives that session's peer an address. */
  start(address: string, start: () => void): void {
    this.#starting = address;
    start();
    this.#starting = 'unknown';
  }

  #prepare(session: ServerHttp2Session, where: string): void {
    setSessionPeer(session, where);
    this.#open.add(session);
    // Settings give windows to streams only; the connection's own is raised by a WINDOW_UPDATE.
    session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    const silent = setTimeout(() => {
      this.#onFault({ kind: 'session', where, cause: new Error('no HTTP/2 settings before the deadline') });
      session.destroy();
    }, this.#settingsTimeoutMs);
    session.once('remoteSettings', () => clearTimeout(silent));
    session.once('close', () => {
      clearTimeout(silent);
      this.#open.delete(session);
    });
    session.on('error', (cause) => this.#onFault({ kind: 'session', where, cause }));
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
