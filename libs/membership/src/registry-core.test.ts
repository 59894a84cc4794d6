import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memberKey, sessionKey } from './keys.ts';
import type { ProxyId } from './ids.ts';
import { isProxyId } from './ids.ts';
import { Bench } from './testing/bench.ts';

const P1 = proxyId('p1');

function proxyId(text: string): ProxyId {
  assert.ok(isProxyId(text));
  return text;
}

test('a heartbeat is answered with what is left of the lease, counted from the keepalive it caused', () => {
  const bench = new Bench();
  const session = bench.attach('p1');
  bench.pass(2_000);
  session.say({ type: 'heartbeat', sequence: 1n });
  assert.deepEqual(session.only('heartbeatAck'), { type: 'heartbeatAck', sequence: 1n, leaseValidMs: 9_500 });
});

test('while keepalives are not acknowledged heartbeats are answered after a wait, with less and less, at last with nothing', () => {
  const bench = new Bench();
  const session = bench.attach('p1');
  bench.keepingAlive = false;
  bench.pass(1_000);
  session.say({ type: 'heartbeat', sequence: 1n });
  assert.equal(session.all('heartbeatAck').length, 0);
  bench.pass(499);
  assert.equal(session.all('heartbeatAck').length, 0);
  bench.pass(1);
  for (let sequence = 2n; sequence <= 5n; sequence += 1n) {
    bench.pass(2_500);
    session.say({ type: 'heartbeat', sequence });
    bench.pass(500);
  }
  assert.deepEqual(
    session.all('heartbeatAck').map((ack) => ack.leaseValidMs),
    [8_500, 5_500, 2_500, 0, 0],
  );
});

test('only heartbeats keep a lease alive', () => {
  const bench = new Bench();
  const session = bench.attach('p1');
  const { lease } = session.only('welcome');
  const sent = (): number => bench.keepAlives.filter((keepAlive) => keepAlive.lease === lease).length;
  const before = sent();
  session.acquire(1n, 'berlin');
  bench.pass(5_000);
  assert.equal(sent(), before);
  session.say({ type: 'heartbeat', sequence: 1n });
  assert.equal(sent(), before + 1);
});

test('a session without a message is closed, and its session key goes at once', () => {
  const bench = new Bench();
  const session = bench.attach('p1');
  assert.ok(bench.store.kvs.has(sessionKey(P1)));
  bench.pass(7_499);
  assert.equal(session.closed, undefined);
  bench.pass(1);
  assert.equal(session.closed, 'silent');
  assert.equal(bench.store.kvs.has(sessionKey(P1)), false);
  assert.ok(bench.store.kvs.has(memberKey(P1)), 'the member record lives as long as its lease');
});

test('a registry that was paused blames nobody, but waits no second time', () => {
  const bench = new Bench();
  const session = bench.attach('p1');
  bench.pause(60_000);
  assert.equal(session.closed, undefined);
  bench.pass(4_999);
  assert.equal(session.closed, undefined);
  bench.pass(1);
  assert.equal(session.closed, 'silent');
});

test('who does not read gets no delta, and a full view once it reads again', () => {
  const bench = new Bench();
  const [slow, quick] = [bench.attach('p1'), bench.attach('p2')];
  const deltas = slow.all('viewDelta').length;
  bench.handle({ type: 'sessionStalled', session: slow.id });
  quick.acquire(1n, 'berlin');
  quick.acquire(2n, 'tokyo');
  assert.equal(slow.all('viewDelta').length, deltas);
  assert.equal(slow.all('view').length, 1);
  bench.handle({ type: 'sessionFlowing', session: slow.id });
  assert.deepEqual(
    slow.all('view')[1]?.claims.map(({ leaf }) => leaf),
    ['berlin', 'tokyo'],
  );
  quick.acquire(3n, 'paris');
  assert.equal(slow.all('viewDelta').length, deltas + 1);
});

test('what changed in one revision is told in one delta, and nothing is told when nothing visible changed', () => {
  const bench = new Bench();
  const session = bench.attach('p1');
  const before = session.all('viewDelta').length;
  bench.store.write(...['a', 'b', 'c'].map((leaf) => claimOf(leaf)));
  bench.pumpWatch();
  assert.deepEqual(
    session
      .all('viewDelta')
      .slice(before)
      .map((delta) => delta.claims.map(({ leaf }) => leaf)),
    [['a', 'b', 'c']],
  );
  bench.store.write({ type: 'put', key: '/xylem/v1/sessions/p9', value: '{}', lease: 0n });
  bench.pumpWatch();
  assert.equal(session.all('viewDelta').length, before + 1);
});

function claimOf(leaf: string): {
  readonly type: 'put';
  readonly key: string;
  readonly value: string;
  readonly lease: bigint;
} {
  const value = JSON.stringify({ agent: 'a', nonce: 'n', incarnation: '1', epoch: '1' });
  return { type: 'put', key: `/xylem/v1/claims/${leaf}/p9/0`, value, lease: 0n };
}

