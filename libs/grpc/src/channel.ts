import { Metadata, status as Status } from '@grpc/grpc-js';
import type { ClientDuplexStream, MethodDefinition } from '@grpc/grpc-js';
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { formatAddress, parseAddress } from './address.ts';
import type { HostPort } from './address.ts';
import type { ChannelOptions, ConnectionLoss, GrpcChannel, MessageStream, StreamPeer } from './api.ts';
import { abandon, establish, prepareAttempt, prepareEverySession } from './attempt.ts';
import type { Attempt } from './attempt.ts';
import { clientSide, closedSide } from './client-stream.ts';
import { connectError } from './connect-error.ts';
import { ChannelError, StatusError } from './errors.ts';
import { ByteCountedStream } from './message-stream.ts';
import type { StreamCodec } from './message-stream.ts';
import { DEFAULTS } from './options.ts';
import { SessionPeer } from './session-peer.ts';
import { callUnary } from './unary-call.ts';
import { guardJsStreams } from './js-stream-guard.ts';

/** See GrpcChannel. Dials at the first call or `connect()`. @throws Error when an address is malformed. */
export function createChannel(options: ChannelOptions): GrpcChannel {
  guardJsStreams();
  return new Channel(options);
}

const unchanged = (bytes: Buffer): Buffer => bytes;
const CLOSED = 'the channel is closed';

class Channel implements GrpcChannel {
  readonly lost: Promise<ConnectionLoss>;
  readonly #options: ChannelOptions;
  readonly #addresses: readonly HostPort[];
  readonly #timeoutMs: number;
  readonly #lost = Promise.withResolvers<ConnectionLoss>();
  /** The newest attempt, made or not. */
  #dialling: Attempt | undefined;
  /** The attempt that calls use. */
  #attempt: Attempt | undefined;
  #connecting: Promise<void> | undefined;
  #closed = false;

