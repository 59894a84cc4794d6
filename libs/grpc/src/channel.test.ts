import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StreamEnd } from './index.ts';
import { createChannel, createServer, handleStream } from './index.ts';
import { makeAuthority, sourceOf } from './testing/certificates.ts';
import { within } from './testing/deadline.ts';
import { Echo } from './testing/echo.ts';

test('echoes over mTLS, ends on both sides and tells who is there', async () => {
  const ca = await makeAuthority();
  const peers: (readonly string[])[] = [];
  const ended = Promise.withResolvers<StreamEnd>();
  const server = createServer({
    tls: sourceOf(await ca.issue({ dns: ['a.xylem.internal'] })),
    services: [
      handleStream(Echo.stream, async (stream) => {
        peers.push(stream.peer.uris);
        for await (const m of stream) stream.send(m);
        void stream.closed.then(ended.resolve);
      }),
    ],
  });
  const port = await server.listen('127.0.0.1:0');
  const channel = createChannel({
    address: `127.0.0.1:${port}`,
    serverName: 'a.xylem.internal',
    tls: sourceOf(await ca.issue({ uris: ['spiffe://x/leaf/l/agent/a'] })),
  });
  await within(channel.connect(), 'connect');
  const stream = channel.stream(Echo.stream);
  stream.send(Buffer.from('hello'));
  for await (const m of stream) {
    assert.equal(m.toString(), 'hello');
    stream.end();
  }
  assert.deepEqual(await within(stream.closed, 'closed'), { kind: 'ended' });
  assert.deepEqual(await within(ended.promise, 'end at the server'), { kind: 'ended' });
  assert.deepEqual(peers, [['spiffe://x/leaf/l/agent/a']]);
  channel.close();
  assert.deepEqual(await channel.lost, { kind: 'closed', detail: 'closed by us' });
  await within(server.close(100), 'close');
});
