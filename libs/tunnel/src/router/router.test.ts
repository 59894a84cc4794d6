import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import fc from 'fast-check';
import { DialRouter } from './router.ts';
import { DEFAULT_ROUTER_CONFIG } from './types.ts';
import type { RouterEffect, RouterEvent } from './types.ts';

type DialRequested = Extract<RouterEvent, { type: 'dialRequested' }>;

const NODES = [
  { name: 'web', ports: [80] },
  { name: 'db', ports: [5432, 5433] },
];

describe('a root proxy routing dials', () => {
  let router: DialRouter;
  let now: number;

  beforeEach(() => {
    router = new DialRouter({
      ...DEFAULT_ROUTER_CONFIG,
      maxPendingPerLeaf: 3,
      maxPending: 4,
      maxConnectionsPerTunnel: 2,
    });
    now = 1_000;
  });

  const tell = (event: RouterEvent): RouterEffect[] => {
    router.handle(event, now);
    const effects: RouterEffect[] = [];
    for (let effect = router.pollEffect(); effect !== undefined; effect = router.pollEffect()) effects.push(effect);
    return effects;
  };
  const claim = (tunnel: string, leaf = 'berlin', token = 5n, incarnation = 3n): void => {
    tell({ type: 'tunnelAttached', tunnel, leaf, agent: `agent-${tunnel}`, nodes: NODES });
    tell({ type: 'tunnelClaimed', tunnel, incarnation, token });
  };
  const dial = (connection: string, changes: Partial<DialRequested> = {}): RouterEffect[] =>
    tell({
      type: 'dialRequested',
      connection,
      leaf: 'berlin',
      node: 'web',
      port: 80,
      user: 'ada',
      hops: 0,
      timeoutMs: 0,
      random: 0,
      ...changes,
    });
  const outcomeOf = (effects: readonly RouterEffect[]): string => {
    const reports = effects.filter((effect) => effect.type === 'report');
    assert.equal(reports.length, 1, 'exactly one report');
    return reports[0]?.outcome ?? '';
  };
  const tunnelOf = (effects: readonly RouterEffect[]): string => {
    const [effect] = effects;
    assert.equal(effect?.type, 'sendDial');
    return effect.tunnel;
  };
  const holders = (leaf: string, ...proxies: { proxy: string; ready: boolean }[]): void => {
    tell({ type: 'holdersChanged', leaf, holders: proxies });
  };

  test('sends a dial over the own claimed tunnel, with its fence and a shorter budget', () => {
    claim('t1');
    const [effect] = dial('c1', { timeoutMs: 4_000 });
    assert.deepEqual(effect, {
      type: 'sendDial',
      connection: 'c1',
      tunnel: 't1',
      leaf: 'berlin',
      node: 'web',
      port: 80,
      user: 'ada',
      timeoutMs: 3_500,
      incarnation: 3n,
      token: 5n,
    });
  });

  test('takes a provisional claim, and the token once it is recorded', () => {
    claim('t1', 'berlin', 0n, 0n);
    const [first] = dial('c1');
    assert.equal(first?.type === 'sendDial' && first.token, 0n);
    tell({ type: 'tunnelClaimed', tunnel: 't1', incarnation: 4n, token: 9n });
    const [second] = dial('c2');
    assert.deepEqual(second?.type === 'sendDial' && [second.incarnation, second.token], [4n, 9n]);
  });

  test('never dials over a tunnel without a claim', () => {
    tell({ type: 'tunnelAttached', tunnel: 't1', leaf: 'berlin', agent: 'a1', nodes: NODES });
    assert.equal(outcomeOf(dial('c1')), 'leaf-offline');
  });

  test('prefers the tunnel with the fewest connections, open or pending', () => {
    claim('t1');
    claim('t2');
    assert.equal(tunnelOf(dial('c1')), 't1');
    assert.equal(tunnelOf(dial('c2')), 't2');
    tell({ type: 'dialAnswered', tunnel: 't1', connection: 'c1', outcome: 'connected', detail: '' });
    tell({ type: 'dialAnswered', tunnel: 't2', connection: 'c2', outcome: 'refused', detail: 'no' });
    assert.equal(tunnelOf(dial('c3')), 't2');
  });

  test('spreads ties by chance', () => {
    claim('t1');
    claim('t2');
    assert.equal(tunnelOf(dial('c1', { random: 0.9 })), 't2');
  });

  test('uses a draining tunnel only when nothing else serves the leaf cluster', () => {
    claim('t1');
    claim('t2');
    tell({ type: 'tunnelDraining', tunnel: 't1' });
    assert.equal(tunnelOf(dial('c1')), 't2');
    tell({ type: 'tunnelDraining', tunnel: 't2' });
    holders('berlin', { proxy: 'p2', ready: true });
    assert.equal(dial('c2')[0]?.type, 'forward');
    holders('berlin', { proxy: 'p2', ready: false });
    assert.equal(tunnelOf(dial('c3')), 't1');
  });

  test('reports connected once, with the agent, and counts the connection until it closes', () => {
    claim('t1');
    dial('c1');
    assert.deepEqual(
      tell({ type: 'dialAnswered', tunnel: 't1', connection: 'c1', outcome: 'connected', detail: 'ignored' }),
      [
        {
          type: 'report',
          connection: 'c1',
          outcome: 'connected',
          detail: '',
          way: { kind: 'tunnel', tunnel: 't1', agent: 'agent-t1' },
        },
      ],
    );
    assert.equal(router.status().openConnections, 1);
    tell({ type: 'connectionClosed', connection: 'c1' });
    assert.deepEqual([router.status().openConnections, router.status().tunnels[0]?.openConnections], [0, 0]);
  });

  describe('nodes and ports', () => {
    beforeEach(() => claim('t1'));
    for (const [what, changes, outcome] of [
      ['an unknown node', { node: 'mail' }, 'no-such-node'],
      ['an unknown port', { port: 81 }, 'no-such-node'],
      ['port 0 of a node with several ports', { node: 'db', port: 0 }, 'invalid'],
      ['a port above 65535', { port: 65_536 }, 'invalid'],
      ['a second hop', { hops: 2 }, 'invalid'],
    ] as const) {
      test(`answers ${what} at once with ${outcome}`, () => assert.equal(outcomeOf(dial('c1', changes)), outcome));
    }
    test('takes port 0 for the only port', () => {
      const [effect] = dial('c1', { port: 0 });
      assert.equal(effect?.type === 'sendDial' && effect.port, 80);
    });
  });

  describe('through a peer', () => {
    test('forwards a dial of a user to a ready peer that holds a claim', () => {
      holders('berlin', { proxy: 'p2', ready: false }, { proxy: 'p3', ready: true });
      const [effect] = dial('c1');
      assert.deepEqual(effect?.type === 'forward' && [effect.proxy, effect.port, effect.timeoutMs], ['p3', 80, 9_500]);
    });

    test('never forwards a dial that came from a peer', () => {
      holders('berlin', { proxy: 'p2', ready: true });
      assert.equal(outcomeOf(dial('c1', { hops: 1 })), 'leaf-offline');
    });

    test('asks the next peer only when the first dialled nothing', () => {
      holders('berlin', { proxy: 'p2', ready: true }, { proxy: 'p3', ready: true });
      dial('c1');
      const [second] = tell({ type: 'forwardAnswered', connection: 'c1', outcome: 'leaf-offline', detail: '' });
      assert.equal(second?.type === 'forward' && second.proxy, 'p3');
      assert.equal(
        outcomeOf(tell({ type: 'forwardFailed', connection: 'c1', sent: false, detail: 'refused' })),
        'leaf-offline',
      );
    });

    test('does not repeat a forward that may have dialled', () => {
      holders('berlin', { proxy: 'p2', ready: true }, { proxy: 'p3', ready: true });
      dial('c1');
      assert.equal(
        outcomeOf(tell({ type: 'forwardFailed', connection: 'c1', sent: true, detail: 'reset' })),
        'tunnel-lost',
      );
    });

    test('passes the answer of the peer on', () => {
      holders('berlin', { proxy: 'p2', ready: true });
      dial('c1');
      const [report] = tell({
        type: 'forwardAnswered',
        connection: 'c1',
        outcome: 'refused',
        detail: 'the node refused',
      });
      assert.deepEqual(report, {
        type: 'report',
        connection: 'c1',
        outcome: 'refused',
        detail: 'the node refused',
        way: { kind: 'peer', proxy: 'p2' },
      });
    });

    test('takes the whole view in place of what it knew, and remembers leaf clusters', () => {
      holders('berlin', { proxy: 'p2', ready: true });
      tell({ type: 'holdersViewed', holders: new Map([['tokyo', [{ proxy: 'p2', ready: true }]]]) });
      assert.equal(outcomeOf(dial('c1')), 'leaf-offline');
      assert.equal(dial('c2', { leaf: 'tokyo' })[0]?.type, 'forward');
    });
  });

  test('tells an unknown leaf cluster from one that is offline', () => {
    assert.equal(outcomeOf(dial('c1', { leaf: 'oslo' })), 'no-such-leaf');
    claim('t1');
    tell({ type: 'tunnelClosed', tunnel: 't1' });
    assert.equal(outcomeOf(dial('c2')), 'leaf-offline');
  });

  test('answers tunnel lost for what was sent, and never sends it again', () => {
    claim('t1');
    claim('t2');
    dial('c1');
    const effects = tell({ type: 'tunnelClosed', tunnel: 't1' });
    assert.deepEqual(
      effects.map((effect) => effect.type),
      ['report'],
    );
    assert.equal(outcomeOf(effects), 'tunnel-lost');
  });

  test('cancels a dial at its deadline and ignores the late answer', () => {
    claim('t1');
    dial('c1', { timeoutMs: 100 });
    assert.equal(router.nextTimeout(), 1_100);
    now = 1_100;
    const effects = tell({ type: 'timeout' });
    assert.deepEqual(
      effects.map((effect) => effect.type),
      ['sendCancel', 'report'],
    );
    assert.equal(outcomeOf(effects), 'timed-out');
    const late = tell({ type: 'dialAnswered', tunnel: 't1', connection: 'c1', outcome: 'connected', detail: '' });
    assert.deepEqual(
      late.map((effect) => effect.type),
      ['refuseStream'],
    );
    assert.equal(router.nextTimeout(), undefined);
  });

  test('cancels a dial that was abandoned, without a report', () => {
    claim('t1');
    holders('tokyo', { proxy: 'p2', ready: true });
    dial('c1');
    dial('c2', { leaf: 'tokyo' });
    assert.deepEqual(tell({ type: 'dialAbandoned', connection: 'c1' }), [
      { type: 'sendCancel', connection: 'c1', tunnel: 't1' },
    ]);
    assert.deepEqual(tell({ type: 'dialAbandoned', connection: 'c2' }), [{ type: 'cancelForward', connection: 'c2' }]);
    assert.equal(router.status().pendingDials, 0);
  });

  test('refuses an answer of a tunnel that was not asked', () => {
    claim('t1');
    claim('t2', 'tokyo');
    dial('c1');
    const [effect] = tell({ type: 'dialAnswered', tunnel: 't2', connection: 'c1', outcome: 'connected', detail: '' });
    assert.deepEqual(effect?.type === 'refuseStream' && [effect.tunnel, effect.reason], ['t2', 'denied']);
    assert.equal(
      outcomeOf(tell({ type: 'dialAnswered', tunnel: 't1', connection: 'c1', outcome: 'connected', detail: '' })),
      'connected',
    );
  });

  test('bounds pending dials per leaf cluster and in all, and connections per tunnel', () => {
    claim('t1');
    claim('t2');
    for (const connection of ['c1', 'c2', 'c3']) dial(connection);
    assert.equal(outcomeOf(dial('c4')), 'overloaded');
    claim('t3', 'tokyo');
    dial('c5', { leaf: 'tokyo' });
    assert.equal(outcomeOf(dial('c6', { leaf: 'tokyo' })), 'overloaded');
    for (const [tunnel, connection] of [
      ['t1', 'c1'],
      ['t2', 'c2'],
      ['t1', 'c3'],
      ['t3', 'c5'],
    ] as const) {
      tell({ type: 'dialAnswered', tunnel, connection, outcome: 'connected', detail: '' });
    }
    dial('c7');
    tell({ type: 'dialAnswered', tunnel: 't2', connection: 'c7', outcome: 'connected', detail: '' });
    assert.equal(outcomeOf(dial('c8')), 'overloaded');
  });

  test('forgets the leaf cluster that was mentioned longest ago', () => {
    router = new DialRouter({ ...DEFAULT_ROUTER_CONFIG, maxKnownLeaves: 2 });
    for (const leaf of ['one', 'two', 'three']) claim(`t-${leaf}`, leaf);
    for (const leaf of ['one', 'two', 'three']) tell({ type: 'tunnelClosed', tunnel: `t-${leaf}` });
    assert.deepEqual(
      ['one', 'two', 'three'].map((leaf, at) => outcomeOf(dial(`c${at}`, { leaf }))),
      ['no-such-leaf', 'leaf-offline', 'leaf-offline'],
    );
  });
});