  constructor(options: ChannelOptions) {
    const { address } = options;
    this.#options = options;
    this.#addresses = (typeof address === 'string' ? address.split(',') : address).map(parseAddress);
    if (this.#addresses.length === 0) throw new Error('a channel needs at least one address');
    this.#timeoutMs = options.connectTimeoutMs ?? DEFAULTS.connectTimeoutMs;
    this.lost = this.#lost.promise;
  }

  get peer(): StreamPeer | undefined {
    return this.#attempt?.connection.peer;
  }

  connect(): Promise<void> {
    if (this.#closed) return Promise.reject(new ChannelError('tcp', this.#name(), CLOSED));
    this.#connecting ??= this.#connect();
    return this.#connecting;
  }

  /** Tries every address of every host in turn, so that there is never more than one connection. */
  async #connect(): Promise<void> {
    let failure: ChannelError | undefined;
    for (const address of this.#addresses) {
      const targets = this.#options.reconnect === true ? [nameOf(address)] : await this.#resolve(address);
      if (targets instanceof ChannelError) {
        failure = targets;
        continue;
      }
      for (const target of targets) {
        if (this.#closed) break;
        const attempt = this.#prepare(address, target);
        failure = await this.#establish(attempt);
        if (failure === undefined) return;
        abandon(attempt);
      }
    }
    const detail = this.#closed ? CLOSED : 'the host name has no address';
    this.close();
    throw failure ?? new ChannelError('resolve', this.#name(), detail);
  }

  async #resolve({ host, port }: HostPort): Promise<readonly string[] | ChannelError> {
    if (isIP(host) !== 0) return [nameOf({ host, port })];
    const deadline = Promise.withResolvers<never>();
    const giveUp = new AbortController();
    const timer = setTimeout(() => {
      deadline.reject(new ChannelError('deadline', host, `no answer from DNS within ${this.#timeoutMs} ms`));
      giveUp.abort();
    }, this.#timeoutMs);
    try {
      const resolve = this.#options.resolve ?? systemResolve;
      const found = await Promise.race([resolve(host, giveUp.signal), deadline.promise]);
      return found.map((address) => nameOf({ host: address, port }));
    } catch (error) {
      if (error instanceof ChannelError) return error;
      return connectError(
        'tcp',
        formatAddress({ host, port }),
        error instanceof Error ? error : new Error(String(error)),
      );
    } finally {
      clearTimeout(timer);
    }
  }

  #prepare(address: HostPort, target: string): Attempt {
    const attempt: Attempt = prepareAttempt({
      channel: this.#options,
      address: formatAddress(address),
      target,
      host: address.host,
      onLost: (loss) => this.#lostConnection(attempt, loss),
    });
    this.#dialling = attempt;
    return attempt;
  }

  #lostConnection(attempt: Attempt, loss: ConnectionLoss): void {
    if (attempt !== this.#dialling) return;
    this.#lost.resolve(loss);
    // grpc-js keeps timers for a client that is not closed.
    if (loss.kind === 'broken' && this.#options.reconnect !== true) this.close();
  }

  async #establish(attempt: Attempt): Promise<ChannelError | undefined> {
    try {
      await establish(attempt, this.#timeoutMs);
    } catch (error) {
      if (error instanceof ChannelError) return error;
      throw error;
    }
    this.#attempt = attempt;
    if (this.#options.reconnect === true) void prepareEverySession(attempt);
    return undefined;
  }

  /** The attempt to make a call on; undefined once the channel is closed, or while `connect()` is still at work. */
  #usable(): Attempt | undefined {
    if (this.#attempt === undefined && this.#connecting === undefined) this.#connectLazily();
    return this.#closed ? undefined : this.#attempt;
  }

  /** A call without `connect()`: grpc-js keeps it until the connection is made. */
  #connectLazily(): void {
    const [address] = this.#addresses;
    if (address === undefined || this.#closed) return;
    const attempt = this.#prepare(address, nameOf(address));
    this.#attempt = attempt;
    this.#connecting = this.#establish(attempt).then((failure) => {
      if (failure === undefined) return;
      this.close();
      throw failure;
    });
    this.#connecting.catch(() => undefined);
  }

  stream<Out, In>(
    method: MethodDefinition<Out, In>,
    metadata?: Readonly<Record<string, string>>,
  ): MessageStream<Out, In> {
    const codec: StreamCodec<Out, In> = {
      encode: method.requestSerialize,
      decode: method.responseDeserialize,
      maxMessageBytes: this.#options.maxMessageBytes ?? DEFAULTS.maxMessageBytes,
      queueLimitBytes: this.#options.queueLimitBytes ?? DEFAULTS.queueLimitBytes,
    };
    const attempt = this.#usable();
    if (attempt === undefined) return new ByteCountedStream(closedSide(this.#peer(), CLOSED), codec);
    const call = open(attempt, { path: method.path, encode: unchanged, decode: unchanged }, metadata);
    return new ByteCountedStream(
      clientSide(call, () => this.#peer()),
      codec,
    );
  }

  duplex<Out, In>(
    method: MethodDefinition<Out, In>,
    metadata?: Readonly<Record<string, string>>,
  ): ClientDuplexStream<Out, In> {
    const attempt = this.#usable();
    if (attempt === undefined) throw new StatusError(Status.UNAVAILABLE, CLOSED);
    const codec = { path: method.path, encode: method.requestSerialize, decode: method.responseDeserialize };
    return open(attempt, codec, metadata);
  }

  unary<Request, Response>(
    method: MethodDefinition<Request, Response>,
    request: Request,
    deadlineMs: number,
  ): Promise<Response> {
    const attempt = this.#usable();
    if (attempt === undefined) return Promise.reject(new StatusError(Status.UNAVAILABLE, CLOSED));
    return callUnary(attempt.client, method, request, deadlineMs);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#dialling !== undefined) abandon(this.#dialling);
    this.#lost.resolve({ kind: 'closed', detail: 'closed by us' });
  }

  #peer(): StreamPeer {
    return this.peer ?? new SessionPeer(undefined, this.#name());
  }

  #name(): string {
    return this.#addresses.map(formatAddress).join(', ');
  }
}

async function systemResolve(host: string): Promise<readonly string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address);
}

/** grpc-js' name of an address. */
function nameOf(address: HostPort): string {
  const scheme = { 0: 'dns', 4: 'ipv4', 6: 'ipv6' }[isIP(address.host)] ?? 'dns';
  return `${scheme}:${formatAddress(address)}`;
}

interface OpenCodec<Out, In> {
  readonly path: string;
  readonly encode: (message: Out) => Buffer;
  readonly decode: (bytes: Buffer) => In;
}

function open<Out, In>(
  { client, windows }: Attempt,
  { path, encode, decode }: OpenCodec<Out, In>,
  headers: Readonly<Record<string, string>> = {},
): ClientDuplexStream<Out, In> {
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(headers)) metadata.set(key, value);
  const call = client.makeBidiStreamRequest(path, encode, decode, metadata);
  // Failure is told by 'status' as well; an 'error' that nobody listens to would end the process.
  call.on('error', () => undefined);
  windows?.opened();
  call.once('status', () => windows?.closed());
  // A cancel in the turn that opened the call overtakes the opening: grpc-js 1.14.7 then reports the end and opens the
  // HTTP/2 stream all the same, which nobody would ever close.
  const cancel = call.cancel.bind(call);
  call.cancel = () => void setImmediate(cancel);
  return call;
}
