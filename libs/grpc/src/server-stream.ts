import { status as Status } from '@grpc/grpc-js';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import { constants } from 'node:http2';
import type { Http2Session } from 'node:http2';
import type { StreamEnd, StreamPeer } from './api.ts';
import { StatusError } from './errors.ts';
import { http2StreamOf } from './grpc-internals.ts';
import type { StreamSide } from './message-stream.ts';
import { SessionPeer } from './session-peer.ts';

/** How long a peer may leave our status unread, or its own direction open after it, before the stream is reset. */
const CLOSE_GRACE_MS = 1_000;

export const UNKNOWN_PEER = new SessionPeer(undefined, 'unknown');

const peersBySession = new WeakMap<Http2Session, SessionPeer>();

/** A certificate is read once per session: it costs 0.1 ms, and a tunnel opens thousands of streams. */
export function setSessionPeer(session: Http2Session, peer: SessionPeer): void {
  peersBySession.set(session, peer);
}

/** Who opened a call. @throws StatusError when nobody of theirs is served. */
export function admittedPeerOf(call: object): StreamPeer {
  const peer = sessionPeerOf(call);
  if (peer.refusal !== undefined) throw new StatusError(Status.PERMISSION_DENIED, peer.refusal);
  return peer;
}

function sessionPeerOf(call: object): SessionPeer {
  const { session } = http2StreamOf(call);
  return (session === undefined ? undefined : peersBySession.get(session)) ?? UNKNOWN_PEER;
}

/**
 * Reports how a server's call ended, once. grpc-js tells a crash of the client from a clean end by nothing at all: both
 * emit 'end' first, then 'cancelled'. The reset code of the HTTP/2 stream does.
 */
export function onCallClosed<In, Out>(call: ServerDuplexStream<In, Out>, listener: (end: StreamEnd) => void): void {
  const stream = http2StreamOf(call);
  const report = (): void => {
    const clean = stream.rstCode === constants.NGHTTP2_NO_ERROR && call.writableFinished && !stream.aborted;
    listener(clean ? { kind: 'ended' } : { kind: 'failed', ...statusOfReset(stream.rstCode) });
  };
  if (stream.closed || stream.destroyed) {
    process.nextTick(report);
    return;
  }
  stream.once('close', report);
  // Emitted once our status was sent, too. A client that never ends its direction must not keep the stream.
  call.once('cancelled', () => closeLater(stream));
}

function closeLater(stream: ReturnType<typeof http2StreamOf>): void {
  if (stream.closed) return;
  const timer = setTimeout(() => stream.close(constants.NGHTTP2_NO_ERROR), CLOSE_GRACE_MS);
  stream.once('close', () => clearTimeout(timer));
}

function statusOfReset(rstCode: number | undefined): { readonly code: number; readonly detail: string } {
  switch (rstCode) {
    case constants.NGHTTP2_CANCEL:
      return { code: Status.CANCELLED, detail: 'the client cancelled the stream or its connection was lost' };
    case constants.NGHTTP2_NO_ERROR:
      return { code: Status.UNAVAILABLE, detail: 'the stream was closed before its status was sent' };
    default:
      return { code: Status.UNAVAILABLE, detail: `the stream was reset (HTTP/2 code ${rstCode ?? 'unknown'})` };
  }
}

/** Ends a call with a status; resets it when the status cannot be delivered because the peer reads nothing. */
export function failCall<In, Out>(call: ServerDuplexStream<In, Out>, code: number, detail: string): void {
  const stream = http2StreamOf(call);
  if (stream.closed || stream.destroyed) return;
  // grpc-js takes the status out of an 'error' event, then ends the stream after what is queued.
  call.emit('error', { code, details: detail });
  const timer = setTimeout(() => stream.close(constants.NGHTTP2_CANCEL), CLOSE_GRACE_MS);
  stream.once('close', () => clearTimeout(timer));
}

/** The server's side of a MessageStream. */
export function serverSide(call: ServerDuplexStream<Buffer, Buffer>): StreamSide {
  return {
    duplex: call,
    peer: sessionPeerOf(call),
    metadata: (key) => call.metadata.get(key)[0]?.toString(),
    end: () => call.end(),
    cancel: (code, detail) => failCall(call, code, detail),
    onClosed: (listener) => onCallClosed(call, listener),
  };
}
