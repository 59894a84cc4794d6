import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { access, MAX_ANSWER_BYTES } from '@xylem/wire';
import { fitStatuses } from './answer-size.ts';

function tunnelOf(agent: number, nodes: number, entries: number): access.TunnelStatus {
  return {
    leaf: `leaf-${agent}`,
    agent: `agent-${agent}`,
    state: 'claimed',
    slot: 0,
    token: 1n << 50n,
    via: '',
    ageMs: 1_000n,
    openConnections: 0,
    nodes: Array.from({ length: nodes }, (_, n) => ({ name: `node-${n}`, ports: [22, 80] })),
    pool: {
      entries: Array.from({ length: entries }, (_, n) => ({
        proxy: `p${n}`,
        state: 'backoff',
        why: 'w'.repeat(128),
        via: '',
      })),
      dialsTotal: 0n,
      wastedDialsTotal: 0n,
    },
  };
}

function statusOf(id: string, tunnels: number, nodes: number, entries: number): access.ProxyStatus {
  return {
    proxy: { id, incarnation: 1n, state: 1, generation: 0 },
    answered: true,
    detail: '',
    tunnels: Array.from({ length: tunnels }, (_, agent) => tunnelOf(agent, nodes, entries)),
    openConnections: 0,
    registryConnected: true,
  };
}

function sizeOf(proxies: access.ProxyStatus[]): number {
  const stamp = { epoch: 1n, revision: 1n };
  return access.GetStatusResponse.encode({ answeredBy: 'p1', stamp, registryConnected: true, proxies }).finish().length;
}

test('an answer that fits is left as it is', () => {
  const statuses = [statusOf('p1', 3, 2, 4), statusOf('p2', 3, 2, 4)];
  assert.deepEqual(fitStatuses(statuses), statuses);
});

test('thousands of agents with long reports fit, and a small proxy loses nothing to a large one', () => {
  const small = statusOf('p2', 3, 2, 4);
  const fitted = fitStatuses([statusOf('p1', 200, 50, 1_000), small]);
  assert.ok(sizeOf(fitted) <= MAX_ANSWER_BYTES);
  assert.deepEqual(fitted[1], small);
  assert.equal(fitted[0]?.tunnels.length, 200, 'tunnels and nodes are more to the point than pools');
  assert.equal(fitted[0]?.tunnels[0]?.nodes.length, 50);
  assert.match(fitted[0]?.detail ?? '', /pools of its agents are left out/);
});

test('whatever there is, the answer fits', () => {
  const status = fc.record({
    tunnels: fc.nat(60),
    nodes: fc.nat(20),
    entries: fc.nat(20),
  });
  fc.assert(
    fc.property(fc.array(status, { maxLength: 5 }), fc.integer({ min: 5_000, max: 60_000 }), (all, budget) => {
      const statuses = all.map(({ tunnels, nodes, entries }, n) => statusOf(`p${n}`, tunnels, nodes, entries));
      assert.ok(sizeOf(fitStatuses(statuses, budget)) <= budget + 200 * (statuses.length + 1));
    }),
    { numRuns: 50 },
  );
});
