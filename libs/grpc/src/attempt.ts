import { Client, connectivityState } from '@grpc/grpc-js';
import type { ChannelOptions, ConnectionLoss } from './api.ts';
import { followLife } from './client-life.ts';
import { connectError } from './connect-error.ts';
import { Connection } from './connection.ts';
import { ChannelError, StatusError } from './errors.ts';
import { sessionOf } from './grpc-internals.ts';
import { channelGrpcOptions, CONNECTION_WINDOW_BYTES, MAX_FRAME_BYTES } from './options.ts';
import { StreamWindows } from './stream-windows.ts';
import { callUnary } from './unary-call.ts';

const MAX_REASON_BYTES = 256;

/** A grpc-js client of its own with its one connection. */
export interface Attempt {
  readonly client: Client;
  readonly connection: Connection;
  /** Told of every stream; undefined when windows are fixed. */
  readonly windows: StreamWindows | undefined;
  /** The address as configured, for messages. */
  readonly address: string;
  readonly channel: ChannelOptions;
  /** Sent as SNI, and what the server's certificate must bear. */
  readonly serverName: string;
}

export interface AttemptOptions {
  readonly channel: ChannelOptions;
  /** The address as configured, for messages. */
  readonly address: string;
  /** grpc-js' name of that address or one it resolves to, e.g. `ipv4:10.0.0.1:7200`. */
  readonly target: string;
  /** The host as configured, for the TLS name check. */
  readonly host: string;
  readonly onLost: (loss: ConnectionLoss) => void;
}

/** Prepares a dial; nothing happens before `establish` or the first call. */
export function prepareAttempt({ channel, address, target, host, onLost }: AttemptOptions): Attempt {
  const serverName = channel.serverName ?? host;
  const connection = new Connection(channel.tls, serverName, channel.reconnect ?? false, onLost);
  const client = new Client(target, connection.credentials, channelGrpcOptions(channel, serverName));
  const windows = channel.streamWindowBytes === undefined ? new StreamWindows() : undefined;
  return { client, connection, windows, address, channel, serverName };
}

/** Dials, and returns when HTTP/2 is up. @throws ChannelError */
export async function establish(attempt: Attempt, timeoutMs: number): Promise<void> {
  const { client, connection, address } = attempt;
  const deadline = performance.now() + timeoutMs;
  const channel = client.getChannel();
  let state = channel.getConnectivityState(true);
  while (state !== connectivityState.READY) {
    if (state === connectivityState.SHUTDOWN) {
      throw new ChannelError(connection.stage, address, 'the channel was closed meanwhile');
    }
    if (state === connectivityState.TRANSIENT_FAILURE) {
      throw connectError(connection.stage, address, connection.failure ?? (await failureOf(client)));
    }
    if (!(await stateChanges(client, state, deadline))) {
      const { stage } = connection;
      throw new ChannelError('deadline', address, `no answer within ${timeoutMs} ms, at stage ${stage}`);
    }
    state = channel.getConnectivityState(false);
  }
  prepareSession(attempt);
}

/**
 * False when `deadline` (performance.now) passes first. The timer is our own: grpc-js counts on the wall clock, which may be
 * set in between.
 */
function stateChanges(client: Client, from: connectivityState, deadline: number): Promise<boolean> {
  return new Promise((resolve) => {
    const timer =
      deadline === Infinity ? undefined : setTimeout(resolve, Math.max(0, deadline - performance.now()), false);
    client.getChannel().watchConnectivityState(from, Infinity, (error) => {
      clearTimeout(timer);
      resolve(error === undefined);
    });
  });
}

/** Why grpc-js could not connect: it tells only by failing a call, which it does here without sending anything. */
async function failureOf(client: Client): Promise<Error> {
  const empty = (): Buffer => Buffer.alloc(0);
  const nothing = {
    path: '/xylem/none',
    requestStream: false,
    responseStream: false,
    requestSerialize: empty,
    requestDeserialize: empty,
    responseSerialize: empty,
    responseDeserialize: empty,
  } as const;
  try {
    await callUnary(client, nothing, undefined, 1_000);
    return new Error('the connection failed');
  } catch (error) {
    return error instanceof StatusError ? new Error(error.detail) : new Error(String(error));
  }
}

function prepareSession(attempt: Attempt): void {
  const { client, connection, windows, address } = attempt;
  const session = sessionOf(client);
  if (session === undefined || session.destroyed)
    throw new ChannelError('http2', address, 'the server closed the connection at once');
  // grpc-js gives connection and streams the same window; the connection's has to be out of the streams' way.
  session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
  session.settings({ maxFrameSize: MAX_FRAME_BYTES });
  windows?.attach(session);
  session.once('goaway', (_code: number, _stream: number, reason?: Buffer) => connection.goaway(printable(reason)));
  // Not the socket's event: grpc-js has to have heard of the loss, or the next call would still use the connection.
  session.once('close', () => connection.broken());
  connection.established();
  // A GOAWAY that came together with the settings has no listener yet.
  if (session.closed) connection.goaway('');
  followLife(session, attempt);
}

/** What a server said when it ended the connection; grpc-js' own remarks have no text for people. */
function printable(reason: Buffer = Buffer.alloc(0)): string {
  return reason
    .subarray(0, MAX_REASON_BYTES)
    .toString('latin1')
    .replace(/[^\x20-\x7e]/g, '');
}

/** Reconnecting channels get a new session after each loss, which has to be prepared like the first. */
export async function prepareEverySession(attempt: Attempt): Promise<void> {
  const channel = attempt.client.getChannel();
  let state = channel.getConnectivityState(false);
  while (state !== connectivityState.SHUTDOWN) {
    const before = state;
    await stateChanges(attempt.client, before, Infinity);
    state = channel.getConnectivityState(false);
    if (state === connectivityState.READY && before !== connectivityState.READY) prepareSession(attempt);
  }
}

/** Ends the connection at once. */
export function abandon({ client, connection }: Attempt): void {
  connection.close();
  client.close();
}
