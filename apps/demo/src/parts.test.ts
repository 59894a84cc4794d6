import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { WriteStream } from 'node:tty';
import { freeAddress } from '@xylem/testkit';
import { ConnectRefused, openConnect } from './check/connect.ts';
import { lockDirectory } from './lock.ts';
import { Ports } from './ports.ts';
import { testBytes } from './test-bytes.ts';
import { tell } from './view/events.ts';
import { Screen } from './view/screen.ts';

const directory = mkdtempSync(join(tmpdir(), 'xylem-demo-'));
after(() => rmSync(directory, { recursive: true }));

function sha256(parts: Iterable<Buffer>): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
}

describe('ports', () => {
  it('prefers the wanted port, takes another where it is in use, and never one twice', async () => {
    const taken = Number((await freeAddress()).split(':')[1]);
    const server = createServer().listen(taken, '127.0.0.1');
    await once(server, 'listening');
    const ports = new Ports(true);
    const elsewhere = await ports.address(taken);
    assert.notEqual(elsewhere, `127.0.0.1:${taken}`);
    server.close();
    await once(server, 'close');
    assert.equal(await ports.address(taken), `127.0.0.1:${taken}`);
    assert.notEqual(await ports.address(taken), `127.0.0.1:${taken}`);
  });
});

describe('lock', () => {
  it('keeps a second demo out of a folder, and takes over from one that was killed', () => {
    const path = join(directory, 'locked');
    const release = lockDirectory(path);
    assert.equal(statSync(path).mode & 0o777, 0o700);
    writeFileSync(join(path, 'demo.pid'), `${process.ppid}\n`);
    assert.throws(
      () => lockDirectory(path),
      new RegExp(`in use by the demo with process id ${process.ppid}; end that one, or give --dir`),
    );
    writeFileSync(join(path, 'demo.pid'), '999999999\n');
    lockDirectory(path)();
    release();
  });
});

describe('test bytes', () => {
  it('are the same each time, and differ from chunk to chunk', () => {
    assert.equal(sha256(testBytes(300_000)), sha256(testBytes(300_000)));
    const chunks = [...testBytes(200_000)].map((chunk) => sha256([chunk]));
    assert.equal(new Set(chunks).size, chunks.length);
    assert.equal(
      [...testBytes(200_001)].reduce((sum, chunk) => sum + chunk.length, 0),
      200_001,
    );
  });
});

describe('events', () => {
  const at = (service: string, event: string, level = 'info') => ({
    service,
    level,
    event,
    fields: { proxy: 'p1\u001b[2J' },
  });

  it('tells the story of discovery in one printable line each', () => {
    assert.equal(tell(at('berlin/a1', 'claim.granted')), 'berlin/a1  claimed p1\\u{1b}[2J');
    assert.equal(tell(at('registry', 'member.left')), 'registry   p1\\u{1b}[2J left');
  });

  it('leaves out what is of no interest, but never a warning', () => {
    assert.equal(tell(at('p1', 'claim.granted')), undefined);
    assert.equal(tell(at('p1', 'handshake.failed', 'warn')), 'p1         handshake failed  proxy=p1\\u{1b}[2J');
  });
});

describe('screen', () => {
  it('draws again in place, only on change, and cuts at the width', () => {
    const written: string[] = [];
    const out = Object.create(WriteStream.prototype, {
      columns: { value: 10 },
      rows: { value: 4 },
      write: { value: (text: string) => written.push(text) },
    });
    const screen = new Screen(out);
    screen.draw(['one', 'two']);
    screen.draw(['one', 'two']);
    screen.draw(['one', '\u001b[32mtwo is too long\u001b[39m', 'three', 'beyond']);
    assert.deepEqual(written, [
      'one\u001b[K\ntwo\u001b[K\n\u001b[J',
      '\u001b[2A\rone\u001b[K\ntwo is too\u001b[K\nthree\u001b[K\n\u001b[J',
    ]);
  });
});

describe('CONNECT', () => {
  const serve = async (answer: string): Promise<string> => {
    const server = createServer((socket) => socket.once('data', () => socket.write(answer)))
      .listen(0, '127.0.0.1')
      .unref();
    await once(server, 'listening');
    return `127.0.0.1:${Object(server.address()).port}`;
  };

  it('hands on bytes that came with the answer', async () => {
    const socket = await openConnect(await serve('HTTP/1.1 200 OK\r\nVia: p1\r\n\r\nbanner'), 'web.berlin:80');
    const [chunk]: unknown[] = await once(socket, 'data');
    assert.equal(String(chunk), 'banner');
    socket.destroy();
  });

  it('reports the status of a refusal', async () => {
    const refused = openConnect(await serve('HTTP/1.1 503 leaf offline\r\n\r\n'), 'web.berlin:80');
    await assert.rejects(
      refused,
      (error) => error instanceof ConnectRefused && error.status === 503 && error.message.endsWith('503 leaf offline'),
    );
  });
});
