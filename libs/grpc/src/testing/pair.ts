import type { TestContext } from 'node:test';
import type { ChannelOptions, GrpcChannel, GrpcServer, ServerFault, ServerOptions } from '../api.ts';
import { createChannel } from '../channel.ts';
import { createServer } from '../server.ts';
import { makeAuthority, sourceOf } from './certificates.ts';
import type { RenewableSource, TestAuthority } from './certificates.ts';

export const SERVER_NAME = 'a.xylem.internal';
export const AGENT_URI = 'spiffe://xylem.internal/leaf/berlin/agent/one';

export interface World {
  readonly authority: TestAuthority;
  readonly serverTls: RenewableSource;
  readonly clientTls: RenewableSource;
}

/** A CA, and credentials of one server and one client. */
export async function makeWorld(): Promise<World> {
  const authority = await makeAuthority();
  return {
    authority,
    serverTls: sourceOf(await authority.issue({ dns: [SERVER_NAME], uris: ['spiffe://xylem.internal/proxy/a'] })),
    clientTls: sourceOf(await authority.issue({ uris: [AGENT_URI] })),
  };
}

export interface ServerUnderTest {
  readonly server: GrpcServer;
  readonly port: number;
  readonly address: string;
  readonly faults: readonly ServerFault[];
  /** The first of them. */
  readonly firstFault: Promise<ServerFault>;
}

/** Listens on loopback until the test ends. */
export async function startServer(t: TestContext, options: ServerOptions): Promise<ServerUnderTest> {
  const faults: ServerFault[] = [];
  const firstFault = Promise.withResolvers<ServerFault>();
  const onError = (fault: ServerFault): void => {
    faults.push(fault);
    firstFault.resolve(fault);
  };
  const server = createServer({ ...options, onError });
  const port = await server.listen('127.0.0.1:0');
  t.after(() => server.close(0));
  return { server, port, address: `127.0.0.1:${port}`, faults, firstFault: firstFault.promise };
}

/** Connected until the test ends. */
export async function connectTo(
  t: TestContext,
  world: World,
  options: Partial<ChannelOptions> & Pick<ChannelOptions, 'address'>,
): Promise<GrpcChannel> {
  const channel = createChannel({ tls: world.clientTls, serverName: SERVER_NAME, ...options });
  t.after(() => channel.close());
  await channel.connect();
  return channel;
}
