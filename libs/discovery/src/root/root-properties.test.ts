import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { AgentId, FencingToken, Incarnation, InstanceNonce, LeafId, ProxyId, TunnelId } from '../shared/ids.ts';
import { seededRandom } from '../testing/random.ts';
import { defaultRootConfig } from './defaults.ts';
import { RootDiscovery } from './root-discovery.ts';
import type { ClaimRecord, RootEffect, RootEvent } from './types.ts';

interface Step {
  readonly kind: number;
  readonly pick: number;
  readonly value: number;
  readonly waitMs: number;
}

const steps = fc.array(
  fc.record({
    kind: fc.nat(99),
    pick: fc.nat(999),
    value: fc.nat(999),
    waitMs: fc.oneof(fc.constant(0), fc.nat(20), fc.nat(2_000), fc.nat(20_000)),
  }),
  { maxLength: 120, size: 'max' },
);

type Request = Extract<RootEffect, { type: 'recordClaim' | 'releaseClaim' }>;

/** etcd and a registry that may lose answers, apply late and forget sessions. */
class StoreModel {
  readonly claims = new Map<string, ClaimRecord>();
  revision = 100n;
  incarnation = 0n as Incarnation;

  register(): Incarnation {
    this.revision += 1n;
    this.incarnation = this.revision as Incarnation;
    this.claims.clear();
    return this.incarnation;
  }

  apply(request: Request): RootEvent {
    const key = `${request.leaf}/${request.slot}`;
    const record = this.claims.get(key);
    if (request.type === 'releaseClaim') {
      if (record?.token === request.token) this.claims.delete(key);
      return { type: 'claimReleased', request: request.request };
    }
    if (record !== undefined && record.nonce !== request.nonce) {
      return { type: 'claimRefused', request: request.request, cause: 'held', holder: record };
    }
    if (record !== undefined) return { type: 'claimRecorded', request: request.request, token: record.token };
    this.revision += 1n;
    const token = this.revision as FencingToken;
    this.claims.set(key, { agent: request.agent, nonce: request.nonce, incarnation: this.incarnation, token });
    return { type: 'claimRecorded', request: request.request, token };
  }
}

interface Tunnel {
  readonly leaf: string;
  readonly agent: string;
  readonly nonce: string;
}

class WildShell {
  readonly store = new StoreModel();
  readonly core: RootDiscovery;
  readonly tunnels = new Map<TunnelId, Tunnel>();
  readonly told = new Set<TunnelId>();
  readonly pending: Request[] = [];
  /** Answers under way when the session broke. */
  readonly late: RootEvent[] = [];
  /** Our own view of S1: who was granted which slot and has not lost it. */
  readonly active = new Map<string, TunnelId>();
  connected = false;
  now = 0;
  #count = 0;

  constructor(seed: number, claimsPerProxy: number) {
    const config = { ...defaultRootConfig('p' as ProxyId), claimsPerProxy, maxStandbysPerLeaf: 2 };
    this.core = new RootDiscovery(config, seededRandom(seed), 0);
  }

  tell(event: RootEvent): void {
    this.core.handle(event, this.now);
    for (let effect = this.core.pollEffect(); effect !== undefined; effect = this.core.pollEffect())
      this.#perform(effect);
    this.core.checkInvariants();
  }

