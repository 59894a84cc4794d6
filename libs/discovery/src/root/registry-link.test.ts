import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AgentId, FencingToken, Incarnation, InstanceNonce, LeafId, ProxyId } from '../shared/ids.ts';
import { fixedRandom } from '../testing/random.ts';
import { defaultRegistryLinkConfig } from './defaults.ts';
import { RegistryLink } from './registry-link.ts';
import type { Member, MemberClaim, RegistryEffect, RegistryEvent, RegistryRefusal } from './registry-types.ts';

const TTL_MS = 10_000;
const A = 'a' as ProxyId;

/** A link under test with everything it did since it was last asked. */
class Bench {
  readonly link: RegistryLink;
  now = 0;

  constructor(registries = ['r1:7100', 'r2:7100'], draw = 0) {
    this.link = new RegistryLink(defaultRegistryLinkConfig(registries), fixedRandom(draw), 0);
  }

  tell(event: RegistryEvent): RegistryEffect[] {
    this.link.handle(event, this.now);
    return this.done();
  }

  done(): RegistryEffect[] {
    const all: RegistryEffect[] = [];
    for (let effect = this.link.pollEffect(); effect !== undefined; effect = this.link.pollEffect()) all.push(effect);
    return all;
  }

  /** Time passes and timeouts fire. */
  wait(ms: number): RegistryEffect[] {
    const until = this.now + ms;
    const all: RegistryEffect[] = [];
    for (let due = this.link.nextTimeout(); due !== undefined && due <= until; due = this.link.nextTimeout()) {
      this.now = due;
      all.push(...this.tell({ type: 'timeout' }));
    }
    this.now = until;
    return all;
  }

  /** Answers the session that was just opened. */
  welcome(session: number, incarnation = 7n): RegistryEffect[] {
    return this.tell({
      type: 'welcomed',
      session,
      registry: 'r1',
      incarnation: incarnation as Incarnation,
      lease: 70n,
      leaseTtlMs: TTL_MS,
      heartbeatIntervalMs: 2_500,
    });
  }

  connected(): this {
    this.done();
    this.welcome(1);
    return this;
  }
}

function types(effects: readonly RegistryEffect[]): string[] {
  return effects.map((effect) => effect.type);
}

function opened(effects: readonly RegistryEffect[]): Extract<RegistryEffect, { type: 'openSession' }> {
  const effect = effects.find((candidate) => candidate.type === 'openSession');
  assert.ok(effect !== undefined, `no session opened: ${types(effects).join()}`);
  return effect;
}

function member(id: string, state: 'ready' | 'draining' = 'ready'): Member {
  const record = { id: id as ProxyId, incarnation: 7n as Incarnation, state, generation: 0 };
  const addresses = { peerAddress: `${id}:7201`, tunnelAddress: `${id}:7200` };
  return { record, ...addresses, instanceNonce: 'n' as InstanceNonce, software: '' };
}

function claim(leaf: string, proxy: string, token: bigint): MemberClaim {
  const key = { leaf: leaf as LeafId, proxy: proxy as ProxyId, slot: 0 };
  return {
    ...key,
    agent: 'a1' as AgentId,
    nonce: `n${token}`,
    incarnation: 7n as Incarnation,
    token: token as FencingToken,
  };
}

const at = (revision: bigint, epoch = 1n) => ({ epoch, revision });

test('registers at once, then says connected and sends heartbeats', () => {
  const bench = new Bench();
  const [open] = bench.done();
  assert.deepEqual(open, { type: 'openSession', session: 1, registry: 'r1:7100', incarnation: 0n, lease: 0n });
  assert.deepEqual(types(bench.welcome(1)), ['reportConnected', 'sendHeartbeat']);
  assert.equal(bench.link.status().state, 'connected');
  assert.deepEqual(types(bench.wait(2_250)), ['sendHeartbeat']);
});

