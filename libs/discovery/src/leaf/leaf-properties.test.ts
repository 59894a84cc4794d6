import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { GossipMessage, ProxyRecord } from '../shared/gossip.ts';
import type { AgentId, DialId, FencingToken, Incarnation, LeafId, ProxyId, TunnelId } from '../shared/ids.ts';
import { seededRandom } from '../testing/random.ts';
import { defaultLeafConfig } from './defaults.ts';
import { LeafDiscovery } from './leaf-discovery.ts';
import type { DialFailure, LeafEffect, LeafEvent } from './types.ts';

/** One step of a shell that keeps its contract, with peers and a balancer that keep none. */
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
    value: fc.nat(9_999),
    waitMs: fc.oneof(fc.constant(0), fc.nat(20), fc.nat(3_000), fc.nat(70_000)),
  }),
  { maxLength: 120, size: 'max' },
);

const FAILURES: readonly DialFailure[] = ['unreachable', 'timeout', 'handshake', 'refused', 'already-claimed', 'lost'];
const CLOSE_REASONS = ['', 'standby-unwanted', 'draining', 'replaced', 'drain-deadline'];

class WildShell {
  readonly core: LeafDiscovery;
  readonly dials = new Map<DialId, { target: ProxyId | undefined; deadline: number }>();
  readonly tunnels = new Set<TunnelId>();
  readonly closing = new Set<TunnelId>();
  now = 0;
  #tunnelCount = 0;
  #left = false;

  constructor(seed: number, steering: 'sni' | 'off') {
    const config = { ...defaultLeafConfig('l' as LeafId, 'a1' as AgentId), steering, maxPermits: 3, standbys: 2 };
    this.core = new LeafDiscovery(config, seededRandom(seed), 0);
    this.drain();
  }

  tell(event: LeafEvent): void {
    this.core.handle(event, this.now);
    this.drain();
  }

  drain(): void {
    for (let effect = this.core.pollEffect(); effect !== undefined; effect = this.core.pollEffect())
      this.#perform(effect);
  }

  #perform(effect: LeafEffect): void {
    switch (effect.type) {
      case 'dial':
        assert.ok(!this.#left, 'no dial after leaving');
        assert.ok(!this.dials.has(effect.dial));
        this.#checkTarget(effect.target);
        this.dials.set(effect.dial, { target: effect.target, deadline: effect.deadline });
        return;
      case 'cancelDial':
        return;
      case 'requestStandby':
      case 'requestSnapshot':
      case 'showEvidence':
        assert.ok(this.tunnels.has(effect.tunnel) && !this.closing.has(effect.tunnel));
        return;
      case 'closeTunnel':
        assert.ok(this.tunnels.has(effect.tunnel), 'closes a tunnel that is open');
        assert.ok(!this.closing.has(effect.tunnel), 'closes a tunnel once');
        this.closing.add(effect.tunnel);
    }
  }

