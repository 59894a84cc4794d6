import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AgentId, FencingToken, Incarnation, InstanceNonce, LeafId, ProxyId, TunnelId } from '../shared/ids.ts';
import { fixedRandom, seededRandom } from '../testing/random.ts';
import { defaultRootConfig } from './defaults.ts';
import { RootDiscovery } from './root-discovery.ts';
import { moveTunnel, type RootTunnel } from './tunnels.ts';
import type { RootConfig, RootEffect, RootEvent } from './types.ts';

class Bench {
  readonly core: RootDiscovery;
  now = 0;

  constructor(overrides: Partial<RootConfig> = {}) {
    this.core = new RootDiscovery({ ...defaultRootConfig('p' as ProxyId), ...overrides }, seededRandom(1), 0);
  }

  tell(event: RootEvent): RootEffect[] {
    this.core.handle(event, this.now);
    this.core.checkInvariants();
    return this.done();
  }

  done(): RootEffect[] {
    const all: RootEffect[] = [];
    for (let effect = this.core.pollEffect(); effect !== undefined; effect = this.core.pollEffect()) all.push(effect);
    return all;
  }

  wait(ms: number): RootEffect[] {
    const until = this.now + ms;
    const all: RootEffect[] = [];
    for (let due = this.core.nextTimeout(); due !== undefined && due <= until; due = this.core.nextTimeout()) {
      this.now = due;
      all.push(...this.tell({ type: 'timeout' }));
    }
    this.now = until;
    return all;
  }

  attach(
    tunnel: string,
    agent: string,
    nonce = `${agent}-1`,
    extra: { replaces?: string; via?: string } = {},
  ): RootEffect[] {
    return this.tell({
      type: 'attachRequested',
      tunnel: tunnel as TunnelId,
      leaf: 'berlin' as LeafId,
      agent: agent as AgentId,
      nonce: nonce as InstanceNonce,
      replaces: extra.replaces as TunnelId | undefined,
      via: extra.via as ProxyId | undefined,
    });
  }

  on(type: 'standbyRequested' | 'challengeAnswered' | 'agentDraining' | 'tunnelClosed', tunnel: string): RootEffect[] {
    return this.tell({ type, tunnel: tunnel as TunnelId });
  }

  states(): string {
    return this.core
      .status()
      .tunnels.map(({ tunnel, state }) => `${tunnel}=${state}`)
      .join(' ');
  }
}

function types(effects: readonly RootEffect[]): string[] {
  return effects.map((effect) => effect.type);
}

function closed(effects: readonly RootEffect[]): string[] {
  return effects.flatMap((effect) => (effect.type === 'closeTunnel' ? [`${effect.tunnel} ${effect.reason}`] : []));
}

test('a duplicate id is refused by a line that names agent and both instances', () => {
  const bench = new Bench();
  bench.attach('t1', 'a1', '0123456789abcdef');
  bench.attach('t2', 'a1', 'fedcba9876543210');
  const [refusal] = bench.on('challengeAnswered', 't1');
  assert.ok(refusal?.type === 'closeTunnel' && refusal.reason === 'duplicate-id');
  assert.match(refusal.detail, /berlin\/a1 .*01234567.*fedcba98/);
  assert.doesNotMatch(refusal.detail, /0123456789/);
});

test('an agent never holds two slots of one proxy', () => {
  const bench = new Bench({ claimsPerProxy: 2 });
  bench.attach('t1', 'a1');
  bench.attach('t2', 'a1');
  assert.deepEqual(types(bench.on('challengeAnswered', 't1')), ['reportHeld']);
  assert.deepEqual(bench.on('standbyRequested', 't2'), []);
  assert.deepEqual(types(bench.attach('t3', 'a2')), ['grantClaim']);
  assert.equal(bench.states(), 't1=provisional t2=standby t3=provisional');
  bench.on('tunnelClosed', 't3');
  assert.equal(bench.states(), 't1=provisional t2=standby');
  bench.on('tunnelClosed', 't1');
  assert.equal(bench.states(), 't2=provisional');
});

test('claimsPerProxy agents are active at once, the next one is told who holds', () => {
  const bench = new Bench({ claimsPerProxy: 2 });
  bench.attach('t1', 'a1');
  bench.attach('t2', 'a2');
  assert.deepEqual(bench.attach('t3', 'a3').at(-1), { type: 'reportHeld', tunnel: 't3', holder: 'a1' });
});