  #retire(tunnel: TunnelId): void {
    for (const [slot, holder] of this.active) if (holder === tunnel) this.active.delete(slot);
  }

  #perform(effect: RootEffect): void {
    if ('tunnel' in effect) assert.ok(this.tunnels.has(effect.tunnel), `${effect.type} for a closed tunnel`);
    switch (effect.type) {
      case 'grantClaim':
        return this.#granted(effect.tunnel, effect.slot);
      case 'confirmClaim': {
        const { leaf } = this.tunnels.get(effect.tunnel) ?? { leaf: '' };
        const record = this.store.claims.get(`${leaf}/${effect.slot}`);
        assert.equal(this.active.get(`${leaf}/${effect.slot}`), effect.tunnel, 'confirms the holder');
        assert.equal(record?.token, effect.token, 'confirms what etcd has');
        return;
      }
      case 'closeTunnel':
        assert.ok(!this.told.has(effect.tunnel), 'closes a tunnel once');
        this.told.add(effect.tunnel);
        return this.#retire(effect.tunnel);
      case 'releaseClaim': {
        const status = this.core
          .status()
          .tunnels.find(({ leaf, slot }) => leaf === effect.leaf && slot === effect.slot);
        assert.notEqual(status?.token, effect.token, 'a release never names the token of the present holder');
        this.pending.push(effect);
        return;
      }
      case 'recordClaim':
        assert.ok(this.connected, 'records over a session only');
        this.pending.push(effect);
        return;
      default:
        return;
    }
  }

  #granted(id: TunnelId, slot: number): void {
    const tunnel = this.tunnels.get(id);
    const key = `${tunnel?.leaf}/${slot}`;
    const holder = this.active.get(key);
    const before = holder === undefined ? undefined : this.tunnels.get(holder);
    const names = [tunnel?.leaf as LeafId, tunnel?.agent as AgentId] as const;
    assert.equal(this.core.serving(...names, this.now).heldMs, 0, `${id} is granted ${key} while it is held down`);
    const moves = before !== undefined && before.agent === tunnel?.agent && before.nonce === tunnel.nonce;
    assert.ok(holder === undefined || moves, `S1: ${id} is granted ${key}, which ${holder} holds`);
    this.active.set(key, id);
  }

  wait(ms: number): void {
    const until = this.now + ms;
    for (let rounds = 0; ; rounds += 1) {
      assert.ok(rounds < 5_000, 'spins without time passing');
      const due = this.core.nextTimeout();
      if (due === undefined || due > until) break;
      this.now = Math.max(this.now, due);
      this.tell({ type: 'timeout' });
    }
    this.now = until;
  }

  step({ kind, pick, value, waitMs }: Step): void {
    this.wait(waitMs);
    const tunnel = [...this.tunnels.keys()][pick % Math.max(1, this.tunnels.size)];
    if (kind < 20) this.#attach(pick, value);
    else if (kind < 45) this.#answer(pick, value);
    else if (kind < 50) this.#registry(value);
    else if (kind < 52 && this.connected) this.observe();
    else if (kind < 55 && this.late.length > 0)
      this.tell(this.late.splice(pick % this.late.length, 1)[0] ?? { type: 'timeout' });
    else if (tunnel !== undefined) this.#tunnelStep(kind, tunnel);
  }

  #attach(pick: number, value: number): void {
    this.#count += 1;
    const id = `t${String(this.#count).padStart(3, '0')}` as TunnelId;
    const leaf = value % 3 === 0 ? 'm' : 'l';
    const agent = `a${value % 4}`;
    const nonce = `${agent}-${pick % 2}`;
    const own = [...this.tunnels].filter(
      ([, other]) => other.leaf === leaf && other.agent === agent && other.nonce === nonce,
    );
    const replaces = pick % 3 === 0 ? own[0]?.[0] : undefined;
    this.tunnels.set(id, { leaf, agent, nonce });
    const via = pick % 7 === 0 ? ('q' as ProxyId) : undefined;
    const names = { leaf: leaf as LeafId, agent: agent as AgentId, nonce: nonce as InstanceNonce };
    this.tell({ type: 'attachRequested', tunnel: id, ...names, replaces, via });
  }

  /** A registry answers: truly, not at all, or not at all after having acted. */
  #answer(pick: number, value: number): void {
    if (!this.connected || this.pending.length === 0) return;
    const [request] = this.pending.splice(pick % this.pending.length, 1);
    if (request === undefined) return;
    const lost = value % 5 === 0;
    const answer = lost && value % 2 === 0 ? undefined : this.store.apply(request);
    const unknown = request.type === 'recordClaim' ? ('claimUnknown' as const) : ('releaseUnknown' as const);
    this.tell(lost || answer === undefined ? { type: unknown, request: request.request } : answer);
  }

  #registry(value: number): void {
    if (this.connected) {
      this.connected = false;
      for (const request of this.pending.splice(0)) if (value % 2 === 0) this.late.push(this.store.apply(request));
      return this.tell({ type: 'registryLost' });
    }
    this.connect(value % 3 === 0);
  }

  /** The session's view arrives: everything etcd has of our claims. */
  observe(): void {
    const claims = [...this.store.claims].map(([key, record]) => {
      const [leaf = '', slot = ''] = key.split('/');
      return { leaf: leaf as LeafId, proxy: 'p' as ProxyId, slot: Number(slot), ...record };
    });
    const stamp = { epoch: 1n, revision: this.store.revision };
    this.tell({ type: 'claimsObserved', stamp, claims, removed: [], complete: true });
  }

  connect(anew: boolean): void {
    this.connected = true;
    const incarnation = anew || this.store.incarnation === 0n ? this.store.register() : this.store.incarnation;
    this.tell({ type: 'registryConnected', incarnation });
  }

  #tunnelStep(kind: number, tunnel: TunnelId): void {
    if (kind < 65) this.tell({ type: 'standbyRequested', tunnel });
    else if (kind < 72) this.tell({ type: 'challengeAnswered', tunnel });
    else if (kind < 76) {
      this.#retire(tunnel);
      this.tell({ type: 'agentDraining', tunnel });
    } else if (kind < 78) this.tell({ type: 'snapshotRequested', tunnel });
    else if (kind < 82) this.tell({ type: 'claimUnserved', tunnel, detail: 'no answer' });
    else this.close(tunnel);
  }

  close(tunnel: TunnelId): void {
    this.#retire(tunnel);
    this.core.handle({ type: 'tunnelClosed', tunnel }, this.now);
    this.tunnels.delete(tunnel);
    this.told.delete(tunnel);
    for (let effect = this.core.pollEffect(); effect !== undefined; effect = this.core.pollEffect())
      this.#perform(effect);
    this.core.checkInvariants();
  }

  /** Everything works again: what etcd has must come to equal the slots. */
  heal(): void {
    if (!this.connected) this.connect(false);
    for (
      let round = 0;
      round < 400 && (round < 3 || this.pending.length > 0 || this.core.status().unrecorded > 0);
      round += 1
    ) {
      for (const request of this.pending.splice(0)) this.tell(this.store.apply(request));
      this.wait(500);
      this.observe();
    }
    const held = this.core
      .status()
      .tunnels.flatMap(({ leaf, slot, agent, token }) =>
        slot === undefined ? [] : [`${leaf}/${slot} ${agent} ${token}`],
      );
    const recorded = [...this.store.claims].map(([key, { agent, token }]) => `${key} ${agent} ${token}`);
    assert.deepEqual(recorded.sort(), held.sort(), 'etcd has exactly the claims that the slots have');
    assert.equal(this.core.status().unrecorded, 0);
  }
}

