import type { DialFailure, Incarnation, ProxyId } from '@xylem/discovery';
import { ChannelError, createChannel } from '@xylem/grpc';
import type { GrpcChannel, LifetimeOptions, MessageStream, StreamPeer, TlsSource } from '@xylem/grpc';
import { parseIdentity } from '@xylem/identity';
import { carry, TunnelService } from '@xylem/wire';
import type { tunnel } from '@xylem/wire';
import { isIncarnation, isProxyId } from '../ids.ts';
import { systemResolver } from '../nodes/resolve.ts';
import { PROTOCOL_VERSIONS } from '../version.ts';

export type ControlStream = MessageStream<tunnel.AttachRequest, tunnel.AttachResponse>;

/** A tunnel that the proxy welcomed. */
export interface Attached {
  readonly channel: GrpcChannel;
  readonly stream: ControlStream;
  /** What follows the welcome. */
  readonly messages: AsyncIterator<tunnel.AttachResponse>;
  readonly proxy: ProxyId;
  readonly incarnation: Incarnation;
  readonly via: ProxyId | undefined;
  readonly pingIntervalMs: number;
  readonly deadAfterMs: number;
}

export type AttachResult =
  | { readonly kind: 'attached'; readonly attached: Attached }
  | { readonly kind: 'failed'; readonly reason: DialFailure; readonly retryAfterMs: number; readonly detail: string };

export interface AttachOptions {
  /** The load balancer's host:port. */
  readonly root: string;
  readonly domain: string;
  readonly tls: TlsSource;
  readonly lifetime: LifetimeOptions;
  readonly hello: tunnel.AgentHello;
  /** Why nothing is said to the root proxy with this certificate; undefined when it may be used. */
  readonly refusal: (peer: StreamPeer | undefined) => string | undefined;
  /** For everything up to the welcome. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Connecting takes at most this part of the whole; the proxy's answer gets the rest. */
const CONNECT_SHARE = 0.75;
/** Pings outside of this are a mistake at the other end. */
/** A busy root proxy has a line of 5 s: by then some of it is free. The wait is jittered up to twice that. */
const BUSY_RETRY_MS = 2_000;
const PING_LIMITS_MS = { min: 10, max: 600_000 } as const;

/**
 * One discovery dial: exactly one TCP connection to the balancer, TLS with the target's name, hello, welcome. Never
 * rejects, and always answers within `timeoutMs`; on failure the connection is closed.
 */
export async function attach(options: AttachOptions): Promise<AttachResult> {
  const { wantedProxy } = options.hello;
  const channel = createChannel({
    address: options.root,
    tls: options.tls,
    lifetime: options.lifetime,
    // A name server that is silent must not take the threads that files and keys need.
    resolve: systemResolver,
    serverName: wantedProxy === '' ? options.domain : `${wantedProxy}.${options.domain}`,
    connectTimeoutMs: Math.ceil(options.timeoutMs * CONNECT_SHARE),
  });
  const overdue = Promise.withResolvers<AttachResult>();
  const timer = setTimeout(() => overdue.resolve(failed('timeout', 'no welcome in time')), options.timeoutMs);
  const onAbort = (): void => overdue.resolve(failed('timeout', 'the dial was given up'));
  options.signal.addEventListener('abort', onAbort);
  const result = await Promise.race([handshake(channel, options), overdue.promise]);
  clearTimeout(timer);
  options.signal.removeEventListener('abort', onAbort);
  if (result.kind === 'failed') channel.close();
  return result;
}

async function handshake(channel: GrpcChannel, { hello, domain, refusal }: AttachOptions): Promise<AttachResult> {
  try {
    await channel.connect();
  } catch (error) {
    return connectFailure(error);
  }
  const revoked = refusal(channel.peer);
  if (revoked !== undefined) return failed('handshake', revoked);
  const stream: ControlStream = channel.stream(TunnelService.attach);
  stream.send({ kind: { $case: 'hello', value: hello } });
  const messages = stream[Symbol.asyncIterator]();
  const first = await messages.next();
  if (first.done === true) return endedEarly(stream);
  const { kind } = first.value;
  if (kind?.$case === 'refused') return refusedBy(kind.value);
  if (kind?.$case !== 'welcome') return failed('refused', 'the first message was not a welcome');
  const welcome = readWelcome(kind.value, identityOf(channel, domain));
  return typeof welcome === 'string'
    ? failed('handshake', welcome)
    : { kind: 'attached', attached: { channel, stream, messages, ...welcome } };
}

type Welcome = Omit<Attached, 'channel' | 'stream' | 'messages'>;

/** Checks the welcome against the verified certificate. Returns what is wrong as text. */
function readWelcome(welcome: tunnel.ProxyWelcome, identity: string): Welcome | string {
  const { version, proxy, incarnation, via, pingIntervalMs, deadAfterMs } = welcome;
  if (version < PROTOCOL_VERSIONS.min || version > PROTOCOL_VERSIONS.max) {
    return `the root proxy chose protocol version ${version}, this agent speaks ${PROTOCOL_VERSIONS.min} to ${PROTOCOL_VERSIONS.max}`;
  }
  if (!isProxyId(proxy) || !isIncarnation(incarnation)) return 'the welcome names no root proxy';
  if (identity !== proxy) return `the welcome says root proxy ${proxy}, the certificate says ${identity}`;
  if (via !== '' && !isProxyId(via)) return 'the welcome names no valid relaying proxy';
  const { min, max } = PING_LIMITS_MS;
  if (pingIntervalMs < min || deadAfterMs <= pingIntervalMs || deadAfterMs > max) {
    return `the welcome asks for a ping every ${pingIntervalMs} ms and patience of ${deadAfterMs} ms`;
  }
  return { proxy, incarnation, via: via === '' ? undefined : via, pingIntervalMs, deadAfterMs };
}

/** The root proxy that the certificate speaks for, or a text that no proxy is named. */
function identityOf(channel: GrpcChannel, domain: string): string {
  const identity = parseIdentity(channel.peer?.uris ?? [], domain);
  if (identity.kind === 'proxy') return identity.proxy;
  return identity.kind === 'problem' ? `nothing usable (${identity.detail})` : `a ${identity.kind}`;
}

function refusedBy({ reason, detail, retryAfterMs }: tunnel.Refused): AttachResult {
  const duplicate = reason === carry.Reason.REASON_DUPLICATE_ID;
  return { kind: 'failed', reason: duplicate ? 'duplicate-id' : 'refused', retryAfterMs, detail };
}

async function endedEarly(stream: ControlStream): Promise<AttachResult> {
  const end = await stream.closed;
  return failed('lost', end.kind === 'ended' ? 'the stream ended before the welcome' : end.detail);
}

function connectFailure(error: unknown): AttachResult {
  if (!(error instanceof ChannelError)) throw error;
  switch (error.stage) {
    case 'resolve':
    case 'tcp':
      return failed('unreachable', error.message);
    case 'tls':
      return isBusy(error.cause)
        ? failed('refused', 'too many agents at once; the root proxy asks to come later', BUSY_RETRY_MS)
        : failed('handshake', error.message);
    case 'http2':
      return failed('handshake', error.message);
    case 'deadline':
      return failed('timeout', error.message);
  }
}

/** A root proxy that can begin no more handshakes says so by a TLS alert in the clear: no evidence of who was reached. */
function isBusy(cause: unknown): boolean {
  return cause instanceof Error && 'code' in cause && cause.code === 'ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR';
}

function failed(reason: DialFailure, detail: string, retryAfterMs = 0): AttachResult {
  return { kind: 'failed', reason, retryAfterMs, detail };
}
