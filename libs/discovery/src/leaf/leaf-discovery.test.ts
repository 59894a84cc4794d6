import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ProxyRecord } from '../shared/gossip.ts';
import type { AgentId, DialId, Incarnation, LeafId, ProxyId, TunnelId } from '../shared/ids.ts';
import { fixedRandom } from '../testing/random.ts';
import { defaultLeafConfig } from './defaults.ts';
import { LeafDiscovery } from './leaf-discovery.ts';
import { assertMove } from './phase.ts';
import type { LeafConfig, LeafEffect, LeafEvent } from './types.ts';

const A = 'a' as ProxyId;
const B = 'b' as ProxyId;

class Bench {
  readonly core: LeafDiscovery;
  now = 0;

  constructor(overrides: Partial<LeafConfig> = {}, draw = 0) {
    const config = { ...defaultLeafConfig('l' as LeafId, 'a1' as AgentId), ...overrides };
    this.core = new LeafDiscovery(config, fixedRandom(draw), 0);
  }

  done(): LeafEffect[] {
    const all: LeafEffect[] = [];
    for (let effect = this.core.pollEffect(); effect !== undefined; effect = this.core.pollEffect()) all.push(effect);
    return all;
  }

  tell(event: LeafEvent): LeafEffect[] {
    this.core.handle(event, this.now);
    return this.done();
  }

  wait(ms: number): LeafEffect[] {
    const until = this.now + ms;
    const all: LeafEffect[] = [];
    for (let due = this.core.nextTimeout(); due !== undefined && due <= until; due = this.core.nextTimeout()) {
      this.now = due;
      all.push(...this.tell({ type: 'timeout' }));
    }
    this.now = until;
    return all;
  }

  up(dial: number, tunnel: string, proxy: string, incarnation = 1n, via?: string): LeafEffect[] {
    return this.tell({
      type: 'tunnelEstablished',
      dial: dial as DialId,
      tunnel: tunnel as TunnelId,
      proxy: proxy as ProxyId,
      incarnation: incarnation as Incarnation,
      via: via as ProxyId | undefined,
    });
  }

  granted(tunnel: string): LeafEffect[] {
    return this.tell({ type: 'claimGranted', tunnel: tunnel as TunnelId, slot: 0 });
  }

  gossip(tunnel: string, revision: bigint, records: readonly Partial<ProxyRecord>[]): LeafEffect[] {
    const proxies = records.map((record) => ({
      id: A,
      incarnation: 1n as Incarnation,
      state: 'ready' as const,
      generation: 0,
      ...record,
    }));
    const message = { kind: 'snapshot' as const, stamp: { epoch: 1n, revision }, proxies };
    return this.tell({ type: 'gossipReceived', tunnel: tunnel as TunnelId, message });
  }

  fail(dial: number, reason: Extract<LeafEvent, { type: 'dialFailed' }>['reason'], retryAfterMs = 0): LeafEffect[] {
    return this.tell({ type: 'dialFailed', dial: dial as DialId, reason, retryAfterMs });
  }

  state(proxy: string): string | undefined {
    return this.core.status().entries.find((entry) => entry.proxy === proxy)?.state;
  }

  /** A claimed, everything polled. */
  withA(): this {
    this.done();
    this.up(1, 't1', 'a');
    this.granted('t1');
    this.gossip('t1', 20n, [{ id: A }]);
    return this;
  }
}

function dials(effects: readonly LeafEffect[]): (string | undefined)[] {
  return effects.flatMap((effect) => (effect.type === 'dial' ? [effect.target] : []));
}

test('the first probe starts in the constructor', () => {
  assert.deepEqual(new Bench().done(), [
    { type: 'dial', dial: 1, target: undefined, replaces: undefined, deadline: 10_000 },
  ]);
});

test('a dial that the shell forgets gives its permit back, and its late answer is welcome', () => {
  const bench = new Bench({ maxPermits: 1 }).withA();
  assert.deepEqual(dials(bench.gossip('t1', 21n, [{ id: A }, { id: B }])), ['b']);
  const effects = bench.wait(12_000);
  assert.deepEqual(
    effects.map((effect) => effect.type),
    ['cancelDial', 'dial'],
  );
  assert.equal(bench.core.status().dialsInFlight, 1);
  bench.up(2, 't2', 'b');
  bench.granted('t2');
  assert.equal(bench.state('b'), 'claimed');
});

test('without a connection the probe takes turns: chance, then each wanted entry by name', () => {
  const bench = new Bench().withA();
  bench.gossip('t1', 21n, [{ id: A }, { id: B }]);
  bench.fail(2, 'lost');
  assert.deepEqual(dials(bench.wait(0)), ['b']);
  bench.fail(3, 'lost');
  const targets = dials(bench.tell({ type: 'tunnelClosed', tunnel: 't1' as TunnelId, graceful: false, reason: '' }));
  let dial = 4;
  for (let round = 0; round < 7; round += 1, dial += 1) {
    targets.push(...dials(bench.fail(dial, 'refused')), ...dials(bench.wait(0)));
  }
  assert.deepEqual(targets.slice(0, 6), [undefined, 'a', undefined, 'b', undefined, 'a']);
});

