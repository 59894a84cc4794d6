import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { connect } from 'node:tls';
import type { TlsMaterial } from '@xylem/identity';
import { DOMAIN } from './credentials.ts';
import { RawClient } from './raw-client.ts';
import type { WorldProxy } from './world.ts';

/** CONNECT to web.berlin:80 through a front door, over TLS with this certificate; the socket goes with the test. */
export async function connectWithCertificate(
  t: TestContext,
  { ports }: WorldProxy,
  { ca, cert, key }: TlsMaterial,
): Promise<{ readonly client: RawClient; readonly head: string }> {
  const socket = connect({ port: ports.frontDoor, host: '127.0.0.1', ca, cert, key, servername: DOMAIN });
  t.after(() => socket.destroy());
  const client = new RawClient(socket);
  await once(socket, 'secureConnect');
  client.say('CONNECT web.berlin:80 HTTP/1.1\r\nHost: web.berlin:80\r\n\r\n');
  return { client, head: await client.hears('\r\n\r\n') };
}
