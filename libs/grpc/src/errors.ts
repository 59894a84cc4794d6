import { status as Status } from '@grpc/grpc-js';
import type { ConnectStage } from './api.ts';

/** A gRPC status as an error: what `unary` rejects with, and what a handler throws to choose code and text itself. */
export class StatusError extends Error {
  override readonly name = 'StatusError';
  /** gRPC status code. */
  readonly code: number;
  /** One line for a person; the peer sees it. */
  readonly detail: string;

  constructor(code: number, detail: string, options?: ErrorOptions) {
    super(`${Status[code] ?? code}: ${detail}`, options);
    this.code = code;
    this.detail = detail;
  }
}

/** A connection that could not be made. `stage` is how far it came. */
export class ChannelError extends Error {
  override readonly name = 'ChannelError';
  readonly stage: ConnectStage;
  /** The address that was dialled last. */
  readonly address: string;
  readonly detail: string;

  constructor(stage: ConnectStage, address: string, detail: string, options?: ErrorOptions) {
    super(`cannot connect to ${address}: ${detail} (${stage})`, options);
    this.stage = stage;
    this.address = address;
    this.detail = detail;
  }
}
