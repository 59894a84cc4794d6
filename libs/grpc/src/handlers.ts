import { status as Status } from '@grpc/grpc-js';
import type {
  handleBidiStreamingCall,
  MethodDefinition,
  sendUnaryData,
  Server,
  ServerDuplexStream,
  ServerUnaryCall,
} from '@grpc/grpc-js';
import type { HandlerContext, MessageStream, MethodBinding, StreamPeer } from './api.ts';
import { StatusError } from './errors.ts';
import { ByteCountedStream } from './message-stream.ts';
import { admittedPeerOf, failCall, serverSide } from './server-stream.ts';

/**
 * Handlers as async functions, with one funnel for what they throw: a StatusError keeps its code and detail; anything
 * else is reported through `onFault` and hidden from the peer as INTERNAL. (grpc-js catches synchronous throws only.)
 */

export interface UnaryContext {
  readonly peer: StreamPeer;
  metadata(key: string): string | undefined;
}

const unchanged = (bytes: Buffer): Buffer => bytes;

/** The funnel: what the peer is told about something a handler threw. */
function statusOf(error: unknown, where: string, context: HandlerContext): StatusError {
  if (error instanceof StatusError) return error;
  context.onFault({ kind: 'handler', where, cause: error });
  return new StatusError(Status.INTERNAL, 'internal error');
}

/**
 * A bidirectional stream. When the handler returns, our direction ends with status OK; when it throws, the stream fails.
 * A failing status may overtake messages: say last words in a message, then return.
 */
export function handleStream<In, Out>(
  method: MethodDefinition<In, Out>,
  handler: (stream: MessageStream<Out, In>) => Promise<void>,
): MethodBinding {
  const { path } = method;
  return {
    path,
    bind(server, context) {
      const run = async (call: ServerDuplexStream<Buffer, Buffer>): Promise<void> => {
        const stream = new ByteCountedStream<Out, In>(serverSide(call), {
          encode: method.responseSerialize,
          decode: method.requestDeserialize,
          maxMessageBytes: context.maxMessageBytes,
          queueLimitBytes: context.queueLimitBytes,
        });
        try {
          admittedPeerOf(call);
          await handler(stream);
          stream.end();
        } catch (error) {
          const { code, detail } = statusOf(error, path, context);
          stream.cancel(detail, code);
        }
      };
      return registerBidi(server, path, unchanged, unchanged, (call) => void run(call));
    },
  };
}

/**
 * One request, a stream of answers. Ends like handleStream. On the wire a bidirectional stream is the same thing, and
 * gives back-pressure and the way it ended to the handler.
 */
export function handleServerStream<In, Out>(
  method: MethodDefinition<In, Out>,
  handler: (request: In, stream: MessageStream<Out, In>) => Promise<void>,
): MethodBinding {
  return handleStream(method, async (stream) => {
    for await (const request of stream) {
      await handler(request, stream);
      return;
    }
    throw new StatusError(Status.INVALID_ARGUMENT, 'a request message is missing');
  });
}

/**
 * The bare grpc-js stream, for code that moves bytes at full speed. The handler ends the call itself, unless it throws.
 * `call` emits 'cancelled' when nothing more can be sent or received; see also `onCallClosed`.
 */
export function handleDuplex<In, Out>(
  method: MethodDefinition<In, Out>,
  handler: (call: ServerDuplexStream<In, Out>, peer: StreamPeer) => Promise<void> | void,
): MethodBinding {
  const { path } = method;
  return {
    path,
    bind(server, context) {
      const run = async (call: ServerDuplexStream<In, Out>): Promise<void> => {
        try {
          await handler(call, admittedPeerOf(call));
        } catch (error) {
          const { code, detail } = statusOf(error, path, context);
          failCall(call, code, detail);
        }
      };
      return registerBidi(server, path, method.responseSerialize, method.requestDeserialize, (call) => void run(call));
    },
  };
}

function registerBidi<In, Out>(
  server: Server,
  path: string,
  serialize: (message: Out) => Buffer,
  deserialize: (bytes: Buffer) => In,
  start: handleBidiStreamingCall<In, Out>,
): boolean {
  return server.register(path, start, serialize, deserialize, 'bidi');
}

/** One request, one answer. */
export function handleUnary<In, Out>(
  method: MethodDefinition<In, Out>,
  handler: (request: In, context: UnaryContext) => Promise<Out>,
): MethodBinding {
  const { path } = method;
  return {
    path,
    bind(server, context) {
      const run = async (call: ServerUnaryCall<In, Out>, answer: sendUnaryData<Out>): Promise<void> => {
        try {
          const peer = admittedPeerOf(call);
          const metadata = (key: string): string | undefined => call.metadata.get(key)[0]?.toString();
          answer(null, await handler(call.request, { peer, metadata }));
        } catch (error) {
          const { code, detail } = statusOf(error, path, context);
          answer({ code, details: detail });
        }
      };
      const start = (call: ServerUnaryCall<In, Out>, answer: sendUnaryData<Out>): void => void run(call, answer);
      return server.register(path, start, method.responseSerialize, method.requestDeserialize, 'unary');
    },
  };
}
