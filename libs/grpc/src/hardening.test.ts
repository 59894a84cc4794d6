import assert from 'node:assert/strict';
import { connect, constants } from 'node:http2';
import type { ClientHttp2Session, ClientHttp2Stream, OutgoingHttpHeaders } from 'node:http2';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { handleUnary } from './index.ts';
import { occurs, within } from './testing/deadline.ts';
import { Echo } from './testing/echo.ts';
import { connectTo, makeWorld, SERVER_NAME, startServer } from './testing/pair.ts';

/** Authenticated peers that misuse HTTP/2: the session goes, the server and its other sessions stay. */

const world = await makeWorld();

const echo = handleUnary(Echo.unary, async (request) => request);

async function rawSession(t: TestContext, address: string): Promise<ClientHttp2Session> {
  const { ca, cert, key } = world.clientTls.current();
  const session = connect(`https://${address}`, { ca, cert, key, servername: SERVER_NAME });
  session.on('error', () => undefined);
  t.after(() => session.destroy());
  await occurs(session, 'remoteSettings');
  return session;
}

function call(session: ClientHttp2Session, headers: OutgoingHttpHeaders = {}): ClientHttp2Stream {
  const stream = session.request({
    ':method': 'POST',
    ':path': Echo.unary.path,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  });
  stream.on('error', () => undefined);
  return stream;
}

/** Another peer of the same server goes on. */
async function alive(t: TestContext, address: string): Promise<void> {
  const channel = await connectTo(t, world, { address });
  assert.equal((await channel.unary(Echo.unary, Buffer.from('alive'), 2_000)).toString(), 'alive');
}

test('A10: a flood of resets ends its session (rapid reset)', async (t) => {
  const { address, firstFault } = await startServer(t, { tls: world.serverTls, services: [echo] });
  const session = await rawSession(t, address);
  const usable = (): boolean => !session.destroyed && !session.closed;
  let resets = 0;
  const flood = (): void => {
    const calls: ClientHttp2Stream[] = [];
    while (usable() && calls.length < 50) calls.push(call(session));
    // A reset in the same turn would take the headers back before they are sent.
    setTimeout(() => {
      for (const each of calls) each.close(constants.NGHTTP2_CANCEL);
      resets += calls.length;
      // The count keeps a slow machine from drowning in its own attack.
      if (usable() && resets < 4_000) flood();
    }, 2);
  };
  flood();
  // Not the attacker's 'close': Node's client may never notice that it was cut off (see socket-bridge.ts).
  assert.equal((await within(firstFault, 'the end of the session')).kind, 'session');
  await alive(t, address);
});

test('users who hang up do not end the session', async (t) => {
  const { address } = await startServer(t, { tls: world.serverTls, services: [echo] });
  const channel = await connectTo(t, world, { address });
  for (let burst = 0; burst < 8; burst += 1) {
    const calls = Array.from({ length: 100 }, () => channel.duplex(Echo.stream));
    const ends = calls.map((each) => occurs(each, 'status'));
    for (const each of calls) each.cancel();
    await within(Promise.all(ends), 'the cancels');
  }
  assert.equal((await channel.unary(Echo.unary, Buffer.from('alive'), 2_000)).toString(), 'alive');
});

test('A9: more headers than any call has are refused', async (t) => {
  const { address } = await startServer(t, { tls: world.serverTls, services: [echo] });
  const session = await rawSession(t, address);
  const many = Object.fromEntries(Array.from({ length: 100 }, (_, index) => [`x-${index}`, 'v']));
  const stream = call(session, many);
  await within(occurs(stream, 'close'), 'the end of the stream');
  assert.notEqual(stream.rstCode, constants.NGHTTP2_NO_ERROR);
  await alive(t, address);
});

test('A8: a length prefix of 4 GiB is refused before anything is kept', async (t) => {
  const { address } = await startServer(t, { tls: world.serverTls, services: [echo] });
  const session = await rawSession(t, address);
  const stream = call(session);
  const headers = occurs(stream, 'response');
  stream.write(Buffer.from([0, 0xff, 0xff, 0xff, 0xff]));
  assert.equal(String(Reflect.get(Object(await within(headers, 'the answer')), 'grpc-status')), '8');
  await alive(t, address);
});

test('what is not gRPC is answered and changes nothing', async (t) => {
  const { address } = await startServer(t, { tls: world.serverTls, services: [echo] });
  const session = await rawSession(t, address);
  const stream = call(session, { ':method': 'GET', 'content-type': 'text/html' });
  stream.end();
  const answer = await within(occurs(stream, 'response'), 'the answer');
  assert.equal(Reflect.get(Object(answer), ':status'), 415);
  await alive(t, address);
});