test('a lost session resumes at the next registry with incarnation and lease while the lease is valid', () => {
  const bench = new Bench().connected();
  const lost = bench.tell({ type: 'sessionEnded', session: 1, detail: 'reset' });
  assert.deepEqual(types(lost), ['reportLost']);
  assert.equal(bench.link.status().state, 'reconnecting');
  const open = opened(bench.wait(0));
  assert.deepEqual([open.registry, open.incarnation, open.lease], ['r2:7100', 7n, 70n]);
  assert.deepEqual(types(bench.welcome(2)), ['reportConnected', 'sendHeartbeat']);
});

test('without contact the proxy is suspect when its lease runs out, and registers anew', () => {
  const bench = new Bench().connected();
  bench.now = TTL_MS - 501;
  bench.tell({ type: 'sessionEnded', session: 1, detail: 'reset' });
  assert.equal(bench.link.status().state, 'reconnecting');
  bench.now += 1;
  const open = opened(bench.tell({ type: 'timeout' }));
  assert.equal(bench.link.status().state, 'suspect');
  assert.deepEqual([open.incarnation, open.lease], [0n, 0n]);
});

test('the lease counts from when a heartbeat was sent, not from when its answer came', () => {
  const bench = new Bench().connected();
  bench.now = 4_000;
  bench.tell({ type: 'heartbeatAcked', session: 1, sequence: 1n, leaseValidMs: TTL_MS });
  bench.now = 9_499;
  bench.tell({ type: 'sessionEnded', session: 1, detail: 'reset' });
  assert.equal(bench.link.status().state, 'reconnecting');
  bench.now = 9_500;
  bench.tell({ type: 'timeout' });
  assert.equal(bench.link.status().state, 'suspect');
});

test('resuming a lease does not renew it: only an answered heartbeat does', () => {
  const bench = new Bench().connected();
  bench.now = 8_000;
  bench.tell({ type: 'sessionEnded', session: 1, detail: 'reset' });
  bench.wait(0);
  bench.welcome(2);
  bench.now = 9_500;
  bench.tell({ type: 'sessionEnded', session: 2, detail: 'reset' });
  assert.equal(bench.link.status().state, 'suspect');
});

test('whoever is refused as a duplicate believes in its lease no longer, not even when it resumes it', () => {
  const bench = new Bench().connected();
  bench.tell({ type: 'sessionEnded', session: 1, detail: 'reset' });
  bench.wait(0);
  assert.equal(bench.link.status().state, 'reconnecting');
  bench.tell({ type: 'refused', session: 2, code: 'duplicate-id', detail: 'another lives' });
  assert.equal(bench.link.status().state, 'suspect');
  assert.equal(opened(bench.wait(5_000)).lease, 0n);
  bench.welcome(3);
  bench.tell({ type: 'sessionEnded', session: 3, detail: 'reset' });
  assert.equal(bench.link.status().state, 'suspect', 'no heartbeat was answered since');
});

test('the status tells of the end of the lease without any other event', () => {
  const bench = new Bench().connected();
  bench.tell({ type: 'sessionEnded', session: 1, detail: 'reset' });
  bench.wait(4_000);
  assert.equal(bench.link.status().state, 'reconnecting');
  bench.wait(5_500);
  assert.equal(bench.link.status().state, 'suspect');
});

test('an answer that grants more than the lease, or was never asked for, proves nothing', () => {
  const bench = new Bench().connected();
  bench.tell({ type: 'heartbeatAcked', session: 1, sequence: 1n, leaseValidMs: 10 * TTL_MS });
  bench.tell({ type: 'heartbeatAcked', session: 1, sequence: 99n, leaseValidMs: TTL_MS });
  bench.now = TTL_MS;
  bench.tell({ type: 'sessionEnded', session: 1, detail: 'reset' });
  assert.equal(bench.link.status().state, 'suspect');
});