test('a steered attempt that met somebody else’s certificate is followed by one that trusts to chance', () => {
  const bench = new Bench().withA();
  bench.gossip('t1', 21n, [{ id: A }, { id: B }]);
  bench.fail(2, 'handshake');
  assert.deepEqual(dials(bench.wait(0)), [undefined]);
  bench.fail(3, 'already-claimed');
  assert.deepEqual(dials(bench.wait(0)), ['b']);
});

test('the newest generation is dialled first', () => {
  const bench = new Bench({ maxPermits: 2 }).withA();
  const records = ['b', 'c', 'd', 'e'].map((id, index) => ({ id: id as ProxyId, generation: index >= 2 ? 1 : 0 }));
  assert.deepEqual(dials(bench.gossip('t1', 21n, [{ id: A }, ...records])), ['d', 'e']);
});

test('a proxy that asks not to be tried soon is not, and is not counted as wanted meanwhile', () => {
  const bench = new Bench().withA();
  bench.gossip('t1', 21n, [{ id: A }, { id: B }]);
  bench.fail(2, 'refused', 20_000);
  assert.equal(bench.core.status().wanted, 0);
  assert.deepEqual(dials(bench.wait(19_999)), []);
  assert.deepEqual(dials(bench.wait(1)), ['b']);
});

test('backoff resets when a new incarnation is heard of', () => {
  const bench = new Bench({}, 0.99).withA();
  bench.gossip('t1', 21n, [{ id: A }, { id: B }]);
  for (let dial = 2; dial < 10; dial += 1) {
    bench.fail(dial, 'lost');
    bench.wait(8_000);
  }
  bench.fail(10, 'lost');
  assert.deepEqual(dials(bench.gossip('t1', 30n, [{ id: A }, { id: B, incarnation: 25n as Incarnation }])), ['b']);
});

test('gossip never closes a healthy tunnel, whatever it says', () => {
  const bench = new Bench().withA();
  for (const [revision, records] of [
    [30n, []],
    [31n, [{ id: B, state: 'draining' as const }]],
    [32n, [{ id: A, state: 'draining' as const }]],
    [33n, [{ id: A, incarnation: 33n as Incarnation }]],
  ] as const) {
    const effects = bench.gossip('t1', revision, records);
    assert.ok(effects.every((effect) => effect.type !== 'closeTunnel'));
    assert.equal(bench.state('a'), 'claimed');
  }
});

test('a tunnel to a proxy that gossip no longer lists is not sought again once it is lost', () => {
  const bench = new Bench().withA();
  bench.gossip('t1', 30n, [{ id: B }]);
  bench.up(2, 't2', 'b');
  bench.granted('t2');
  bench.tell({ type: 'tunnelClosed', tunnel: 't1' as TunnelId, graceful: false, reason: '' });
  assert.equal(bench.state('a'), 'gone');
  assert.deepEqual(
    dials(bench.wait(5_000)).filter((target) => target !== 'b'),
    [],
  );
});

for (const [end, unregister] of [
  [
    'is left as it drains',
    (bench: Bench) => {
      bench.tell({ type: 'drainAnnounced', tunnel: 't2' as TunnelId, spreadMs: 0, deadlineMs: 10_000 });
      bench.wait(0);
      bench.gossip('t1', 31n, [{ id: A }]);
    },
  ],
  [
    'is lost after its lease lapsed',
    (bench: Bench) => {
      bench.gossip('t1', 31n, [{ id: A }]);
      bench.tell({ type: 'tunnelClosed', tunnel: 't2' as TunnelId, graceful: false, reason: 'silent' });
    },
  ],
] as const) {
  test(`a proxy that registered while one stood by is gone from the agent's list once it ${end}`, () => {
    const bench = new Bench().withA();
    bench.gossip('t1', 21n, [{ id: A }, { id: B, incarnation: 5n as Incarnation }]);
    bench.up(2, 't2', 'b', 0n);
    bench.tell({ type: 'claimHeld', tunnel: 't2' as TunnelId, holder: 'a2' as AgentId });
    assert.equal(bench.state('b'), 'standby');
    bench.gossip('t2', 30n, [{ id: A }, { id: B, incarnation: 30n as Incarnation }]);
    unregister(bench);
    assert.equal(bench.state('b'), 'gone');
    assert.deepEqual(dials(bench.wait(20_000)), []);
  });
}

test('a standby that was lost at a proxy which never registered is sought again, though its older record lapsed', () => {
  const bench = new Bench().withA();
  bench.gossip('t1', 21n, [{ id: A }, { id: B, incarnation: 5n as Incarnation }]);
  bench.up(2, 't2', 'b', 0n);
  bench.tell({ type: 'claimHeld', tunnel: 't2' as TunnelId, holder: 'a2' as AgentId });
  bench.gossip('t1', 31n, [{ id: A }]);
  bench.tell({ type: 'tunnelClosed', tunnel: 't2' as TunnelId, graceful: false, reason: 'reset' });
  assert.deepEqual(dials(bench.wait(1_000)), ['b']);
});