test('an instance whose rival goes within the grace is welcomed as if it had never been there', () => {
  const bench = new Bench();
  const old = bench.attach('p1', 'old');
  const young = bench.open('p1').hello('p1', 'young');
  bench.pass(900);
  assert.deepEqual(young.sent, []);
  bench.handle({ type: 'sessionClosed', session: old.id });
  const { incarnation } = young.only('welcome');
  assert.ok(incarnation > old.only('welcome').incarnation);
  bench.pass(2_000);
  assert.equal(young.closed, undefined);
});

test('an instance whose rival stays is refused by its name after the grace', () => {
  const bench = new Bench();
  const old = bench.attach('p1', 'old');
  const young = bench.open('p1').hello('p1', 'young');
  bench.pass(1_000);
  const { code, detail } = young.only('refused');
  assert.equal(code, 'duplicate-id');
  assert.match(
    detail,
    /proxy p1 is already registered by a live instance at a:1 \(nonce old\), attended by registry r1 since now; give/,
  );
  assert.equal(young.closed, 'answered');
  assert.equal(old.closed, undefined);
});

test('sessions, requests and claims of one leaf cluster are bounded', () => {
  const bench = new Bench({ maxSessions: 2, maxPendingPerSession: 3, maxClaimsPerLeaf: 2 });
  const first = bench.attach('p1');
  bench.attach('p2').acquire(1n, 'berlin');
  const third = bench.open('p3');
  assert.match(third.only('refused').detail, /attends 2 proxies already/);
  bench.store.write(claimOf('berlin'));
  bench.pumpWatch();
  first.acquire(1n, 'berlin');
  assert.deepEqual(first.only('acquired').detail, 'leaf berlin holds 2 claims already, the most one leaf may');
  bench.answering = false;
  for (let request = 2n; request <= 5n; request += 1n) first.acquire(request, `leaf-${request}`);
  assert.deepEqual(first.all('acquired')[1]?.detail, '3 requests of this proxy wait already');
  assert.equal(first.closed, undefined);
});

test('a root proxy that has seen the very revision that its seat now gets proves that the store was restored', () => {
  for (const [ahead, restored] of [
    [0n, false],
    [1n, true],
  ] as const) {
    const bench = new Bench();
    const newestStamp = { epoch: 1n, revision: bench.store.revision + ahead };
    const session = bench.open('p1');
    session.say({
      type: 'hello',
      minVersion: 1,
      maxVersion: 1,
      proxy: 'p1',
      instanceNonce: 'one',
      peerAddress: 'h:1',
      tunnelAddress: 'h:2',
      generation: 0,
      software: 'test',
      incarnation: 0n,
      newestStamp,
    });
    bench.pass(5_000);
    assert.equal(
      bench.reports.some(({ type }) => type === 'storeRestored'),
      restored,
    );
    assert.equal(bench.core.status().stamp?.epoch, restored ? 2n : 1n);
  }
});

test('operations beyond the bound wait in line', () => {
  const bench = new Bench({ maxOperations: 4 });
  const session = bench.attach('p1');
  bench.answering = false;
  for (let request = 1n; request <= 10n; request += 1n) session.acquire(request, `leaf-${request}`);
  assert.deepEqual([bench.waiting.length, bench.core.status().operationsWaiting], [4, 6]);
  for (let answered = 0; answered < 10; answered += 1) bench.answer();
  assert.deepEqual(
    session.all('acquired').map(({ code }) => code),
    Array.from({ length: 10 }, () => 'granted'),
  );
});

test('what nobody waits for any more is never sent', () => {
  const bench = new Bench({ maxOperations: 1 });
  const session = bench.attach('p1');
  bench.answering = false;
  session.acquire(1n, 'berlin');
  session.acquire(2n, 'tokyo');
  bench.pass(4_000);
  assert.deepEqual(
    session.all('acquired').map(({ code }) => code),
    ['unavailable', 'unavailable'],
  );
  bench.answering = true;
  bench.answer({ status: 'unknown', detail: 'no answer' });
  bench.pass(100);
  assert.deepEqual(
    [...bench.store.kvs.keys()].filter((key) => key.includes('/claims/')),
    [],
  );
});

test('an acquire of unknown outcome is tried again only after the session key was put again', () => {
  const bench = new Bench();
  const session = bench.attach('p1');
  const seat = (): bigint => bench.store.kvs.get(sessionKey(P1))?.modRevision ?? 0n;
  const before = seat();
  bench.answering = false;
  session.acquire(1n, 'berlin', 'nonce');
  const late = bench.waiting[0];
  bench.answer({ status: 'unknown', detail: 'no answer' });
  bench.answer();
  assert.ok(seat() > before);
  bench.answer();
  assert.equal(session.only('acquired').code, 'granted');
  session.say({ type: 'release', request: 2n, leaf: 'berlin', slot: 0, token: session.only('acquired').token });
  bench.answer();
  assert.equal(session.only('released').code, 'done');
  assert.ok(late !== undefined);
  const outcome = bench.store.execute(late.request);
  assert.ok(
    outcome.status === 'done' && outcome.result.type === 'txn' && !outcome.result.succeeded,
    'the first try can write no more',
  );
});

