import { credentials } from '@grpc/grpc-js';
import type { ChannelCredentials, ChannelOptions } from '@grpc/grpc-js';

/** PEM texts for `https` endpoints. Never logged. */
export interface EtcdTls {
  readonly ca: string;
  readonly cert?: string;
  readonly key?: string;
}

/** One etcd member, or the embedded store. */
export interface Endpoint {
  /** As configured, for people. */
  readonly url: string;
  /** `host:port` for grpc-js. */
  readonly target: string;
}

const ENDPOINT = /^(https?):\/\/(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})\/?$/;
/** etcd closes connections that ping more often than every 5 s. */
const KEEPALIVE_TIME_MS = 10_000;
const KEEPALIVE_TIMEOUT_MS = 3_000;
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

/** Throws a RangeError that names the endpoint and what one looks like. */
export function parseEndpoints(urls: readonly string[]): readonly Endpoint[] {
  if (urls.length === 0) throw new RangeError('no etcd endpoint: give at least one, e.g. http://etcd:2379');
  const schemes = new Set<string>();
  const endpoints = urls.map((url) => {
    const [, scheme, host, port] = ENDPOINT.exec(url) ?? [];
    if (scheme === undefined || host === undefined || !(Number(port) >= 1 && Number(port) <= 65_535)) {
      throw new RangeError(`etcd endpoint ${JSON.stringify(url)}: http://host:port or https://host:port wanted`);
    }
    schemes.add(scheme);
    return { url, target: `${host}:${port}` };
  });
  if (schemes.size > 1)
    throw new RangeError('etcd endpoints: all http or all https, so that no password or key goes in the clear');
  return endpoints;
}

export function channelCredentials(endpoints: readonly Endpoint[], tls: EtcdTls | undefined): ChannelCredentials {
  if (!isSecure(endpoints)) return credentials.createInsecure();
  if (tls === undefined) return credentials.createSsl();
  return credentials.createSsl(Buffer.from(tls.ca), pem(tls.key), pem(tls.cert));
}

export function isSecure(endpoints: readonly Endpoint[]): boolean {
  return endpoints.some((endpoint) => endpoint.url.startsWith('https:'));
}

/** A connection of its own, dialled again soon after a loss, never through a proxy. */
export const CHANNEL_OPTIONS: ChannelOptions = {
  'grpc.use_local_subchannel_pool': 1,
  'grpc.enable_http_proxy': 0,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.min_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 1_000,
  'grpc.keepalive_time_ms': KEEPALIVE_TIME_MS,
  'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
  'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
  'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
};

/** Which endpoint a kind of traffic uses: the same one until it fails, then the next. */
export class EndpointRing {
  readonly #endpoints: readonly Endpoint[];
  #index = 0;

  constructor(endpoints: readonly Endpoint[]) {
    this.#endpoints = endpoints;
  }

  get index(): number {
    return this.#index;
  }

  get current(): Endpoint {
    const endpoint = this.#endpoints[this.#index];
    if (endpoint === undefined) throw new Error('an endpoint ring without endpoints');
    return endpoint;
  }

  /** What was sent to that endpoint failed; others that fail there afterwards do not move on again. */
  failed(index: number): void {
    if (index === this.#index) this.#index = (this.#index + 1) % this.#endpoints.length;
  }
}

function pem(text: string | undefined): Buffer | null {
  return text === undefined ? null : Buffer.from(text);
}
