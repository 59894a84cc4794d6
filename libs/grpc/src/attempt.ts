import { Client, connectivityState } from '@grpc/grpc-js';
import type { ChannelOptions, ConnectionLoss } from './api.ts';
import { connectError } from './connect-error.ts';
import { Connection } from './connection.ts';
import { ChannelError } from './errors.ts';
import { sessionOf } from './grpc-internals.ts';
import { channelGrpcOptions, CONNECTION_WINDOW_BYTES, MAX_FRAME_BYTES } from './options.ts';
import { StreamWindows } from './stream-windows.ts';

/** A grpc-js client of its own with its one connection. */
export interface Attempt {
  readonly client: Client;
  readonly connection: Connection;
  /** Told of every stream; undefined when windows are fixed. */
  readonly windows: StreamWindows | undefined;
  /** The address as configured, for messages. */
  readonly address: string;
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
  return { client, connection, windows, address };
}

/** Dials, and returns when HTTP/2 is up. @throws ChannelError */
export async function establish(attempt: Attempt, timeoutMs: number): Promise<void> {
  const { client, connection, address } = attempt;
  const deadline = new Date(Date.now() + timeoutMs);
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

/** False when the deadline passes first. */
function stateChanges(client: Client, from: connectivityState, deadline: Date | number): Promise<boolean> {
  return new Promise((resolve) => {
    client.getChannel().watchConnectivityState(from, deadline, (error) => resolve(error === undefined));
  });
}

/** Why grpc-js could not connect: it tells only by failing a call, which it does here without sending anything. */
function failureOf(client: Client): Promise<Error> {
  const empty = (): Buffer => Buffer.alloc(0);
  const deadline = Date.now() + 1_000;
  return new Promise((resolve) => {
    client.makeUnaryRequest('/xylem/none', empty, empty, undefined, { deadline }, (error) => {
      resolve(error === null ? new Error('the connection failed') : new Error(error.details));
    });
  });
}

function prepareSession({ client, connection, windows, address }: Attempt): void {
  const session = sessionOf(client);
  if (session === undefined || session.destroyed)
    throw new ChannelError('http2', address, 'the server closed the connection at once');
  // grpc-js gives connection and streams the same window; the connection's has to be out of the streams' way.
  session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
  session.settings({ maxFrameSize: MAX_FRAME_BYTES });
  windows?.attach(session);
  session.once('goaway', () => connection.goaway());
  // Not the socket's event: grpc-js has to have heard of the loss, or the next call would still use the connection.
  session.once('close', () => connection.broken());
  connection.established();
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
