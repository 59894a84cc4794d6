import type { MethodDefinition } from '@grpc/grpc-js';

/** Methods of bytes, so that tests need no proto of their own. */

const unchanged = (bytes: Buffer): Buffer => bytes;

function method(name: string, stream: boolean): MethodDefinition<Buffer, Buffer> {
  return {
    path: `/test.Echo/${name}`,
    requestStream: stream,
    responseStream: stream,
    requestSerialize: unchanged,
    requestDeserialize: unchanged,
    responseSerialize: unchanged,
    responseDeserialize: unchanged,
  };
}

export const Echo = {
  stream: method('Stream', true),
  other: method('Other', true),
  unary: method('Unary', false),
} as const;
