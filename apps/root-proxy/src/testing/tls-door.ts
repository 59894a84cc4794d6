import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { connect } from 'node:tls';
import type { Identity } from '@xylem/identity';
import { DOMAIN } from './credentials.ts';
import { RawClient } from './raw-client.ts';
import type { World, WorldProxy } from './world.ts';

/** CONNECT to web.berlin:80 through a front door, over TLS with a certificate of this identity; the socket goes with the test. */
export async function connectWithCertificate(
  t: TestContext,
  world: World,
  { ports }: WorldProxy,
  identity: Identity,
): Promise<{ readonly client: RawClient; readonly head: string }> {
  const { ca, cert, key } = await world.credentials.material(identity);
  const socket = connect({ port: ports.frontDoor, host: '127.0.0.1', ca, cert, key, servername: DOMAIN });
  t.after(() => socket.destroy());
  const client = new RawClient(socket);
  await once(socket, 'secureConnect');
  client.say('CONNECT web.berlin:80 HTTP/1.1\r\nHost: web.berlin:80\r\n\r\n');
  return { client, head: await client.hears('\r\n\r\n') };
}
