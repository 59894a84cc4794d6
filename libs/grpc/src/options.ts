import type { ChannelOptions as GrpcOptions } from '@grpc/grpc-js';
import type { ServerOptions as Http2Options } from 'node:http2';
import type { ChannelOptions, ServerOptions } from './api.ts';
import { WINDOW_POLICY } from './stream-windows.ts';

/** Every option that is passed to grpc-js and to Node's HTTP/2, with its reason. grpc-js' own defaults are unlimited. */

const KIB = 1024;
const MIB = 1024 * KIB;

export const DEFAULTS = {
  /** Carried frames hold 64 KiB; control messages are smaller. Twice that leaves room for large memberships. */
  maxMessageBytes: 128 * KIB,
  maxConcurrentStreams: 1_000,
  queueLimitBytes: MIB,
  /** FAULTS control: slow handshakes are cut after this. */
  handshakeTimeoutMs: 10_000,
  connectTimeoutMs: 5_000,
} as const;

/**
 * The window of a whole connection. At its maximum (RFC 9113 section 6.9.1), so that streams bound memory each by its
 * own window and one stopped reader never takes the connection's credit from the others.
 */
export const CONNECTION_WINDOW_BYTES = 2 ** 31 - 1;

/** Fewer, larger HTTP/2 frames: up to twice the throughput of the default 16 KiB. */
export const MAX_FRAME_BYTES = 256 * KIB;

/**
 * Per session, in MB (Node counts in 10^6 bytes): headers, frame queues and unacknowledged settings; message data is
 * bounded by the windows. Node refuses new streams above it, so it stays clear of what 1,000 streams need.
 */
const MAX_SESSION_MEMORY_MB = 64;

/**
 * A peer whose host went away without a word is noticed after about 70 s, on either side, whatever runs on the
 * connection: a user's tool pings nobody, and a root proxy does not ping the peers that connected to it.
 */
export const TCP_KEEPALIVE = { keepAlive: true, keepAliveInitialDelay: 60_000 } as const;

/** Eleven days: off, and still clear of the 2^31 where timers overflow after grpc-js has added its jitter. */
const NEVER_MS = 1_000_000_000;

const COMMON = {
  'grpc-node.max_session_memory': MAX_SESSION_MEMORY_MB,
  // Bookkeeping per message and connection that nothing reads.
  'grpc.enable_channelz': 0,
} as const satisfies GrpcOptions;

export function serverGrpcOptions(options: ServerOptions): GrpcOptions {
  const maxMessageBytes = options.maxMessageBytes ?? DEFAULTS.maxMessageBytes;
  return {
    ...COMMON,
    'grpc.max_concurrent_streams': options.maxConcurrentStreams ?? DEFAULTS.maxConcurrentStreams,
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_send_message_length': maxMessageBytes,
  };
}

export function channelGrpcOptions(options: ChannelOptions, authority: string): GrpcOptions {
  const maxMessageBytes = options.maxMessageBytes ?? DEFAULTS.maxMessageBytes;
  return {
    ...COMMON,
    'grpc.default_authority': authority,
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_send_message_length': maxMessageBytes,
    'grpc-node.flow_control_window': options.streamWindowBytes ?? WINDOW_POLICY.greatestBytes,
    // One TCP connection per channel: the global pool would give a second channel to the same balancer the first
    // one's connection, and discovery would never meet another proxy.
    'grpc.use_local_subchannel_pool': 1,
    // Proxies from the environment are for browsing, not for cluster traffic.
    'grpc.enable_http_proxy': 0,
    // A dial that may have reached a node is never repeated, so nothing is kept for retries: back-pressure starts at
    // 0.26 MB instead of 1 MB, and small messages cost a third less.
    'grpc.enable_retries': 0,
    'grpc.per_rpc_retry_buffer_size': 0,
    'grpc.service_config_disable_resolution': 1,
    'grpc.client_idle_timeout_ms': NEVER_MS,
    // The defaults are 1 s and 120 s. No HTTP/2 keepalive options on purpose: a ping after GOAWAY kills the transport.
    'grpc.initial_reconnect_backoff_ms': options.reconnect === true ? 100 : NEVER_MS,
    'grpc.max_reconnect_backoff_ms': options.reconnect === true ? 5_000 : NEVER_MS,
  };
}

/**
 * What grpc-js does not pass on to Node's HTTP/2 server. The limits answer the known floods (rapid reset, MadeYouReset,
 * CONTINUATION, SETTINGS and PING floods); nghttp2 and Node close the session when one is passed.
 */
export function serverHttp2Options(options: ServerOptions): Http2Options {
  return {
    settings: {
      initialWindowSize: options.streamWindowBytes ?? WINDOW_POLICY.greatestBytes,
      maxFrameSize: MAX_FRAME_BYTES,
      maxConcurrentStreams: options.maxConcurrentStreams ?? DEFAULTS.maxConcurrentStreams,
      maxHeaderListSize: 8 * KIB,
      enablePush: false,
    },
    maxSessionMemory: MAX_SESSION_MEMORY_MB,
    maxHeaderListPairs: 64,
    maxSettings: 32,
    maxOutstandingPings: 10,
    maxSessionInvalidFrames: 100,
    maxSessionRejectedStreams: 50,
    // Streams a peer may reset: a burst, then per second. Users who hang up are resets, too, and exceeding this ends the
    // tunnel of all of them: the load that a proxy is built for is 200 dials a second. An attack resets thousands.
    streamResetBurst: options.streamResets?.burst ?? 1_000,
    streamResetRate: options.streamResets?.perSecond ?? 200,
  };
}
