import type { Socket } from 'node:net';
import { carry } from '@xylem/carrier';
import type { Carried, FramePort } from '@xylem/carrier';
import type { ConnectionEnd } from '@xylem/tunnel';

export interface RelayPorts {
  /** Opens PeerService.Relay; undefined when that proxy cannot be reached in time. Never rejects. */
  openRelay(proxy: string, source: string, withinMs: number): Promise<FramePort | undefined>;
  started(proxy: string, source: string): void;
  refused(source: string, cause: 'unreachable', detail: string): void;
  ended(proxy: string, source: string, end: ConnectionEnd): void;
}

const CONNECT_TIMEOUT_MS = 5_000;

/** Hands connections that were steered to a peer on to it: raw bytes, TLS stays between the agent and the peer. */
export class Relays {
  readonly #ports: RelayPorts;
  readonly #open = new Set<Carried>();
  #whenIdle: (() => void)[] = [];

  constructor(ports: RelayPorts) {
    this.#ports = ports;
  }

  get size(): number {
    return this.#open.size;
  }

  /**
   * Takes over a socket whose bytes so far were put back; resolves when it is done with. How long it may be silent is
   * left to its two ends, which ping each other. Never rejects.
   */
  async relay(socket: Socket, proxy: string, source: string): Promise<void> {
    const frames = await this.#ports.openRelay(proxy, source, CONNECT_TIMEOUT_MS);
    if (frames === undefined || socket.destroyed) {
      frames?.cancel('the agent went away');
      const detail = frames === undefined ? `root proxy ${proxy} cannot be reached` : 'the agent went away';
      this.#ports.refused(source, 'unreachable', detail);
      socket.destroy();
      return;
    }
    this.#ports.started(proxy, source);
    const carried = carry({ socket, frames, role: 'requester', outcome: 'connected' });
    this.#open.add(carried);
    const end = await carried.closed;
    this.#open.delete(carried);
    if (this.#open.size === 0) for (const resolve of this.#whenIdle.splice(0)) resolve();
    this.#ports.ended(proxy, source, end);
  }

  /** Resolves when nothing is relayed. */
  idle(): Promise<void> {
    if (this.#open.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#whenIdle.push(resolve));
  }

  /** Resets all of them: the agents dial again, and elsewhere. */
  abortAll(): void {
    for (const carried of [...this.#open]) carried.abort('shutdown', 'the relaying root proxy stops');
  }
}