test('a tunnel whose instance comes back by another one is closed when it is silent, and its slot stays with the agent', () => {
  const bench = new Bench();
  bench.attach('t1', 'a1');
  bench.attach('t2', 'a2');
  bench.on('standbyRequested', 't2');
  bench.attach('t3', 'a1');
  const effects = bench.wait(1_000);
  assert.deepEqual(closed(effects), ['t1 replaced']);
  assert.equal(bench.states(), 't2=standby t3=provisional');
});

test('a challenged tunnel that closes by itself settles the challenge at once', () => {
  const bench = new Bench();
  bench.attach('t1', 'a1');
  bench.attach('t2', 'a1', 'a1-2');
  assert.deepEqual(types(bench.on('tunnelClosed', 't1')), ['grantClaim']);
});

test('a relayed tunnel does not replace one that lives', () => {
  const bench = new Bench();
  bench.attach('t1', 'a1');
  assert.deepEqual(types(bench.attach('t2', 'a1', 'a1-1', { replaces: 't1', via: 'q' })), ['challengeTunnel']);
  assert.deepEqual(types(bench.on('challengeAnswered', 't1')), ['reportHeld']);
});

test('another instance cannot replace a tunnel that is not its own', () => {
  const bench = new Bench();
  bench.attach('t1', 'a1');
  assert.deepEqual(types(bench.attach('t2', 'a1', 'other', { replaces: 't1' })), ['challengeTunnel']);
  assert.deepEqual(types(bench.attach('t3', 'a2', 'a2-1', { replaces: 't1' })), ['reportHeld']);
});

test('a replaced tunnel may finish, but not for ever', () => {
  const bench = new Bench({ lingerMs: 5_000 });
  bench.attach('t1', 'a1');
  bench.attach('t2', 'a1', 'a1-1', { replaces: 't1' });
  assert.equal(bench.states(), 't1=draining t2=provisional');
  assert.deepEqual(closed(bench.wait(4_999)), []);
  assert.deepEqual(closed(bench.wait(1)), ['t1 replaced']);
});

test('at most four newcomers wait for one challenge', () => {
  const bench = new Bench();
  bench.attach('t0', 'a1');
  for (let index = 1; index <= 4; index += 1)
    assert.deepEqual(closed(bench.attach(`t${index}`, 'a1', `n${index}`)), []);
  assert.deepEqual(closed(bench.attach('t5', 'a1', 'n5')), ['t5 overloaded']);
});

test('whoever neither stands by nor closes is closed, and standbys beyond the bound are unwanted', () => {
  const bench = new Bench({ maxStandbysPerLeaf: 1 });
  for (const name of ['a1', 'a2', 'a3', 'a4']) bench.attach(`t-${name}`, name);
  bench.on('standbyRequested', 't-a2');
  assert.deepEqual(closed(bench.on('standbyRequested', 't-a3')), ['t-a3 standby-unwanted']);
  assert.deepEqual(closed(bench.wait(10_000)), ['t-a4 standby-unwanted']);
  assert.equal(bench.states(), 't-a1=provisional t-a2=standby');
});

test('a standby that asks after the slot became free gets it', () => {
  const bench = new Bench();
  bench.attach('t1', 'a1');
  bench.attach('t2', 'a2');
  bench.on('tunnelClosed', 't1');
  assert.deepEqual(types(bench.on('standbyRequested', 't2')), ['grantClaim']);
});

test('what a registry answers too late, twice or to nobody changes nothing', () => {
  const bench = new Bench();
  bench.tell({ type: 'registryConnected', incarnation: 7n as Incarnation });
  bench.attach('t1', 'a1');
  const token = 50n as FencingToken;
  assert.deepEqual(types(bench.tell({ type: 'claimRecorded', request: 1, token })), ['confirmClaim']);
  for (const event of [
    { type: 'claimRecorded', request: 1, token },
    { type: 'claimRecorded', request: 99, token },
    { type: 'claimReleased', request: 1 },
    { type: 'releaseUnknown', request: 1 },
    { type: 'claimUnknown', request: 1 },
    { type: 'claimRefused', request: 1, cause: 'held' },
  ] as const satisfies readonly RootEvent[]) {
    assert.deepEqual(bench.tell(event), [], event.type);
  }
  assert.equal(bench.core.status().unrecorded, 0);
});