test('an acquire that had happened although its outcome was unknown is recognised by its nonce', () => {
  const bench = new Bench();
  const session = bench.attach('p1');
  bench.answering = false;
  session.acquire(1n, 'berlin', 'nonce');
  const [lost] = bench.waiting;
  assert.ok(lost !== undefined);
  bench.store.execute(lost.request);
  const created = bench.store.revision;
  bench.answer({ status: 'unknown', detail: 'no answer' });
  bench.answering = true;
  bench.answer();
  bench.pass(100);
  assert.deepEqual([session.only('acquired').code, session.only('acquired').token], ['granted', created]);
});

test('while the store is silent acquires and releases are answered after their time, and leave ends the session', () => {
  const bench = new Bench();
  const session = bench.attach('p1');
  bench.answering = false;
  session.acquire(1n, 'berlin');
  session.say({ type: 'release', request: 2n, leaf: 'berlin', slot: 0, token: 77n });
  session.say({ type: 'drain' });
  bench.pass(4_000);
  assert.equal(session.only('acquired').code, 'unavailable');
  assert.equal(session.only('released').code, 'unavailable');
  assert.equal(session.only('drainResult').recorded, false);
  session.say({ type: 'leave' });
  bench.pass(4_000);
  assert.equal(session.closed, 'store-unavailable');
});

test('a lost replica lease is granted anew and every session key put under it; claims wait for that', () => {
  const bench = new Bench();
  const session = bench.attach('p1');
  const lost = bench.store.kvs.get(sessionKey(P1))?.lease ?? 0n;
  bench.store.execute({ type: 'leaseRevoke', lease: lost });
  bench.answering = false;
  bench.pass(2_000);
  session.acquire(1n, 'berlin');
  assert.deepEqual(
    bench.waiting.map(({ request }) => request.type),
    ['leaseGrant'],
    'no claim without a session key',
  );
  bench.answering = true;
  bench.answer();
  bench.pass(0);
  const now = bench.store.kvs.get(sessionKey(P1))?.lease;
  assert.ok(now !== undefined && now !== lost);
  assert.equal(session.only('acquired').code, 'granted');
  assert.ok(bench.reports.some((report) => report.type === 'replicaLeaseLost'));
});

test('a session key that was deleted by hand is put again', () => {
  const bench = new Bench();
  bench.attach('p1');
  bench.store.write({ type: 'delete', key: sessionKey(P1) });
  bench.pumpWatch();
  bench.pass(0);
  assert.ok(bench.store.kvs.has(sessionKey(P1)));
});

test('a root proxy whose lease the store does not know is evicted', () => {
  const bench = new Bench();
  const session = bench.attach('p1');
  const { lease } = session.only('welcome');
  bench.handle({ type: 'leaseKeptAlive', lease, sentAt: bench.now, ttlMs: 0 });
  assert.equal(session.only('evicted').detail, 'the lease has lapsed');
  assert.equal(bench.store.kvs.has(memberKey(P1)), false, 'nothing is left under it when the proxy comes back');
  const again = bench.attach('p1');
  assert.ok(again.only('welcome').incarnation > session.only('welcome').incarnation);
});

test('records that cannot be read count as absent and are replaced', () => {
  const bench = new Bench();
  bench.store.write(
    { type: 'put', key: memberKey(P1), value: 'not json', lease: 0n },
    { type: 'put', key: sessionKey(P1), value: '[]', lease: 0n },
    { type: 'put', key: '/xylem/v1/claims/berlin/p1/0', value: '{"agent":"A B"}', lease: 0n },
    { type: 'put', key: '/xylem/v1/unheard-of', value: '', lease: 0n },
  );
  bench.pumpWatch();
  assert.deepEqual(
    bench.reports.flatMap((report) => (report.type === 'malformedRecord' ? report.key : [])),
    [memberKey(P1), sessionKey(P1), '/xylem/v1/claims/berlin/p1/0'],
  );
  const session = bench.attach('p1');
  assert.deepEqual(
    session.only('view').members.map(({ proxy }) => proxy),
    ['p1'],
  );
});

test('shutting down refuses every session, old and new, and gives up the replica lease only', () => {
  const bench = new Bench();
  const session = bench.attach('p1');
  const { lease } = session.only('welcome');
  const replicaLease = bench.store.kvs.get(sessionKey(P1))?.lease ?? 0n;
  bench.handle({ type: 'shutdownRequested' });
  assert.equal(session.only('refused').code, 'shutdown');
  assert.equal(bench.open('p2').only('refused').code, 'shutdown');
  assert.ok(bench.stopped);
  assert.deepEqual([bench.store.leases.has(lease), bench.store.leases.has(replicaLease)], [true, false]);
  assert.equal(bench.core.status().why, 'shutting down');
});

test('nothing is asked of the store by a session that said nothing, and it does not stay for ever', () => {
  const bench = new Bench();
  const before = bench.store.revision;
  const session = bench.open();
  session.say({ type: 'heartbeat', sequence: 1n });
  bench.pass(7_500);
  assert.equal(session.closed, 'silent');
  assert.equal(bench.store.revision, before);
});