test('a registry that stops answering heartbeats is left while half the lease remains', () => {
  const bench = new Bench().connected();
  const done = bench.wait(TTL_MS / 2);
  assert.ok(types(done).includes('closeSession') && types(done).includes('reportLost'));
  assert.deepEqual(opened(done).incarnation, 7n, 'resumes');
});

test('a registry that takes the connection but never welcomes is left', () => {
  const bench = new Bench();
  bench.done();
  const done = bench.wait(5_000);
  assert.deepEqual(types(done), ['closeSession', 'openSession']);
  assert.equal(opened(done).registry, 'r2:7100');
});

test('events of a session that is over change nothing', () => {
  const bench = new Bench().connected();
  bench.tell({ type: 'sessionEnded', session: 1, detail: 'reset' });
  bench.wait(0);
  assert.deepEqual(bench.tell({ type: 'evicted', session: 1, detail: '' }), []);
  assert.deepEqual(
    bench.tell({ type: 'viewReceived', session: 1, view: { stamp: at(5n), members: [], claims: [] } }),
    [],
  );
  assert.deepEqual(bench.welcome(1, 9n), []);
  assert.equal(bench.link.status().incarnation, 7n);
});

test('after an eviction it registers anew', () => {
  const bench = new Bench().connected();
  const done = [...bench.tell({ type: 'evicted', session: 1, detail: 'lease gone' }), ...bench.wait(0)];
  assert.deepEqual(types(done), ['closeSession', 'reportLost', 'openSession']);
  assert.equal(opened(done).incarnation, 0n);
});

for (const [code, shown, wait] of [
  ['duplicate-id', true, 5_000],
  ['version', true, 5_000],
  ['denied', true, 5_000],
  ['store-unavailable', false, 0],
  ['shutdown', false, 0],
] as const satisfies readonly (readonly [RegistryRefusal, boolean, number])[]) {
  test(`a refusal for ${code} is ${shown ? 'shown and waited out' : 'passed over'}`, () => {
    const bench = new Bench();
    bench.done();
    bench.tell({ type: 'refused', session: 1, code, detail: 'instance 1a2b of host h' });
    assert.equal(bench.link.status().problem?.includes('instance 1a2b') === true, shown);
    assert.deepEqual(types(bench.wait(Math.max(0, wait - 1))), wait === 0 ? ['openSession'] : []);
    assert.equal(types(bench.wait(1)).length, wait === 0 ? 0 : 1);
  });
}

test('backoff grows with each round through the list, up to its ceiling', () => {
  const bench = new Bench(['r1', 'r2'], 0.999);
  bench.done();
  const waits: number[] = [];
  for (let attempt = 1; attempt <= 20; attempt += 1) {
    bench.tell({ type: 'sessionEnded', session: attempt, detail: 'refused' });
    waits.push((bench.link.nextTimeout() ?? 0) - bench.now);
    bench.wait(waits.at(-1) ?? 0);
  }
  assert.deepEqual(waits.slice(0, 4), [100, 100, 200, 200]);
  assert.ok(waits.every((wait) => wait <= 5_000) && (waits.at(-1) ?? 0) >= 4_900);
});

test('membership goes with its statement, stamped as it was signed, whatever the claims do', () => {
  const bench = new Bench().connected();
  const told = (effects: readonly RegistryEffect[]) =>
    effects.flatMap((effect) =>
      effect.type === 'reportMembership'
        ? [`${effect.snapshot.stamp.revision} ${effect.snapshot.statement ?? 'unsigned'}`]
        : [],
    );
  const nothing = { members: [], removedMembers: [], claims: [], removedClaims: [] };
  const change = (from: bigint, to: bigint, delta: object): string[] =>
    told(
      bench.tell({
        type: 'viewDeltaReceived',
        session: 1,
        delta: { ...nothing, from: at(from), to: at(to), ...delta },
      }),
    );
  const view = { stamp: at(10n), members: [member('a')], claims: [], statement: 's10' };
  assert.deepEqual(told(bench.tell({ type: 'viewReceived', session: 1, view })), ['10 s10']);
  assert.deepEqual(change(10n, 11n, { claims: [claim('berlin', 'a', 11n)] }), [], 'claims are nothing to agents');
  assert.deepEqual(change(11n, 12n, { members: [member('b')], statement: 's12' }), ['12 s12']);
  assert.deepEqual(change(12n, 12n, { statement: 's12 again' }), ['12 s12 again'], 'signed with a newer key');
  assert.deepEqual(change(12n, 13n, { removedMembers: ['b' as ProxyId] }), ['13 unsigned'], 'never with an old one');
});

