import type { Client } from '@grpc/grpc-js';
import type { ClientHttp2Session } from 'node:http2';
import { ChannelService } from '@xylem/wire';
import type { ChannelOptions } from './api.ts';
import type { Connection } from './connection.ts';
import { Refresher } from './refresher.ts';
import { SessionLife } from './session-life.ts';
import { callUnary } from './unary-call.ts';

export interface ClientLifeOptions {
  readonly channel: Pick<ChannelOptions, 'tls' | 'lifetime'>;
  readonly client: Client;
  readonly connection: Connection;
  readonly serverName: string;
}

/** Follows one session of a client until it is gone: refreshes it, and ends it when its server's certificate is over. */
export function followLife(session: ClientHttp2Session, options: ClientLifeOptions): void {
  const { channel, client, connection, serverName } = options;
  const { peer, shown } = connection;
  if (channel.tls === undefined || peer === undefined || shown === undefined) return;
  const refresher = new Refresher({
    tls: channel.tls,
    shown,
    peer,
    serverName,
    lifetime: channel.lifetime,
    ask: (request, deadlineMs) => callUnary(client, ChannelService.refresh, request, deadlineMs),
  });
  const retire = (detail: string): void => {
    refresher.stop();
    const why = refresher.problem === '' ? '' : ` (${refresher.problem})`;
    connection.expired(`the server: ${detail}${why}`);
  };
  const life = new SessionLife(peer, { retire, destroy: () => session.destroy() }, channel.lifetime);
  session.once('close', () => {
    refresher.stop();
    life.over();
  });
}
