import { status as Status } from '@grpc/grpc-js';
import type { ClientDuplexStream, Metadata, StatusObject } from '@grpc/grpc-js';
import type { StreamEnd, StreamPeer } from './api.ts';
import type { StreamSide } from './message-stream.ts';

/** The client's side of a MessageStream. */
export function clientSide(call: ClientDuplexStream<Buffer, Buffer>, peer: () => StreamPeer): StreamSide {
  let opening: Metadata | undefined;
  call.once('metadata', (metadata: Metadata) => {
    opening = metadata;
  });
  return {
    duplex: call,
    get peer() {
      return peer();
    },
    metadata: (key) => opening?.get(key)[0]?.toString(),
    end: () => call.end(),
    cancel: () => call.cancel(),
    onClosed: (listener) => {
      // Always emitted exactly once, after the messages that came before it.
      call.once('status', (status: StatusObject) => listener(endOfStatus(status)));
    },
  };
}

/** A stream on a channel that is closed. */
export function closedSide(peer: StreamPeer, detail: string): StreamSide {
  return {
    duplex: { readableEnded: true, read: () => null, write: () => false, on: () => undefined, once: () => undefined },
    peer,
    metadata: () => undefined,
    end: () => undefined,
    cancel: () => undefined,
    onClosed: (listener) => process.nextTick(listener, { kind: 'failed', code: Status.UNAVAILABLE, detail }),
  };
}

function endOfStatus(status: Pick<StatusObject, 'code' | 'details'>): StreamEnd {
  if (status.code === Status.OK) return { kind: 'ended' };
  return { kind: 'failed', code: status.code, detail: status.details };
}
