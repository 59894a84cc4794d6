import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { ProxyId } from '@xylem/discovery';
import { addressOf } from '../sockets/listen.ts';

/** A connection on the tunnel plane: of an agent, direct or through another root proxy. */
export interface TunnelConnection {
  /** What StreamPeer.address says of it. */
  readonly label: string;
  /** The root proxy that relays it; undefined for a direct one. */
  readonly via: ProxyId | undefined;
  /** The agent's address, as whoever accepted it saw it. */
  readonly source: string;
  /** Ends the connection under all its streams. Idempotent. */
  close(): void;
}

interface Entry extends TunnelConnection {
  readonly stream: Duplex;
  readonly deadline: NodeJS.Timeout;
  readonly settled: () => void;
  attached: boolean;
}

export type AttachAdmission =
  | { readonly kind: 'admitted'; readonly connection: TunnelConnection }
  /** The connection has an Attach already, or it had one. */
  | { readonly kind: 'second' }
  | { readonly kind: 'unknown' };

/**
 * All connections of the tunnel plane by the address that their streams report, so that an Attach finds the connection
 * it came on. A connection that does not attach in time is closed, however far its handshakes have come.
 */
export class TunnelConnections {
  readonly #attachTimeoutMs: number;
  readonly #onTimeout: (source: string) => void;
  readonly #entries = new Map<string, Entry>();
  /** Numbers relayed connections: two may have one source. */
  #lastRelay = 0;

  /** @param attachTimeoutMs From accept to hello, TLS included. */
  constructor(attachTimeoutMs: number, onTimeout: (source: string) => void) {
    this.#attachTimeoutMs = attachTimeoutMs;
    this.#onTimeout = onTimeout;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Of them, those that came through another root proxy. */
  get relayedSize(): number {
    return [...this.#entries.values()].filter(({ via }) => via !== undefined).length;
  }

  /** @param settled Called once, when the connection has attached or ended. */
  addDirect(socket: Socket, settled: () => void): TunnelConnection {
    const label = addressOf(socket);
    return this.#add(socket, label, undefined, label, settled);
  }

  /** The label of the answer has to be handed on as the connection's address. */
  addRelayed(stream: Duplex, via: ProxyId, source: string, settled: () => void): TunnelConnection {
    this.#lastRelay += 1;
    return this.#add(stream, `${source} via ${via} #${this.#lastRelay}`, via, source, settled);
  }

  /** An Attach stream has begun on the connection with this label. One per connection. */
  attach(label: string): AttachAdmission {
    const entry = this.#entries.get(label);
    if (entry === undefined) return { kind: 'unknown' };
    if (entry.attached) return { kind: 'second' };
    entry.attached = true;
    clearTimeout(entry.deadline);
    entry.settled();
    return { kind: 'admitted', connection: entry };
  }

  closeAll(): void {
    for (const entry of [...this.#entries.values()]) entry.close();
  }

  #add(stream: Duplex, label: string, via: ProxyId | undefined, source: string, settled: () => void): TunnelConnection {
    const late = (): void => {
      this.#onTimeout(source);
      stream.destroy();
    };
    const deadline = setTimeout(late, this.#attachTimeoutMs);
    const entry: Entry = {
      label,
      via,
      source,
      stream,
      deadline,
      settled,
      attached: false,
      close: () => void stream.destroy(),
    };
    this.#entries.set(label, entry);
    stream.once('close', () => {
      clearTimeout(deadline);
      if (this.#entries.get(label) === entry) this.#entries.delete(label);
      if (!entry.attached) settled();
    });
    return entry;
  }
}