test('reports membership when members change and claims when claims do', () => {
  const bench = new Bench().connected();
  const view = { stamp: at(10n), members: [member('a'), member('b')], claims: [claim('berlin', 'b', 9n)] };
  const first = bench.tell({ type: 'viewReceived', session: 1, view });
  assert.deepEqual(types(first), ['reportMembership', 'reportClaims']);
  const claims = bench.tell({
    type: 'viewDeltaReceived',
    session: 1,
    delta: {
      from: at(10n),
      to: at(11n),
      members: [],
      removedMembers: [],
      claims: [claim('tokyo', 'a', 11n)],
      removedClaims: [],
    },
  });
  assert.deepEqual(types(claims), ['reportClaims']);
  assert.deepEqual(
    bench.link
      .view()
      ?.claimsOf('tokyo' as LeafId)
      .map(({ token }) => token),
    [11n],
  );
  const members = bench.tell({
    type: 'viewDeltaReceived',
    session: 1,
    delta: { from: at(11n), to: at(12n), members: [], removedMembers: ['b' as ProxyId], claims: [], removedClaims: [] },
  });
  assert.equal(members[0]?.type === 'reportMembership' && members[0].snapshot.proxies.map(({ id }) => id).join(), 'a');
  assert.deepEqual(
    bench.link.view()?.claimsOf('berlin' as LeafId),
    [],
    'claims of proxies that are gone are not shown',
  );
});

test('a gap between view and delta ends the session and resumes elsewhere', () => {
  const bench = new Bench().connected();
  bench.tell({ type: 'viewReceived', session: 1, view: { stamp: at(10n), members: [member('a')], claims: [] } });
  const delta = { from: at(11n), to: at(12n), members: [], removedMembers: [A], claims: [], removedClaims: [] };
  const done = [...bench.tell({ type: 'viewDeltaReceived', session: 1, delta }), ...bench.wait(0)];
  assert.deepEqual(types(done), ['closeSession', 'reportLost', 'openSession']);
  assert.equal(bench.link.view()?.members().length, 1);
});

test('a registry that lags behind what another one told is not shown until it has caught up', () => {
  const bench = new Bench().connected();
  bench.tell({
    type: 'viewReceived',
    session: 1,
    view: { stamp: at(50n), members: [member('a')], claims: [claim('l', 'a', 40n)] },
  });
  bench.tell({ type: 'sessionEnded', session: 1, detail: '' });
  bench.wait(0);
  bench.welcome(2);
  assert.deepEqual(
    bench.tell({ type: 'viewReceived', session: 2, view: { stamp: at(45n), members: [], claims: [] } }),
    [],
  );
  assert.equal(bench.link.view()?.stamp.revision, 50n);
  const delta = {
    from: at(45n),
    to: at(51n),
    members: [member('b')],
    removedMembers: [],
    claims: [claim('l', 'b', 51n)],
    removedClaims: [],
  };
  const caughtUp = bench.tell({ type: 'viewDeltaReceived', session: 2, delta });
  assert.deepEqual(types(caughtUp), ['reportMembership', 'reportClaims']);
  const claims = caughtUp[1];
  assert.ok(claims?.type === 'reportClaims' && claims.complete, 'everything is new after the lag');
});

