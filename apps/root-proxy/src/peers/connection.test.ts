import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ConnectionLoss, GrpcChannel } from '@xylem/grpc';
import { PeerConnection } from './connection.ts';

/** A channel whose health checks the test answers. */
function channelOf(check: () => Promise<never>) {
  const lost = Promise.withResolvers<ConnectionLoss>();
  let closed = 0;
  let checks = 0;
  const channel: GrpcChannel = {
    connect: () => Promise.resolve(),
    stream: () => assert.fail('not used here'),
    duplex: () => assert.fail('not used here'),
    unary: () => {
      checks += 1;
      return check();
    },
    peer: undefined,
    lost: lost.promise,
    close: () => void (closed += 1),
  };
  return { channel, lost, closed: () => closed, checks: () => checks };
}

const INTERVAL_MS = 5;

test('two checks without an answer give a peer up', async () => {
  const { channel, closed, checks } = channelOf(() => Promise.reject(new Error('no answer')));
  new PeerConnection(channel, INTERVAL_MS);
  const deadline = performance.now() + 5_000;
  while (closed() === 0) {
    assert.ok(performance.now() < deadline);
    await sleep(1);
  }
  assert.equal(checks(), 2);
});

test('a check that was under way when GOAWAY came is the last, so that what is open can finish', async () => {
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<never>();
  const { channel, lost, closed, checks } = channelOf(() => {
    asked.resolve();
    return answer.promise;
  });
  new PeerConnection(channel, INTERVAL_MS);
  await asked.promise;
  lost.resolve({ kind: 'goaway', detail: 'the server takes no new streams' });
  answer.reject(new Error('no new streams'));
  await sleep(20 * INTERVAL_MS);
  assert.equal(checks(), 1);
  assert.equal(closed(), 0);
});
