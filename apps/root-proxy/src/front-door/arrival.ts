import type { Socket } from 'node:net';
import { addressOf, isLoopback } from '../sockets/listen.ts';

/** A client between accept and its request. Gives its place back when it has asked, gone, or taken too long. */
export class Arrival {
  readonly raw: Socket;
  /** host:port of the client. */
  readonly source: string;
  readonly loopback: boolean;
  /** The same for the TCP socket and for the TLS socket on top of it; unique among live connections. */
  readonly key: string;
  readonly #leave: () => void;
  readonly #timer: NodeJS.Timeout;
  #settled = false;

  /** @param onTimeout Called when neither a request nor the end of the socket came within `timeoutMs`. */
  constructor(raw: Socket, timeoutMs: number, leave: () => void, onTimeout: () => void) {
    this.raw = raw;
    this.source = addressOf(raw);
    this.loopback = isLoopback(raw.remoteAddress ?? '');
    this.key = connectionKey(raw);
    this.#leave = leave;
    this.#timer = setTimeout(() => {
      if (this.settle()) onTimeout();
    }, timeoutMs);
    raw.once('close', () => this.settle());
  }

  /** False when that had happened before. */
  settle(): boolean {
    if (this.#settled) return false;
    this.#settled = true;
    clearTimeout(this.#timer);
    this.#leave();
    return true;
  }
}

/** Names a live TCP connection through its four addresses, which a TLS socket passes on from the TCP socket below. */
export function connectionKey(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort} ${socket.localAddress} ${socket.localPort}`;
}