test('answers every dial exactly once, sends each at most once, and leaks nothing, whatever happens', () => {
  const tunnels = ['t1', 't2', 't3'];
  const event = fc.oneof(
    fc.record({
      kind: fc.constant('attach'),
      tunnel: fc.constantFrom(...tunnels),
      leaf: fc.constantFrom('berlin', 'tokyo'),
    }),
    fc.record({ kind: fc.constantFrom('drain', 'close'), tunnel: fc.constantFrom(...tunnels) }),
    fc.record({
      kind: fc.constant('dial'),
      leaf: fc.constantFrom('berlin', 'tokyo', 'oslo'),
      hops: fc.constantFrom(0, 1),
      random: fc.double({ min: 0, max: 0.99, noNaN: true }),
    }),
    fc.record({
      kind: fc.constantFrom('answer', 'wrongAnswer', 'forwardAnswer', 'forwardFail', 'abandon', 'end'),
      at: fc.nat({ max: 20 }),
      good: fc.boolean(),
    }),
    fc.record({ kind: fc.constant('peers'), proxies: fc.subarray(['p2', 'p3']), ready: fc.boolean() }),
    fc.record({ kind: fc.constant('wait'), ms: fc.nat({ max: 8_000 }) }),
  );
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60 }), (events) => {
      const router = new DialRouter(DEFAULT_ROUTER_CONFIG);
      const attached = new Set<string>();
      const sentTo = new Map<string, string>();
      const reports = new Map<string, number>();
      const abandoned = new Set<string>();
      let now = 0;
      let serial = 0;
      const tell = (message: RouterEvent): void => {
        router.handle(message, now);
        for (let effect = router.pollEffect(); effect !== undefined; effect = router.pollEffect()) {
          if (effect.type === 'sendDial') {
            assert.equal(sentTo.has(effect.connection), false, 'sent twice');
            sentTo.set(effect.connection, effect.tunnel);
          }
          if (effect.type !== 'report') continue;
          assert.equal(abandoned.has(effect.connection), false, 'reported after it was abandoned');
          reports.set(effect.connection, (reports.get(effect.connection) ?? 0) + 1);
        }
      };
      for (const step of events) {
        if ('leaf' in step && 'tunnel' in step) {
          if (attached.has(step.tunnel)) continue;
          attached.add(step.tunnel);
          tell({ type: 'tunnelAttached', tunnel: step.tunnel, leaf: step.leaf, agent: 'a', nodes: NODES });
          tell({ type: 'tunnelClaimed', tunnel: step.tunnel, incarnation: 1n, token: 1n });
        } else if ('tunnel' in step) {
          if (!attached.has(step.tunnel)) continue;
          if (step.kind === 'close') attached.delete(step.tunnel);
          tell({ type: step.kind === 'close' ? 'tunnelClosed' : 'tunnelDraining', tunnel: step.tunnel });
        } else if ('hops' in step) {
          serial += 1;
          const { leaf, hops, random } = step;
          tell({
            type: 'dialRequested',
            connection: `c${serial}`,
            leaf,
            node: 'web',
            port: 80,
            user: '',
            hops,
            timeoutMs: 0,
            random,
          });
        } else if ('proxies' in step) {
          tell({
            type: 'holdersChanged',
            leaf: 'berlin',
            holders: step.proxies.map((proxy) => ({ proxy, ready: step.ready })),
          });
        } else if ('ms' in step) {
          now += step.ms;
          tell({ type: 'timeout' });
        } else {
          const connection = `c${step.at}`;
          const outcome = step.good ? 'connected' : 'refused';
          const tunnel = sentTo.get(connection);
          if (step.kind === 'answer' && tunnel !== undefined && attached.has(tunnel))
            tell({ type: 'dialAnswered', tunnel, connection, outcome, detail: '' });
          if (step.kind === 'wrongAnswer')
            tell({ type: 'dialAnswered', tunnel: 'other', connection, outcome, detail: '' });
          if (step.kind === 'forwardAnswer')
            tell({
              type: 'forwardAnswered',
              connection,
              outcome: step.good ? 'connected' : 'leaf-offline',
              detail: '',
            });
          if (step.kind === 'forwardFail') tell({ type: 'forwardFailed', connection, sent: step.good, detail: '' });
          if (step.kind === 'abandon' && step.at <= serial && !reports.has(connection)) {
            abandoned.add(connection);
            tell({ type: 'dialAbandoned', connection });
          }
          if (step.kind === 'end') tell({ type: 'connectionClosed', connection });
        }
      }
      now += 60_000;
      tell({ type: 'timeout' });
      for (let at = 1; at <= serial; at += 1) {
        assert.equal(reports.get(`c${at}`) ?? 0, abandoned.has(`c${at}`) ? 0 : 1, `reports of c${at}`);
        tell({ type: 'connectionClosed', connection: `c${at}` });
      }
      const { pendingDials, openConnections, forwarded, tunnels: left } = router.status();
      assert.deepEqual([pendingDials, openConnections, forwarded], [0, 0, 0]);
      for (const tunnel of left) assert.deepEqual([tunnel.openConnections, tunnel.pendingDials], [0, 0]);
      assert.equal(router.nextTimeout(), undefined);
    }),
    { numRuns: 300 },
  );
});
