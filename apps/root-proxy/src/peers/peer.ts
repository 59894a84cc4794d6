import { FramePort } from '@xylem/carrier';
import { createChannel } from '@xylem/grpc';
import type { GrpcChannel, TlsSource } from '@xylem/grpc';
import { PeerService, RawFrameMethods } from '@xylem/wire';
import type { access } from '@xylem/wire';

/** Where another root proxy's peer service is. */
export interface PeerAddress {
  readonly proxy: string;
  /** host:port */
  readonly address: string;
  /** Changes when the proxy was started again: what was connected to before is gone. */
  readonly incarnation: bigint;
}

export interface PeerEvents {
  connected(proxy: string): void;
  /** After a connection that was made, or the first attempt of a row, failed. */
  lost(proxy: string, detail: string): void;
}

/** Full-jitter backoff between attempts to reach a peer that is a member and does not answer. */
const BACKOFF = { firstMs: 100, greatestMs: 5_000 } as const;

/** A connection to one root proxy, kept while it is a member. */
export class Peer {
  readonly at: PeerAddress;
  readonly #tls: TlsSource;
  readonly #domain: string;
  readonly #events: PeerEvents;
  #channel: GrpcChannel | undefined;
  /** The attempt that is under way, for dials that come meanwhile. Never rejects. */
  #attempt: Promise<void> = Promise.resolve();
  #retry: NodeJS.Timeout | undefined;
  #failures = 0;
  #closed = false;

  constructor(at: PeerAddress, tls: TlsSource, domain: string, events: PeerEvents) {
    this.at = at;
    this.#tls = tls;
    this.#domain = domain;
    this.#events = events;
    this.#connect();
  }

  get connected(): boolean {
    return this.#channel !== undefined;
  }

  /** Opens Forward; undefined when the peer cannot be reached within the time. */
  async openForward(withinMs: number): Promise<FramePort | undefined> {
    const channel = await this.#ready(withinMs);
    return channel === undefined ? undefined : new FramePort(channel.duplex(RawFrameMethods.forward));
  }

  /** Opens Relay for an agent's connection that came from `source`; undefined when the peer cannot be reached in time. */
  async openRelay(source: string, withinMs: number): Promise<FramePort | undefined> {
    const channel = await this.#ready(withinMs);
    return channel === undefined
      ? undefined
      : new FramePort(channel.duplex(RawFrameMethods.relay, { [RELAY_SOURCE]: source }));
  }

  /** The peer's own part of the matrix. Rejects with one line when it does not answer in time. */
  async describe(withinMs: number): Promise<access.ProxyStatus> {
    const channel = await this.#ready(withinMs);
    if (channel === undefined) throw new Error(`root proxy ${this.at.proxy} at ${this.at.address} cannot be reached`);
    const { status } = await channel.unary(PeerService.describe, {}, withinMs);
    if (status === undefined) throw new Error(`root proxy ${this.at.proxy} gave an empty answer`);
    return status;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    this.#channel?.close();
    this.#channel = undefined;
  }

  async #ready(withinMs: number): Promise<GrpcChannel | undefined> {
    if (this.#channel === undefined) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, withinMs);
      await Promise.race([this.#attempt, promise]);
      clearTimeout(timer);
    }
    return this.#channel;
  }

  #connect(): void {
    this.#attempt = this.#try();
  }

  async #try(): Promise<void> {
    const { proxy, address } = this.at;
    const channel = createChannel({ address, tls: this.#tls, serverName: `${proxy}.${this.#domain}` });
    try {
      await channel.connect();
    } catch (error) {
      return this.#failed(error instanceof Error ? error.message : String(error));
    }
    if (this.#closed) return channel.close();
    this.#failures = 0;
    this.#channel = channel;
    this.#events.connected(proxy);
    void this.#watch(channel);
  }

  async #watch(channel: GrpcChannel): Promise<void> {
    const loss = await channel.lost;
    if (this.#channel !== channel) return;
    // After a GOAWAY the streams that are open finish on their own; new ones need a new connection.
    this.#channel = undefined;
    this.#failed(loss.detail);
  }

  #failed(detail: string): void {
    if (this.#closed) return;
    if (this.#failures === 0) this.#events.lost(this.at.proxy, detail);
    const ceilingMs = Math.min(BACKOFF.greatestMs, BACKOFF.firstMs * 2 ** this.#failures);
    this.#failures += 1;
    this.#retry = setTimeout(() => this.#connect(), Math.random() * ceilingMs);
  }
}

/** Metadata of Relay (peer.proto): the agent's address as the relaying proxy saw it. */
export const RELAY_SOURCE = 'xylem-relay-source';
