import type { FramePort } from '@xylem/carrier';
import { createChannel } from '@xylem/grpc';
import type { StreamPeer, TlsSource } from '@xylem/grpc';
import { MAX_ANSWER_BYTES, PeerService, RawFrameMethods } from '@xylem/wire';
import type { access } from '@xylem/wire';
import { PeerConnection } from './connection.ts';

/** Where another root proxy's peer service is. */
export interface PeerAddress {
  readonly proxy: string;
  /** host:port */
  readonly address: string;
}

export interface PeerEvents {
  /** Why the peer with this certificate is not to be used; undefined when it is. */
  refusal(peer: StreamPeer): string | undefined;
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
  #connection: PeerConnection | undefined;
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

  /** Opens Forward; undefined when the peer cannot be reached within the time. */
  async openForward(withinMs: number): Promise<FramePort | undefined> {
    return (await this.#ready(withinMs))?.open(RawFrameMethods.forward);
  }

  /** Opens Relay for an agent's connection that came from `source`; undefined when the peer cannot be reached in time. */
  async openRelay(source: string, withinMs: number): Promise<FramePort | undefined> {
    return (await this.#ready(withinMs))?.open(RawFrameMethods.relay, { [RELAY_SOURCE]: source });
  }

  /** The peer's own part of the matrix. Rejects with one line when it does not answer in time. */
  async describe(withinMs: number): Promise<access.ProxyStatus> {
    const connection = await this.#ready(withinMs);
    if (connection === undefined) {
      throw new Error(`root proxy ${this.at.proxy} at ${this.at.address} cannot be reached`);
    }
    const { status } = await connection.channel.unary(PeerService.describe, {}, withinMs);
    if (status === undefined) throw new Error(`root proxy ${this.at.proxy} gave an empty answer`);
    return status;
  }

  /**
   * Connects no more. What runs over the connection goes on: a peer that is no member now may be alive, and only out of
   * touch with the registries. Resolves when nothing is left.
   */
  async retire(): Promise<void> {
    this.#stop();
    const connection = this.#connection;
    connection?.retire();
    await connection?.channel.lost;
  }

  /** Ends the connection with all that runs over it, and tries again with the backoff of a failure. */
  cut(detail: string): void {
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.channel.close();
    if (connection !== undefined) this.#failed(detail);
  }

  /** Ends the connection with all that runs over it. */
  close(): void {
    this.#stop();
    this.#connection?.channel.close();
  }

  #stop(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
  }

  async #ready(withinMs: number): Promise<PeerConnection | undefined> {
    if (this.#connection === undefined) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, withinMs);
      await Promise.race([this.#attempt, promise]);
      clearTimeout(timer);
    }
    return this.#connection;
  }

  #connect(): void {
    this.#attempt = this.#try();
  }

  async #try(): Promise<void> {
    const { proxy, address } = this.at;
    const channel = createChannel({
      address,
      tls: this.#tls,
      serverName: `${proxy}.${this.#domain}`,
      maxMessageBytes: MAX_ANSWER_BYTES,
    });
    try {
      await channel.connect();
    } catch (error) {
      return this.#failed(error instanceof Error ? error.message : String(error));
    }
    if (this.#closed) return channel.close();
    const refusal = channel.peer && this.#events.refusal(channel.peer);
    if (refusal !== undefined) {
      channel.close();
      return this.#failed(refusal);
    }
    this.#failures = 0;
    this.#connection = new PeerConnection(channel);
    this.#events.connected(proxy);
    void this.#watch(this.#connection);
  }

  async #watch(connection: PeerConnection): Promise<void> {
    const loss = await connection.channel.lost;
    if (this.#connection !== connection) return;
    // After a GOAWAY the streams that are open finish on their own; new ones need a new connection.
    this.#connection = undefined;
    connection.retire();
    this.#failed(loss.kind === 'closed' ? 'it stopped answering' : loss.detail);
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
