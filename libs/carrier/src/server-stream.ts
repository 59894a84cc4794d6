import type { ServerDuplexStream } from '@grpc/grpc-js';
import { constants } from 'node:http2';

/** The HTTP/2 stream under a server call, as far as it is needed here. */
interface Closable {
  readonly closed: boolean;
  close(code: number): void;
  once(event: 'close', listener: () => void): unknown;
}

/** How long a client may leave its direction open after our status. */
const CLOSE_GRACE_MS = 1_000;

/**
 * Resets the HTTP/2 stream of a server call at once. grpc-js (1.14.7) has no way to do so: an error status waits in the
 * queue behind data that a stopped reader never takes. Reaches into a private field, so a test watches it; should the
 * field move, the call ends with an error status instead, which is slower but correct.
 */
export function resetServerStream(call: ServerDuplexStream<Buffer, Buffer>): void {
  const stream = http2StreamOf(call);
  if (stream === undefined) call.emit('error', new Error('the connection was given up'));
  else stream.close(constants.NGHTTP2_CANCEL);
}

/** Once our status was sent: frees the stream even when the client never ends its direction. */
export function closeServerStreamLater(call: ServerDuplexStream<Buffer, Buffer>): void {
  const stream = http2StreamOf(call);
  if (stream === undefined || stream.closed) return;
  const timer = setTimeout(() => stream.close(constants.NGHTTP2_NO_ERROR), CLOSE_GRACE_MS);
  stream.once('close', () => clearTimeout(timer));
}

/** Exported for the test that watches grpc-js. */
export function http2StreamOf(call: object): Closable | undefined {
  const inner: unknown = Reflect.get(call, 'call');
  if (typeof inner !== 'object' || inner === null) return undefined;
  const stream: unknown = Reflect.get(inner, 'stream');
  return isClosable(stream) ? stream : undefined;
}

function isClosable(value: unknown): value is Closable {
  return typeof value === 'object' && value !== null && 'rstCode' in value && 'pushStream' in value;
}
