import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Snapshot } from '../shared/gossip.ts';
import type { Incarnation, ProxyId } from '../shared/ids.ts';
import { StampedKnowledge } from './knowledge.ts';

const EXPIRY = 180_000;
const A = 'a' as ProxyId;
const B = 'b' as ProxyId;

function snapshot(revision: bigint, ids: readonly string[], epoch = 1n): Snapshot {
  const proxies = ids.map((id) => ({
    id: id as ProxyId,
    incarnation: 1n as Incarnation,
    state: 'ready' as const,
    generation: 0,
  }));
  return { kind: 'snapshot', stamp: { epoch, revision }, proxies };
}

test('a greater stamp that omits a proxy is evidence, an older one is not', () => {
  const knowledge = new StampedKnowledge(EXPIRY);
  knowledge.receive(snapshot(10n, ['a', 'b']), 0);
  assert.equal(knowledge.receive(snapshot(9n, ['b']), 1), 'older');
  assert.equal(knowledge.verdict(A, 1).kind, 'ready');
  knowledge.receive(snapshot(11n, ['b']), 2);
  assert.equal(knowledge.verdict(A, 2).kind, 'gone');
  assert.deepEqual(knowledge.records(2), [B]);
});

test('what nobody repeats expires, and the next message vouches for it again', () => {
  const knowledge = new StampedKnowledge(EXPIRY);
  knowledge.receive(snapshot(10n, ['a']), 0);
  assert.equal(knowledge.nextExpiry(0), EXPIRY + 1);
  assert.equal(knowledge.verdict(A, EXPIRY).kind, 'ready');
  assert.equal(knowledge.verdict(A, EXPIRY + 1).kind, 'expired');
  assert.deepEqual(knowledge.records(EXPIRY + 1), []);
  assert.equal(knowledge.receive(snapshot(10n, ['a']), EXPIRY + 2), 'advanced');
  assert.equal(knowledge.verdict(A, EXPIRY + 2).kind, 'ready');
});

test('a handshake newer than the head is believed until a head covers it', () => {
  const knowledge = new StampedKnowledge(EXPIRY);
  knowledge.receive(snapshot(10n, ['a']), 0);
  knowledge.shookHands(B, 15n as Incarnation, 1);
  assert.equal(knowledge.verdict(B, 1).kind, 'ready');
  knowledge.receive(snapshot(14n, ['a']), 2);
  assert.equal(knowledge.verdict(B, 2).kind, 'ready');
  knowledge.receive(snapshot(15n, ['a']), 3);
  assert.equal(knowledge.verdict(B, 3).kind, 'gone');
});

test('a newer epoch counts although its revisions are smaller', () => {
  const knowledge = new StampedKnowledge(EXPIRY);
  knowledge.receive(snapshot(900n, ['a']), 0);
  assert.equal(knowledge.receive(snapshot(10n, ['b'], 2n), 1), 'advanced');
  assert.equal(knowledge.verdict(A, 1).kind, 'gone');
  assert.equal(knowledge.verdict(B, 1).kind, 'ready');
});

test('gossip that is not admitted changes nothing', () => {
  const knowledge = new StampedKnowledge(EXPIRY, (message) =>
    message.kind === 'snapshot' && message.stamp.revision > 1_000n ? 'not signed' : undefined,
  );
  knowledge.receive(snapshot(10n, ['a']), 0);
  assert.equal(knowledge.receive(snapshot(2n ** 63n - 1n, []), 1), 'invalid');
  assert.equal(knowledge.verdict(A, 1).kind, 'ready');
});

test('gossip is admitted by the list that results from it, however it came', () => {
  const shown: (string | undefined)[] = [];
  const knowledge = new StampedKnowledge(EXPIRY, (_, resulting) => {
    shown.push(resulting?.proxies.map(({ id }) => id).join());
    return shown.at(-1)?.includes('evil') === true ? 'not signed' : undefined;
  });
  const records = (...ids: readonly string[]) => snapshot(1n, ids).proxies;
  const delta = (from: bigint, to: bigint, changed: ReturnType<typeof records>, removed: readonly string[] = []) =>
    ({
      kind: 'delta',
      from: { epoch: 1n, revision: from },
      to: { epoch: 1n, revision: to },
      changed,
      removed: removed as ProxyId[],
    }) as const;
  knowledge.receive(snapshot(10n, ['b', 'a']), 0);
  assert.equal(knowledge.receive(delta(10n, 11n, records('c'), ['a']), 1), 'advanced');
  assert.equal(knowledge.receive(delta(11n, 12n, records('evil')), 2), 'invalid');
  assert.equal(knowledge.receive(delta(11n, 12n, records('d')), 3), 'advanced', 'the refused one moved nothing');
  assert.equal(knowledge.receive(delta(50n, 60n, []), 4), 'gap');
  assert.equal(knowledge.receive(snapshot(5n, ['evil']), 5), 'older');
  assert.deepEqual(shown, ['a,b', 'b,c', 'b,c,evil', 'b,c,d', undefined, undefined]);
});

test('a million rotations leave no more than the last membership behind', () => {
  const knowledge = new StampedKnowledge(EXPIRY);
  const started = performance.now();
  for (let round = 1; round <= 1_000_000; round += 1) {
    const revision = BigInt(round);
    knowledge.shookHands(`p${round}` as ProxyId, revision as Incarnation, round * 10);
    knowledge.receive(snapshot(revision, [`p${round}`, `p${round + 1}`]), round * 10);
  }
  assert.equal(knowledge.view.heard.size, 0);
  assert.equal(knowledge.records(10_000_000).length, 2);
  assert.ok(performance.now() - started < 20_000);
});
