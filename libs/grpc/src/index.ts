export type * from './api.ts';
export { createChannel } from './channel.ts';
export { ChannelError, StatusError } from './errors.ts';
export { handleDuplex, handleServerStream, handleStream, handleUnary } from './handlers.ts';
export type { MethodBinding, UnaryContext } from './handlers.ts';
export { createServer } from './server.ts';
export { failCall, onCallClosed } from './server-stream.ts';
export { peerOf } from './peer.ts';