test('a second tunnel to a proxy already held is closed and counted as wasted', () => {
  const bench = new Bench().withA();
  bench.gossip('t1', 21n, [{ id: A }, { id: B }]);
  assert.deepEqual(bench.up(2, 't2', 'a'), [
    { type: 'closeTunnel', tunnel: 't2', reason: 'duplicate', deadline: undefined },
  ]);
  assert.equal(bench.core.status().wastedDialsTotal, 1);
});

test('a newer incarnation takes over when its claim is granted, and the older tunnel is closed', () => {
  const bench = new Bench().withA();
  bench.gossip('t1', 21n, [{ id: A }, { id: B }]);
  assert.deepEqual(bench.up(2, 't2', 'a', 9n), []);
  assert.deepEqual(bench.granted('t2'), [
    { type: 'closeTunnel', tunnel: 't1', reason: 'stale-incarnation', deadline: undefined },
  ]);
  assert.equal(bench.core.status().entries[0]?.tunnel, 't2');
});

test('a newcomer that our own older tunnel is held against goes, and the older tunnel stays', () => {
  const bench = new Bench().withA();
  bench.gossip('t1', 21n, [{ id: A }, { id: B }]);
  bench.up(2, 't2', 'a', 9n);
  const effects = bench.tell({ type: 'claimHeld', tunnel: 't2' as TunnelId, holder: 'a1' as AgentId });
  assert.deepEqual(
    effects.map((effect) => effect.type === 'closeTunnel' && effect.tunnel),
    ['t2'],
  );
  assert.equal(bench.core.status().entries[0]?.incarnation, 9n);
  assert.equal(bench.state('a'), 'claimed');
});

test('a proxy that takes tunnels and never answers the claim does not make the agent spin', () => {
  const bench = new Bench({}, 0.5);
  bench.done();
  let attempts = 1;
  for (let dial = 1; bench.now < 120_000;) {
    const open = bench.core.status().dialsInFlight > 0;
    const effects = open ? bench.up(dial, `t${dial}`, 'a') : bench.wait(100);
    if (open) dial += 1;
    for (const effect of effects) {
      if (effect.type === 'closeTunnel') {
        bench.tell({ type: 'tunnelClosed', tunnel: effect.tunnel, graceful: true, reason: 'claim-timeout' });
      }
    }
    attempts = bench.core.status().dialsTotal;
  }
  assert.ok(attempts <= 30, `${attempts} dials in two minutes`);
});

test('a proxy that closes before it answers the claim does not make the agent spin', () => {
  const bench = new Bench({}, 0.5);
  bench.done();
  for (let dial = 1; bench.now < 60_000;) {
    if (bench.core.status().dialsInFlight === 0) bench.wait(50);
    else {
      bench.up(dial, `t${dial}`, 'a');
      bench.tell({ type: 'tunnelClosed', tunnel: `t${dial}` as TunnelId, graceful: false, reason: '' });
      dial += 1;
    }
  }
  assert.ok(bench.core.status().dialsTotal <= 40, `${bench.core.status().dialsTotal} dials in a minute`);
});

test('hostile gossip is bounded: 50 messages of 4,096 proxies each leave no more than twice that many entries', () => {
  const bench = new Bench().withA();
  for (let round = 0; round < 50; round += 1) {
    const records = Array.from({ length: 4_095 }, (_, index) => ({
      id: `r${round}-${index}` as ProxyId,
      state: 'draining' as const,
    }));
    bench.gossip('t1', BigInt(100 + round), [{ id: A }, ...records]);
  }
  assert.ok(bench.core.status().entries.length <= 2 * 4_096 + 1);
});

test('what breaks the contract of the shell throws, and says what', () => {
  const bench = new Bench().withA();
  assert.throws(() => bench.up(7, 't9', 'a'), /dial 7 was never started/);
  assert.throws(() => bench.granted('t9'), /tunnel t9 was never established/);
  assert.throws(() => bench.up(1, 't1', 'a'), /tunnel t1 exists already/);
  bench.now = -1;
  assert.throws(() => bench.tell({ type: 'timeout' }), /time went backwards/);
});

test('moves that cannot happen throw, and say which', () => {
  assert.throws(() => assertMove(A, 'gone', 'claimed'), /pool entry a cannot go from gone to claimed/);
  assert.throws(() => assertMove(A, 'seeking', 'claimed'), /cannot go/);
  assert.doesNotThrow(() => assertMove(A, 'standby', 'claimed'));
});

for (const [what, overrides, message] of [
  ['no permits', { maxPermits: 0 }, /maxPermits/],
  ['a negative expiry', { expiryMs: -1 }, /expiryMs/],
  ['a backoff that shrinks', { backoffMinMs: 9_000 }, /backoffMaxMs/],
  ['a timeout that is not a number', { dialTimeoutMs: Number.NaN }, /dialTimeoutMs/],
] as const) {
  test(`refuses a configuration with ${what}`, () => {
    assert.throws(() => new Bench(overrides), message);
  });
}
