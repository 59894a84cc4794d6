import type { Socket } from 'node:net';
import { carry } from '@xylem/carrier';
import type { FramePort } from '@xylem/carrier';
import type { ConnectionEnd } from '@xylem/tunnel';

/** Why a steered connection was not relayed, or how its relay ended. Bounded: it labels a metric. */
export type RelayResult = 'relayed' | 'unreachable' | 'limit';

export interface RelayPorts {
  /** Opens PeerService.Relay; undefined when that proxy cannot be reached in time. Never rejects. */
  openRelay(proxy: string, source: string, withinMs: number): Promise<FramePort | undefined>;
  onStarted(proxy: string, source: string): void;
  onRefused(proxy: string, source: string, result: Exclude<RelayResult, 'relayed'>, detail: string): void;
  onEnded(proxy: string, source: string, end: ConnectionEnd): void;
}

/** Relays held at once. A relayed tunnel is meant to be replaced by a direct one; this many cannot all be agents in need. */
const MAX_RELAYS = 4_096;
const CONNECT_TIMEOUT_MS = 5_000;

/** Hands connections that were steered to a peer on to it: raw bytes, TLS stays between the agent and the peer. */
export class Relays {
  readonly #ports: RelayPorts;
  readonly #open = new Set<{ abort(): void }>();
  #count = 0;

  constructor(ports: RelayPorts) {
    this.#ports = ports;
  }

  get size(): number {
    return this.#count;
  }

  /**
   * Takes over a socket whose bytes so far were put back. Idle relays are left alone: the two ends have their own
   * liveness. Never rejects.
   */
  async relay(socket: Socket, proxy: string, source: string): Promise<void> {
    if (this.#count >= MAX_RELAYS) {
      this.#ports.onRefused(proxy, source, 'limit', `${MAX_RELAYS} connections are relayed already`);
      socket.destroy();
      return;
    }
    this.#count += 1;
    try {
      await this.#run(socket, proxy, source);
    } finally {
      this.#count -= 1;
    }
  }

  /** Resets all of them. */
  abortAll(): void {
    for (const relay of this.#open) relay.abort();
  }

  async #run(socket: Socket, proxy: string, source: string): Promise<void> {
    const frames = await this.#ports.openRelay(proxy, source, CONNECT_TIMEOUT_MS);
    if (frames === undefined || socket.destroyed) {
      frames?.cancel('the agent went away');
      this.#ports.onRefused(proxy, source, 'unreachable', frames === undefined ? 'the peer cannot be reached' : 'the agent went away');
      socket.destroy();
      return;
    }
    this.#ports.onStarted(proxy, source);
    const carried = carry({ socket, frames, role: 'requester', outcome: 'connected' });
    const relay = { abort: (): void => carried.abort('shutdown', 'the relaying root proxy stops') };
    this.#open.add(relay);
    const end = await carried.closed;
    this.#open.delete(relay);
    this.#ports.onEnded(proxy, source, end);
  }
}
