import { status as Status } from '@grpc/grpc-js';
import type { Server, UntypedHandleCall } from '@grpc/grpc-js';
import { EventEmitter } from 'node:events';
import type { ServiceRegistration } from './api.ts';
import type { HandlerContext } from './handlers.ts';

/**
 * Registers grpc-js handlers as they are, for services that need what the typed bindings do not offer. Their
 * asynchronous throws, which would end the process, go to `onFault` and fail the call.
 */
export function bindUntyped(server: Server, registration: ServiceRegistration, context: HandlerContext): void {
  const guarded: Record<string, UntypedHandleCall> = {};
  for (const [name, method] of Object.entries(registration.definition)) {
    const handler = registration.implementation[name];
    if (handler !== undefined) guarded[name] = guard(handler, method.path, context);
  }
  server.addService(registration.definition, guarded);
}

function guard(handler: UntypedHandleCall, where: string, context: HandlerContext): UntypedHandleCall {
  return (...args: readonly unknown[]): void => {
    const failed = (cause: unknown): void => {
      context.onFault({ kind: 'handler', where, cause });
      const [call, answer] = args;
      const error = { code: Status.INTERNAL, details: 'internal error' };
      if (typeof answer === 'function') answer(error);
      else if (call instanceof EventEmitter) call.emit('error', error);
    };
    try {
      const result: unknown = Reflect.apply(handler, undefined, args);
      if (result instanceof Promise) result.catch(failed);
    } catch (error) {
      failed(error);
    }
  };
}
