import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import { createAuthority } from '@xylem/identity';
import { post, sendRaw } from '../testing/raw-enrolment.ts';
import type { RawAnswer } from '../testing/raw-enrolment.ts';
import { createEnrolmentListener } from './listener.ts';
import type { ListenerOptions } from './listener.ts';

interface Bench {
  readonly enrolPort: number;
  /** Bodies that reached the route, in order. */
  readonly served: unknown[];
  readonly errors: unknown[];
}

async function listen(t: TestContext, change: Partial<ListenerOptions> = {}): Promise<Bench> {
  const authority = await createAuthority({ domain: 'xylem.internal' });
  const { ca, cert, key } = await authority.issue({ kind: 'registry', registry: 'r1' }, 3_600_000);
  const served: unknown[] = [];
  const errors: unknown[] = [];
  const listener = createEnrolmentListener({
    domain: 'xylem.internal',
    tls: { ca, cert: `${cert}${ca}`, key: key.reveal() },
    routes: [
      {
        method: 'POST',
        path: '/v1/join',
        handle: ({ body }) => {
          served.push(body);
          return Promise.resolve({ done: true });
        },
      },
    ],
    isRelay: () => false,
    onError: (_where, cause) => void errors.push(cause),
    onAnswer: () => undefined,
    ...change,
  });
  const enrolPort = await listener.listen('127.0.0.1:0');
  t.after(() => listener.close());
  return { enrolPort, served, errors };
}

function answersIn({ head, body }: RawAnswer): number {
  return `${head}\r\n\r\n${body}`.split('HTTP/1.1 200').length - 1;
}

describe('the enrolment listener', { timeout: 60_000 }, () => {
  it('goes on when a hook throws, and says so once for each request', async (t) => {
    const broken = new Error('the log is full');
    const bench = await listen(t, {
      onAnswer: () => {
        throw broken;
      },
    });
    for (const path of ['/v1/join', '/v1/join', '/v1/nowhere']) await sendRaw(bench, post(path, '{}'));
    assert.deepEqual([bench.served.length, bench.errors], [2, [broken, broken, broken]]);
  });

  it('answers one request of a connection, however many are sent behind each other', async (t) => {
    const bench = await listen(t);
    const one = post('/v1/join', '{"n":1}');
    const answer = await sendRaw(bench, Buffer.concat([one, post('/v1/join', '{"n":2}'), post('/v1/join', '{"n":3}')]));
    assert.deepEqual(bench.served, [{ n: 1 }]);
    assert.ok(answersIn(answer) <= 1, answer.head);
  });

  it('takes no bytes behind a body for part of it, nor a body of two lengths', async (t) => {
    const bench = await listen(t);
    const longer = post('/v1/join', '{"n":1}SMUGGLED', { 'content-length': '7' });
    await sendRaw(bench, longer);
    assert.ok(bench.served.every((body) => JSON.stringify(body) === '{"n":1}'));
    bench.served.length = 0;
    const head = 'POST /v1/join HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n';
    for (const lengths of [
      'content-length: 2\r\ncontent-length: 3\r\n',
      'content-length: 2\r\ntransfer-encoding: chunked\r\n',
      'transfer-encoding: chunked\r\ncontent-length: 2\r\n',
      'transfer-encoding: chunked, identity\r\n',
      'Content-Length : 2\r\n',
      'content-length: +2\r\n',
      'content-length: 0x2\r\n',
      'content-length: 2,2\r\n',
    ]) {
      const { status } = await sendRaw(bench, `${head}${lengths}\r\n{}`);
      assert.ok([0, 400].includes(status), `${lengths}: ${status}`);
    }
    assert.deepEqual(bench.served, []);
  });

  it('gives up on a body that never ends, and serves nothing of it', async (t) => {
    const bench = await listen(t);
    const began = performance.now();
    const { status } = await sendRaw(bench, post('/v1/join', '{"n"', { 'content-length': '400' }));
    assert.ok([0, 400, 408].includes(status), String(status));
    assert.ok(performance.now() - began < 8_000);
    assert.deepEqual(bench.served, []);
  });
});