for (const claimsPerProxy of [1, 2]) {
  test(`whatever agents and registries do, with ${claimsPerProxy} slots: S1 holds, releases hurt nobody, etcd converges`, () => {
    fc.assert(
      fc.property(fc.nat(), steps, (seed, script) => {
        const shell = new WildShell(seed, claimsPerProxy);
        for (const step of script) shell.step(step);
        shell.heal();
      }),
      { numRuns: 300 },
    );
  });
}

test('a drain ends in exactly one `drained`, by the deadline, whatever agents do', () => {
  fc.assert(
    fc.property(fc.nat(), steps, steps, (seed, before, after) => {
      const shell = new WildShell(seed, 1);
      for (const step of before) shell.step(step);
      let drained = 0;
      const start = shell.now;
      shell.core.handle({ type: 'drainRequested', spreadMs: 100, deadlineMs: 5_000 }, shell.now);
      const count = (): void => {
        for (let effect = shell.core.pollEffect(); effect !== undefined; effect = shell.core.pollEffect()) {
          if (effect.type === 'drained') drained += 1;
          assert.notEqual(effect.type, 'grantClaim', 'no grant while draining');
        }
      };
      count();
      for (const { kind, pick } of after) {
        const tunnel = [...shell.tunnels.keys()][pick % Math.max(1, shell.tunnels.size)];
        if (tunnel === undefined) break;
        const event: RootEvent = kind < 50 ? { type: 'tunnelClosed', tunnel } : { type: 'standbyRequested', tunnel };
        shell.core.handle(event, shell.now);
        if (kind < 50) shell.tunnels.delete(tunnel);
        count();
      }
      for (
        let due = shell.core.nextTimeout();
        due !== undefined && due <= start + 5_000;
        due = shell.core.nextTimeout()
      ) {
        shell.core.handle({ type: 'timeout' }, due);
        count();
      }
      assert.equal(drained, 1);
    }),
    { numRuns: 150 },
  );
});