test('a record of an older incarnation is waited out, not taken for a rival', () => {
  const bench = new Bench();
  bench.tell({ type: 'registryConnected', incarnation: 7n as Incarnation });
  bench.attach('t1', 'a1');
  const holder = { agent: 'a9' as AgentId, nonce: 'x', incarnation: 3n as Incarnation, token: 4n as FencingToken };
  assert.deepEqual(bench.tell({ type: 'claimRefused', request: 1, cause: 'held', holder }), []);
  assert.deepEqual(types(bench.wait(250)), ['recordClaim']);
  const [lost] = bench.tell({
    type: 'claimRefused',
    request: 2,
    cause: 'held',
    holder: { ...holder, incarnation: 8n as Incarnation },
  });
  assert.ok(lost?.type === 'closeTunnel' && lost.reason === 'claim-lost' && lost.detail.includes('a9'));
});

test('a record of our incarnation that no grant of ours made is released by its token; the holder keeps the slot', () => {
  const bench = new Bench();
  bench.tell({ type: 'registryConnected', incarnation: 7n as Incarnation });
  bench.attach('t1', 'a1');
  const holder = { agent: 'a9' as AgentId, nonce: 'x', incarnation: 7n as Incarnation, token: 9n as FencingToken };
  const [release] = bench.tell({ type: 'claimRefused', request: 1, cause: 'held', holder });
  assert.ok(release?.type === 'releaseClaim' && release.token === 9n);
  assert.deepEqual(types(bench.tell({ type: 'claimReleased', request: release.request })), ['recordClaim']);
  assert.deepEqual(types(bench.tell({ type: 'claimRecorded', request: 3, token: 11n as FencingToken })), [
    'confirmClaim',
  ]);
  assert.equal(bench.states(), 't1=claimed');
});

test('a record that the view lacks is written again, one that no slot wants is released', () => {
  const bench = new Bench();
  bench.tell({ type: 'registryConnected', incarnation: 7n as Incarnation });
  bench.attach('t1', 'a1');
  bench.tell({ type: 'claimRecorded', request: 1, token: 50n as FencingToken });
  const observed = { type: 'claimsObserved', removed: [], complete: true } as const;
  const at = (revision: bigint) => ({ epoch: 1n, revision });
  assert.deepEqual(
    bench.tell({ ...observed, stamp: at(49n), claims: [] }),
    [],
    'a view from before the write proves nothing',
  );
  assert.deepEqual(types(bench.tell({ ...observed, stamp: at(51n), claims: [] })), ['recordClaim']);
  assert.equal(bench.states(), 't1=provisional');
  const key = { leaf: 'oslo' as LeafId, proxy: 'p' as ProxyId, slot: 0 };
  const orphan = {
    ...key,
    agent: 'a1' as AgentId,
    nonce: 'old',
    incarnation: 7n as Incarnation,
    token: 40n as FencingToken,
  };
  assert.deepEqual(bench.tell({ ...observed, complete: false, stamp: at(52n), claims: [orphan] }), [
    { type: 'releaseClaim', request: 3, leaf: 'oslo', slot: 0, token: 40n },
  ]);
  const foreign = { ...orphan, proxy: 'q' as ProxyId, leaf: 'bonn' as LeafId };
  assert.deepEqual(bench.tell({ ...observed, complete: false, stamp: at(53n), claims: [foreign] }), []);
});

test('a thousand claims are recorded through a bounded number of requests at once', () => {
  const bench = new Bench();
  for (let index = 0; index < 1_000; index += 1) {
    bench.tell({
      type: 'attachRequested',
      tunnel: `t${index}` as TunnelId,
      leaf: `l${index}` as LeafId,
      agent: 'a1' as AgentId,
      nonce: 'n' as InstanceNonce,
      replaces: undefined,
    });
  }
  const requests = bench.tell({ type: 'registryConnected', incarnation: 7n as Incarnation });
  assert.equal(requests.length, 64);
  let token = 100n;
  while (requests.length > 0) {
    const request = requests.shift();
    assert.ok(request?.type === 'recordClaim');
    token += 1n;
    const effects = bench.tell({ type: 'claimRecorded', request: request.request, token: token as FencingToken });
    requests.push(...effects.filter((effect) => effect.type === 'recordClaim'));
    assert.ok(requests.length <= 64);
  }
  assert.equal(bench.core.status().unrecorded, 0);
  assert.ok(bench.core.status().tunnels.every(({ state }) => state === 'claimed'));
});

