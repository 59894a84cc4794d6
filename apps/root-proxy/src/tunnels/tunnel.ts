import { plainText } from '@xylem/carrier';
import { Liveness } from '@xylem/discovery';
import type { LivenessConfig, LivenessEffect, LivenessEvent, Random } from '@xylem/discovery';
import type { MessageStream, StreamPeer } from '@xylem/grpc';
import type { carry, tunnel as wire } from '@xylem/wire';
import { now } from '../clock.ts';
import { Driver } from '../driver.ts';
import type { TunnelConnection } from '../relay/connections.ts';
import type { AcceptedHello } from './hello.ts';
import { readPool } from './pool.ts';

export type ControlStream = MessageStream<wire.AttachResponse, wire.AttachRequest>;
export type AgentMessage = NonNullable<wire.AttachRequest['kind']>;

/** How a tunnel ended, for logs and metrics. */
export interface TunnelEnd {
  /** A GOODBYE was said, by either side. */
  readonly graceful: boolean;
  /** Bounded: it labels a metric. */
  readonly cause: string;
  /** One line for a person. */
  readonly detail: string;
}

export interface TunnelListener {
  /** What concerns claims and gossip; liveness is handled here. */
  message(
    tunnel: Tunnel,
    message: Extract<AgentMessage, { $case: 'standby' | 'snapshotWanted' | 'evidence' | 'drain' }>,
  ): void;
  /** The agent answered a PING that was sent after `challenge()`. */
  alive(tunnel: Tunnel): void;
  /** The round trip of a PING. */
  pinged(roundTripMs: number): void;
  /** A message that has no place here; the tunnel goes on. */
  rejected(tunnel: Tunnel, detail: string): void;
  /** Exactly once, the last call. */
  ended(tunnel: Tunnel, end: TunnelEnd): void;
}

/** How long GOODBYE may take to leave before the connection goes. */
const GOODBYE_GRACE_MS = 1_000;

/** One tunnel of this root proxy, from its welcome to its end: reads the control stream, answers and sends PINGs. */
export class Tunnel {
  readonly hello: AcceptedHello;
  readonly connection: TunnelConnection;
  readonly openedAt = now();
  readonly #stream: ControlStream;
  readonly #listener: TunnelListener;
  readonly #liveness: Liveness;
  readonly #driver: Driver<LivenessEvent, LivenessEffect>;
  #pool: wire.PoolReport | undefined;
  #ended = false;

  constructor(
    stream: ControlStream,
    hello: AcceptedHello,
    connection: TunnelConnection,
    liveness: LivenessConfig,
    random: Random,
    listener: TunnelListener,
  ) {
    this.#stream = stream;
    this.hello = hello;
    this.connection = connection;
    this.#listener = listener;
    this.#liveness = new Liveness(liveness, random, now());
    this.#driver = new Driver(this.#liveness, (effect) => this.#perform(effect));
  }

  get id(): AcceptedHello['tunnel'] {
    return this.hello.tunnel;
  }

  /** The far end of the TLS connection. */
  get peer(): StreamPeer {
    return this.#stream.peer;
  }

  /** What the agent said last about its pool. */
  get pool(): wire.PoolReport | undefined {
    return this.#pool;
  }

  send(kind: NonNullable<wire.AttachResponse['kind']>): void {
    if (!this.#ended) this.#stream.send({ kind });
  }

  /** Asks for a sign of life now. */
  challenge(): void {
    this.#driver.feed({ type: 'challengeRequested' });
  }

  /** Says GOODBYE and ends the tunnel. */
  goodbye(reason: carry.Reason, cause: string, detail: string): void {
    this.send({ $case: 'goodbye', value: { reason, detail } });
    this.#end({ graceful: true, cause, detail });
  }

  /** Reads until the tunnel is over. */
  async run(messages: AsyncIterator<wire.AttachRequest>): Promise<void> {
    this.#driver.start();
    for (let next = await messages.next(); next.done !== true && !this.#ended; next = await messages.next())
      this.#receive(next.value.kind);
    if (this.#ended) return;
    const end = await this.#stream.closed;
    const detail = end.kind === 'ended' ? 'the agent ended the stream without GOODBYE' : plainText(end.detail);
    this.#end({ graceful: false, cause: 'lost', detail });
  }

  #receive(message: wire.AttachRequest['kind']): void {
    switch (message?.$case) {
      case 'ping':
        return this.send({ $case: 'pong', value: { nonce: message.value.nonce } });
      case 'pong':
        this.#driver.feed({ type: 'pongReceived', nonce: message.value.nonce });
        return this.#listener.pinged(this.#liveness.status().roundTripMs ?? 0);
      case 'poolReport':
        this.#pool = readPool(message.value);
        return;
      case 'standby':
      case 'snapshotWanted':
      case 'evidence':
      case 'drain':
        return this.#listener.message(this, message);
      case 'goodbye':
        return this.#end({ graceful: true, cause: 'goodbye', detail: plainText(message.value.detail) });
      case 'hello':
        return this.#listener.rejected(this, 'a second hello');
      case undefined:
        // A kind of message that a later version knows.
        return;
    }
  }

  #perform(effect: LivenessEffect): void {
    switch (effect.type) {
      case 'sendPing':
        return this.send({ $case: 'ping', value: { nonce: effect.nonce } });
      case 'reportAlive':
        return this.#listener.alive(this);
      case 'declareDead':
        this.#end({
          graceful: false,
          cause: 'silent',
          detail: `the agent has not answered for ${Math.round(effect.silentMs)} ms`,
        });
        this.connection.close();
        return;
    }
  }

  #end(end: TunnelEnd): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#driver.stop();
    this.#stream.end();
    // Whatever the agent does with its end: the descriptors on this side are given back.
    const close = setTimeout(() => this.connection.close(), end.graceful ? GOODBYE_GRACE_MS : 0);
    close.unref();
    this.#listener.ended(this, end);
  }
}
