import { status as Status } from '@grpc/grpc-js';
import type { Client, MethodDefinition } from '@grpc/grpc-js';
import { StatusError } from './errors.ts';

/**
 * One request, one answer. The deadline is a timer of our own: grpc-js takes an instant of the wall clock, which may be
 * set in between. Rejects with a StatusError.
 */
export function callUnary<Request, Response>(
  client: Client,
  { path, requestSerialize, responseDeserialize }: MethodDefinition<Request, Response>,
  request: Request,
  deadlineMs: number,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    const call = client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, (error, response) => {
      clearTimeout(timer);
      if (error !== null) reject(new StatusError(error.code, error.details, { cause: error }));
      else if (response === undefined) reject(new StatusError(Status.INTERNAL, 'no response'));
      else resolve(response);
    });
    const timer = setTimeout(() => {
      reject(new StatusError(Status.DEADLINE_EXCEEDED, `no answer within ${deadlineMs} ms`));
      call.cancel();
    }, deadlineMs);
  });
}
