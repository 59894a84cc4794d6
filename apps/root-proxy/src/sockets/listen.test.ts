import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { test } from 'node:test';
import { bind } from './listen.ts';

test('a connection that cannot be accepted is told of, and the port goes on', async (t) => {
  const server = createServer((socket) => socket.end('hello'));
  const told: string[] = [];
  const port = await bind(server, '127.0.0.1:0', 'tunnel.listen', (detail) => told.push(detail));
  t.after(() => server.close());
  // What Node emits when accept() fails: without a listener it would end the process.
  server.emit('error', Object.assign(new Error('accept ENOBUFS'), { code: 'ENOBUFS', syscall: 'accept' }));
  assert.deepEqual(told, ['accept ENOBUFS']);
  const [greeting] = await once(connect(port, '127.0.0.1'), 'data', { signal: AbortSignal.timeout(5_000) });
  assert.equal(String(greeting), 'hello');
});

test('a taken port is refused in one line that names the key and the remedy', async (t) => {
  const first = createServer();
  const port = await bind(first, '127.0.0.1:0', 'tunnel.listen', () => undefined);
  t.after(() => first.close());
  await assert.rejects(
    bind(createServer(), `127.0.0.1:${port}`, 'tunnel.listen', () => undefined),
    new RegExp(`^Error: tunnel\\.listen: 127\\.0\\.0\\.1:${port} is taken by another process`),
  );
});
