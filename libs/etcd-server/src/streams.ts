import { Metadata, status } from '@grpc/grpc-js';
import type { ServerDuplexStream, ServiceError } from '@grpc/grpc-js';
import { StoreError } from '@xylem/store';
import type { StorageError } from './engine.ts';

/** The status that an error of ours is answered with. */
export function toServiceError(error: StoreError | StorageError): ServiceError {
  return error instanceof StoreError
    ? serviceError(error.code, error.message)
    : serviceError(status.UNAVAILABLE, `etcdserver: ${error.message}`);
}

function serviceError(code: status, details: string): ServiceError {
  return Object.assign(new Error(details), { code, details, metadata: new Metadata() });
}

type EndlessCall = Pick<ServerDuplexStream<unknown, unknown>, 'emit' | 'on'>;

/** The streams of a server that end only when someone ends them. */
export class OpenStreams {
  readonly #calls = new Set<EndlessCall>();

  add(call: EndlessCall): void {
    this.#calls.add(call);
    const remove = (): boolean => this.#calls.delete(call);
    call.on('cancelled', remove);
    call.on('close', remove);
    call.on('error', remove);
  }

  /** Ends all with the status that etcd's clients take for "come back later". */
  endAll(): void {
    for (const call of [...this.#calls]) {
      call.emit('error', serviceError(status.UNAVAILABLE, 'etcdserver: server stopped'));
    }
  }
}
