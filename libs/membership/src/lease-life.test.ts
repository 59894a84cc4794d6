import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LeaseLife } from './lease-life.ts';

const TIMING = { marginMs: 500, patienceMs: 2_500 };

test('a lease is good until the send time of the last acknowledged keepalive + TTL - margin', () => {
  const life = new LeaseLife(1n, TIMING, 1_000, 10_000);
  assert.equal(life.remainingMs(1_200), 9_300);
  life.sent(3_000);
  assert.equal(life.remainingMs(3_100), 7_400, 'sending proves nothing');
  life.acknowledged(3_000, 10_000);
  assert.equal(life.remainingMs(5_000), 7_500, 'the time of the acknowledgement does not count');
  assert.equal(life.remainingMs(20_000), 0);
});

test('an acknowledgement that comes late never shortens it', () => {
  const life = new LeaseLife(1n, TIMING, 0, 10_000);
  life.acknowledged(5_000, 10_000);
  life.acknowledged(2_000, 10_000);
  assert.equal(life.remainingMs(5_000), 9_500);
});

test('a lease that was taken over is good for nothing until acknowledged', () => {
  const life = new LeaseLife(1n, TIMING, 1_000, 0);
  assert.equal(life.remainingMs(1_000), 0);
  life.acknowledged(1_100, 10_000);
  assert.equal(life.remainingMs(1_100), 9_500);
});

test('one keepalive is on its way at a time, until patience ends', () => {
  const life = new LeaseLife(1n, TIMING, 0, 10_000);
  assert.ok(life.shouldSend(0));
  life.sent(0);
  assert.equal(life.shouldSend(2_499), false);
  assert.ok(life.shouldSend(2_500));
  life.sent(2_500);
  life.acknowledged(0, 10_000);
  assert.equal(life.shouldSend(2_600), false, 'that was the answer to the first');
  life.acknowledged(2_500, 10_000);
  assert.ok(life.shouldSend(2_600));
});