test('no two grants ever share a nonce, in one process or two', () => {
  const nonces = new Set<string>();
  for (const seed of [1, 2, 3]) {
    const core = new RootDiscovery(defaultRootConfig('p' as ProxyId), seededRandom(seed), 0);
    core.handle({ type: 'registryConnected', incarnation: 7n as Incarnation }, 0);
    for (let index = 0; index < 50; index += 1) {
      const names = { leaf: `l${index}` as LeafId, agent: 'a' as AgentId, nonce: 'n' as InstanceNonce };
      core.handle({ type: 'attachRequested', tunnel: `t${index}` as TunnelId, ...names, replaces: undefined }, 0);
    }
    for (let effect = core.pollEffect(); effect !== undefined; effect = core.pollEffect()) {
      if (effect.type === 'recordClaim') nonces.add(effect.nonce);
    }
  }
  assert.equal(nonces.size, 150);
});

test('10,000 tunnels are told of a change, each once, without the machine slowing down', () => {
  const core = new RootDiscovery(defaultRootConfig('p' as ProxyId), seededRandom(1), 0);
  const record = { id: 'p' as ProxyId, incarnation: 7n as Incarnation, state: 'ready' as const, generation: 0 };
  const started = performance.now();
  for (let index = 0; index < 10_000; index += 1) {
    const names = { leaf: `l${index}` as LeafId, agent: 'a' as AgentId, nonce: 'n' as InstanceNonce };
    core.handle({ type: 'attachRequested', tunnel: `t${index}` as TunnelId, ...names, replaces: undefined }, index);
    core.nextTimeout();
  }
  while (core.pollEffect() !== undefined);
  core.handle(
    {
      type: 'membershipChanged',
      snapshot: { kind: 'snapshot', stamp: { epoch: 1n, revision: 9n }, proxies: [record] },
    },
    10_000,
  );
  let gossip = 0;
  for (let effect = core.pollEffect(); effect !== undefined; effect = core.pollEffect())
    if (effect.type === 'sendGossip') gossip += 1;
  assert.equal(gossip, 10_000);
  assert.ok(performance.now() - started < 5_000);
});

test('gossip carries what was signed about it, the newest statement of the same list', () => {
  const bench = new Bench();
  bench.attach('t1', 'a1');
  const record = { id: 'p' as ProxyId, incarnation: 7n as Incarnation, state: 'ready', generation: 0 } as const;
  const told = (revision: bigint, statement: string, proxies = [record]) =>
    bench.tell({
      type: 'membershipChanged',
      snapshot: { kind: 'snapshot', stamp: { epoch: 1n, revision }, proxies, statement },
    });
  const signed = (effects: readonly RootEffect[]) =>
    effects.flatMap((effect) =>
      effect.type === 'sendGossip' ? [`${effect.message.kind} ${effect.message.statement}`] : [],
    );
  assert.deepEqual(signed(told(9n, 'first')), ['snapshot first']);
  assert.deepEqual(signed(told(9n, 'renewed')), [], 'nobody has to hear of it at once');
  assert.deepEqual(signed(told(9n, 'of another list', [])), [], 'not of this stamp');
  assert.deepEqual(signed(bench.wait(20_000))[0], 'snapshot renewed');
  assert.deepEqual(signed(told(10n, 'next')), ['delta next']);
  assert.deepEqual(signed(told(8n, 'late')), []);
});

test('what breaks the contract of the shell throws, and says what', () => {
  const bench = new Bench();
  bench.attach('t1', 'a1');
  assert.throws(() => bench.attach('t1', 'a1'), /tunnel t1 is attached already/);
  assert.throws(() => bench.on('tunnelClosed', 't9'), /tunnel t9 was never attached/);
});

test('moves that cannot happen throw, and say which', () => {
  const names = { leaf: 'l' as LeafId, agent: 'a' as AgentId, nonce: 'n' as InstanceNonce };
  const tunnel: RootTunnel = {
    id: 't1' as TunnelId,
    ...names,
    via: undefined,
    phase: { kind: 'closing' },
    sent: undefined,
  };
  assert.throws(() => moveTunnel(tunnel, { kind: 'claimed', slot: 0 }), /tunnel t1 cannot go from closing to claimed/);
});

for (const [what, overrides, message] of [
  ['no slots', { claimsPerProxy: 0 }, /claimsPerProxy/],
  ['half a slot', { claimsPerProxy: 1.5 }, /claimsPerProxy/],
  ['a negative interval', { gossipIntervalMs: -1 }, /gossipIntervalMs/],
] as const) {
  test(`refuses a configuration with ${what}`, () => {
    assert.throws(
      () => new RootDiscovery({ ...defaultRootConfig('p' as ProxyId), ...overrides }, fixedRandom(0), 0),
      message,
    );
  });
}