  #checkTarget(target: ProxyId | undefined): void {
    if (target === undefined) return;
    const entry = this.core.status().entries.find(({ proxy }) => proxy === target);
    assert.ok(entry !== undefined && entry.state !== 'gone', `dial to ${target}, which is ${entry?.state}`);
  }

  /** Time passes; whatever becomes due happens at its instant, dials' deadlines included. */
  wait(ms: number): void {
    const until = this.now + ms;
    for (let rounds = 0; ; rounds += 1) {
      assert.ok(rounds < 5_000, 'spins without time passing');
      const overdue = [...this.dials].find(([, { deadline }]) => deadline <= until);
      const due = Math.min(this.core.nextTimeout() ?? Infinity, overdue?.[1].deadline ?? Infinity);
      if (due > until) break;
      this.now = Math.max(this.now, due);
      if (overdue !== undefined && overdue[1].deadline <= this.now) this.answer(overdue[0], 'timeout');
      else this.tell({ type: 'timeout' });
    }
    this.now = until;
  }

  answer(dial: DialId, reason: DialFailure, retryAfterMs = 0): void {
    this.dials.delete(dial);
    this.tell({ type: 'dialFailed', dial, reason, retryAfterMs });
  }

  step({ kind, pick, value, waitMs }: Step): void {
    this.wait(waitMs);
    const dial = [...this.dials.keys()][pick % Math.max(1, this.dials.size)];
    const tunnel = [...this.tunnels][pick % Math.max(1, this.tunnels.size)];
    if (kind < 30) this.#establish(dial, value);
    else if (kind < 40 && dial !== undefined)
      this.answer(dial, FAILURES[value % FAILURES.length] ?? 'lost', value % 7 === 0 ? value : 0);
    else if (tunnel !== undefined) this.#tunnelStep(kind, tunnel, value);
    this.check();
  }

  #establish(dial: DialId | undefined, value: number): void {
    if (dial === undefined) return;
    const target = this.dials.get(dial)?.target;
    this.dials.delete(dial);
    this.#tunnelCount += 1;
    const tunnel = `t${this.#tunnelCount}` as TunnelId;
    const proxy = value % 3 > 0 && target !== undefined ? target : proxyName(value);
    this.tunnels.add(tunnel);
    const via = value % 5 === 0 ? proxyName(value + 1) : undefined;
    this.tell({ type: 'tunnelEstablished', dial, tunnel, proxy, incarnation: BigInt(value % 40) as Incarnation, via });
  }

  #tunnelStep(kind: number, tunnel: TunnelId, value: number): void {
    if (kind < 55) this.tell({ type: 'claimGranted', tunnel, slot: 0 });
    else if (kind < 62) this.tell({ type: 'claimHeld', tunnel, holder: (value % 4 === 0 ? 'a1' : 'a2') as AgentId });
    else if (kind < 66) {
      const incarnation = BigInt(value % 60) as Incarnation;
      this.tell({ type: 'claimRecorded', tunnel, token: BigInt(value) as FencingToken, incarnation });
    } else if (kind < 84) this.tell({ type: 'gossipReceived', tunnel, message: gossip(value) });
    else if (kind < 88) this.tell({ type: 'drainAnnounced', tunnel, spreadMs: value, deadlineMs: value * 3 });
    else {
      this.tunnels.delete(tunnel);
      this.closing.delete(tunnel);
      const reason = CLOSE_REASONS[value % CLOSE_REASONS.length] ?? '';
      this.tell({ type: 'tunnelClosed', tunnel, graceful: reason !== '', reason });
    }
  }

  leave(): void {
    this.tell({ type: 'leaveRequested', deadlineMs: 1_000 });
    this.#left = true;
    assert.equal(this.closing.size, this.tunnels.size, 'every tunnel is closed on leaving');
  }

  check(): void {
    const status = this.core.status();
    assert.equal(status.dialsInFlight, this.dials.size, 'permits in use are dials in flight');
    assert.ok(status.dialsInFlight <= 3, 'permits bound what is in flight');
    const due = status.dialsInFlight > 0 || (status.nextDialAt !== undefined && status.nextDialAt - this.now <= 8_000);
    if (status.wanted > 0)
      assert.ok(
        due,
        `${status.wanted} wanted but no dial is due: ${JSON.stringify(status.entries.map((e) => [e.proxy, e.state, e.why]))}`,
      );
    if (this.tunnels.size === this.closing.size) assert.ok(due, 'no connection and no probe due');
    if (status.dialsInFlight === 0 && status.nextDialAt !== undefined) {
      assert.ok(
        (this.core.nextTimeout() ?? Infinity) <= Math.max(status.nextDialAt, this.now),
        'a due dial has its timeout',
      );
    }
    const shown = status.entries.flatMap(({ tunnel }) => (tunnel === undefined ? [] : [tunnel]));
    for (const tunnel of shown)
      assert.ok(this.tunnels.has(tunnel) && !this.closing.has(tunnel), 'shows open tunnels only');
  }
}

function proxyName(value: number): ProxyId {
  return `p${value % 6}` as ProxyId;
}

/** Gossip in any order: the value decides stamp and members. */
function gossip(value: number): GossipMessage {
  const revision = BigInt(1 + (value % 37));
  const stamp = { epoch: BigInt(1 + Math.floor(value / 5_000)), revision };
  const proxies: ProxyRecord[] = [];
  for (let index = 0; index < 6; index += 1) {
    if (((value >> index) & 1) === 0) continue;
    const state = (value + index) % 5 === 0 ? 'draining' : 'ready';
    proxies.push({
      id: proxyName(index),
      incarnation: BigInt((value + index) % 30) as Incarnation,
      state,
      generation: index % 2,
    });
  }
  if (value % 6 > 0) return { kind: 'snapshot', stamp, proxies };
  const from = { ...stamp, revision: revision - 1n };
  return { kind: 'delta', from, to: stamp, changed: proxies.slice(0, 2), removed: [proxyName(value)] };
}

for (const steering of ['sni', 'off'] as const) {
  test(`whatever peers do (${steering}): permits never leak, wanted means a dial is due, tunnels close once`, () => {
    fc.assert(
      fc.property(fc.nat(), steps, (seed, script) => {
        const shell = new WildShell(seed, steering);
        shell.check();
        for (const step of script) shell.step(step);
      }),
      { numRuns: 300 },
    );
  });
}

test('leaving closes everything and starts nothing, whatever went before', () => {
  fc.assert(
    fc.property(fc.nat(), steps, steps, (seed, before, after) => {
      const shell = new WildShell(seed, 'sni');
      for (const step of before) shell.step(step);
      shell.leave();
      for (const tunnel of [...shell.tunnels]) {
        shell.tunnels.delete(tunnel);
        shell.tell({ type: 'tunnelClosed', tunnel, graceful: true, reason: 'leaving' });
      }
      for (const { waitMs } of after) shell.wait(waitMs);
      shell.wait(15_000);
      assert.equal(shell.core.nextTimeout(), undefined);
      assert.equal(shell.core.status().nextDialAt, undefined);
    }),
    { numRuns: 100 },
  );
});
