import type { Client, Server } from '@grpc/grpc-js';
import type { ClientHttp2Session, Http2Server, ServerHttp2Stream, ServerOptions as Http2Options } from 'node:http2';

/**
 * The only place that reads private fields of @grpc/grpc-js, which is pinned to an exact version for this reason. Each
 * reader checks what it finds and says what moved; grpc-internals.test.ts fails when an upgrade changes one of them.
 */

function inner(owner: object, field: string): unknown {
  return Reflect.get(owner, field);
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null;
}

function moved(what: string): Error {
  return new Error(
    `@grpc/grpc-js has changed: ${what} is not where 1.14.7 has it. Adapt libs/grpc/src/grpc-internals.ts`,
  );
}

/**
 * Adds options to every HTTP/2 server that `server` will create. grpc-js passes on only three of them, and
 * `grpc-node.flow_control_window` acts on clients only: a server would keep windows of 65,535 bytes.
 */
export function addHttp2Options(server: Server, options: Http2Options): void {
  const common = inner(server, 'commonServerOptions');
  if (!isObject(common)) throw moved('Server.commonServerOptions');
  Object.assign(common, options);
}

/** The HTTP/2 server behind the one connection injector that was made from `server`. */
export function http2ServerOf(server: Server): Http2Server {
  const servers = inner(server, 'http2Servers');
  if (!(servers instanceof Map) || servers.size !== 1) throw moved('Server.http2Servers');
  const [first] = servers.keys();
  if (!isHttp2Server(first)) throw moved('the key of Server.http2Servers');
  return first;
}

function isHttp2Server(value: unknown): value is Http2Server {
  return isObject(value) && 'on' in value && 'updateSettings' in value;
}

/** The HTTP/2 stream that carries a server's call: the only one who knows whether it was closed or reset. */
export function http2StreamOf(call: object): ServerHttp2Stream {
  const intercepting = inner(call, 'call');
  const stream = isObject(intercepting) ? inner(intercepting, 'stream') : undefined;
  if (!isServerStream(stream)) throw moved('ServerDuplexStreamImpl.call.stream');
  return stream;
}

function isServerStream(value: unknown): value is ServerHttp2Stream {
  return isObject(value) && 'rstCode' in value && 'pushStream' in value;
}

/** The session of a connected client; undefined when its connection has gone in the meantime. */
export function sessionOf(client: Client): ClientHttp2Session | undefined {
  const internal = inner(client.getChannel(), 'internalChannel');
  const wrappers = isObject(internal) ? inner(internal, 'wrappedSubchannels') : undefined;
  if (!(wrappers instanceof Set)) throw moved('Channel.internalChannel.wrappedSubchannels');
  for (const wrapper of wrappers) {
    const subchannel = isObject(wrapper) ? inner(wrapper, 'child') : undefined;
    if (!isObject(subchannel) || !('transport' in subchannel)) throw moved('Subchannel.transport');
    if (subchannel.transport === null) continue;
    const session = isObject(subchannel.transport) ? inner(subchannel.transport, 'session') : undefined;
    if (!isClientSession(session)) throw moved('Http2Transport.session');
    return session;
  }
  return undefined;
}

function isClientSession(value: unknown): value is ClientHttp2Session {
  return isObject(value) && 'setLocalWindowSize' in value && 'request' in value;
}