test('a view beyond its bounds is not taken, is shown as a problem, and the next registry is asked', () => {
  const bench = new Bench().connected();
  const members = Array.from({ length: 4_097 }, (_, index) => member(`p${index}`));
  const done = bench.tell({ type: 'viewReceived', session: 1, view: { stamp: at(10n), members, claims: [] } });
  assert.deepEqual(types(done), ['closeSession', 'reportLost']);
  assert.match(bench.link.status().problem ?? '', /more than 4096 root proxies/);
  assert.equal(bench.link.view(), undefined);
});

test('a delta that grows a view beyond its bounds ends the session too', () => {
  const bench = new Bench().connected();
  bench.tell({ type: 'viewReceived', session: 1, view: { stamp: at(10n), members: [member('a')], claims: [] } });
  const members = Array.from({ length: 4_097 }, (_, index) => member(`p${index}`));
  const delta = { from: at(10n), to: at(11n), members, removedMembers: [], claims: [], removedClaims: [] };
  assert.deepEqual(types(bench.tell({ type: 'viewDeltaReceived', session: 1, delta })), ['closeSession', 'reportLost']);
});

test('finds members by id and lists leaf clusters that have claims', () => {
  const bench = new Bench().connected();
  const claims = [claim('tokyo', 'a', 9n), claim('berlin', 'a', 8n)];
  bench.tell({ type: 'viewReceived', session: 1, view: { stamp: at(10n), members: [member('a')], claims } });
  assert.equal(bench.link.view()?.member(A)?.tunnelAddress, 'a:7200');
  assert.deepEqual(bench.link.view()?.leaves(), ['berlin', 'tokyo']);
  const removedClaims = claims.slice(0, 1);
  const delta = { from: at(10n), to: at(11n), members: [], removedMembers: [], claims: [], removedClaims };
  bench.tell({ type: 'viewDeltaReceived', session: 1, delta });
  assert.deepEqual(bench.link.view()?.leaves(), ['berlin']);
});

test('drain is repeated until recorded, and again for a new incarnation', () => {
  const bench = new Bench().connected();
  assert.deepEqual(types(bench.tell({ type: 'drainRequested' })), ['sendDrain']);
  bench.tell({ type: 'drainAnswered', session: 1, recorded: false });
  assert.deepEqual(types(bench.wait(1_000)), ['sendDrain']);
  bench.tell({ type: 'drainAnswered', session: 1, recorded: true });
  assert.equal(bench.link.status().drainRecorded, true);
  assert.equal(types(bench.wait(1_500)).includes('sendDrain'), false);
  bench.tell({ type: 'evicted', session: 1, detail: '' });
  bench.wait(0);
  assert.deepEqual(types(bench.welcome(2, 99n)), ['reportConnected', 'sendHeartbeat', 'sendDrain']);
});

test('leaving ends with one reportLeft, clean when the registry said so', () => {
  const bench = new Bench().connected();
  assert.deepEqual(types(bench.tell({ type: 'leaveRequested', deadlineMs: 2_000 })), ['sendLeave']);
  assert.deepEqual(bench.tell({ type: 'left', session: 1 }), [{ type: 'reportLeft', clean: true }]);
  assert.equal(bench.link.nextTimeout(), undefined);
  assert.deepEqual(bench.tell({ type: 'sessionEnded', session: 1, detail: '' }), []);
});

test('leaving does not wait for a registry that does not answer or is not there', () => {
  const silent = new Bench().connected();
  silent.tell({ type: 'leaveRequested', deadlineMs: 2_000 });
  assert.deepEqual(types(silent.wait(2_000)), ['closeSession', 'reportLeft']);
  const alone = new Bench();
  alone.done();
  assert.deepEqual(types(alone.tell({ type: 'leaveRequested', deadlineMs: 2_000 })), ['closeSession', 'reportLeft']);
});

test('refuses to start without a registry', () => {
  assert.throws(() => new Bench([]), /registries must name at least one/);
});
