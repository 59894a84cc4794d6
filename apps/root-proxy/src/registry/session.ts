import type { MethodDefinition } from '@grpc/grpc-js';
import { createChannel } from '@xylem/grpc';
import type { GrpcChannel, MessageStream, StreamPeer, TlsSource } from '@xylem/grpc';
import { RegistryService } from '@xylem/wire';
import type { registry as wire } from '@xylem/wire';

export interface SessionListener {
  message(message: wire.SessionResponse): void;
  /** Why the registry with this certificate is not to be believed; undefined when it is. */
  refusal(registry: StreamPeer): string | undefined;
  /** Exactly once, the last call. */
  ended(detail: string): void;
}

/** A whole view of a large deployment has to fit into one message. */
const MAX_MESSAGE_BYTES = 16 * 1_024 * 1_024;
const CONNECT_TIMEOUT_MS = 4_000;
/** How long what was said last may take to leave. */
const CLOSE_GRACE_MS = 500;

/** One session with one registry replica, on a connection of its own. */
export class RegistrySession {
  readonly #channel: GrpcChannel;
  readonly #listener: SessionListener;
  #stream: MessageStream<wire.SessionRequest, wire.SessionResponse> | undefined;
  #over = false;

  constructor(address: string, domain: string, tls: TlsSource, hello: wire.ProxyHello, listener: SessionListener) {
    this.#listener = listener;
    this.#channel = createChannel({
      address,
      tls,
      serverName: `registry.${domain}`,
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      maxMessageBytes: MAX_MESSAGE_BYTES,
    });
    void this.#run(hello);
  }

  /** Dropped when the session is not up: its end is told, and the core asks again. */
  send(kind: NonNullable<wire.SessionRequest['kind']>): void {
    this.#stream?.send({ kind });
  }

  /** One request beside the session. Rejects with a StatusError. */
  unary<Request, Response>(
    method: MethodDefinition<Request, Response>,
    request: Request,
    deadlineMs: number,
  ): Promise<Response> {
    return this.#channel.unary(method, request, deadlineMs);
  }

  /** Ends the session when its registry is to be believed no more. */
  recheck(): void {
    const { peer } = this.#channel;
    const refusal = peer && this.#listener.refusal(peer);
    if (refusal !== undefined) this.#ended(refusal);
  }

  /** Ends in order; nothing is told of it. */
  close(): void {
    if (this.#over) return;
    this.#over = true;
    this.#stream?.end();
    setTimeout(() => this.#channel.close(), this.#stream === undefined ? 0 : CLOSE_GRACE_MS);
  }

  async #run(hello: wire.ProxyHello): Promise<void> {
    try {
      await this.#channel.connect();
    } catch (error) {
      return this.#ended(error instanceof Error ? error.message : String(error));
    }
    this.recheck();
    if (this.#over) return;
    const stream: MessageStream<wire.SessionRequest, wire.SessionResponse> = this.#channel.stream(
      RegistryService.session,
    );
    this.#stream = stream;
    stream.send({ kind: { $case: 'hello', value: hello } });
    for await (const message of stream) {
      if (!this.#over) this.#listener.message(message);
    }
    const end = await stream.closed;
    this.#ended(end.kind === 'ended' ? 'the registry ended the session' : end.detail);
  }

  #ended(detail: string): void {
    if (this.#over) return;
    this.#over = true;
    this.#channel.close();
    this.#listener.ended(detail);
  }
}
