import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ProxyId } from '../shared/ids.ts';
import { defaultRelayConfig, RelayPolicy, type RelayConfig } from './relay.ts';

const OWN = 'p1' as ProxyId;
const members = new Map([
  ['p1', '10.0.0.1:7200'],
  ['p2', '10.0.0.2:7200'],
]);
let registries = ['r1:7101', 'r2:7101'];

function policy(overrides: Partial<RelayConfig> = {}): RelayPolicy {
  return new RelayPolicy({ ...defaultRelayConfig(OWN, 'xylem.internal'), ...overrides });
}

function decide(
  relay: RelayPolicy,
  name: string | undefined,
  extra: { source?: string; relayed?: boolean; now?: number } = {},
) {
  const request = { name, source: extra.source ?? '192.0.2.1', relayed: extra.relayed ?? false };
  return relay.decide(request, (proxy) => members.get(proxy), extra.now ?? 0, registries);
}

test('relays a live peer and serves everything else', () => {
  const relay = policy();
  assert.deepEqual(decide(relay, 'p2.xylem.internal'), { kind: 'relay', proxy: 'p2', address: '10.0.0.2:7200' });
  for (const name of ['p1.xylem.internal', 'xylem.internal', 'p9.xylem.internal', 'p2.other', undefined]) {
    assert.deepEqual(decide(relay, name), { kind: 'serve' }, name);
  }
});

test('never relays a connection that was relayed, nor any when switched off', () => {
  assert.deepEqual(decide(policy(), 'p2.xylem.internal', { relayed: true }), { kind: 'serve' });
  assert.deepEqual(decide(policy({ mode: 'off' }), 'p2.xylem.internal'), { kind: 'serve' });
});

test('bounds relays at once and gives the place back', () => {
  const relay = policy({ maxConcurrent: 2 });
  assert.equal(decide(relay, 'p2.xylem.internal').kind, 'relay');
  assert.equal(decide(relay, 'p2.xylem.internal').kind, 'relay');
  assert.equal(decide(relay, 'p2.xylem.internal').kind, 'refuse');
  relay.finished();
  assert.equal(decide(relay, 'p2.xylem.internal').kind, 'relay');
  assert.equal(relay.concurrent, 2);
});

test('bounds the rate of each source, not of its neighbours', () => {
  const relay = policy({ perSourceRate: 10, perSourceBurst: 2 });
  const from = (source: string, now: number) => decide(relay, 'p2.xylem.internal', { source, now }).kind;
  assert.deepEqual([from('a', 0), from('a', 0), from('a', 0), from('b', 0)], ['relay', 'relay', 'refuse', 'relay']);
  assert.deepEqual([from('a', 99), from('a', 100), from('a', 100)], ['refuse', 'relay', 'refuse']);
});

test('a relay that finishes twice is a bug and throws', () => {
  assert.throws(() => policy().finished(), /never started/);
});

test('passes the enrolment name on to the registries that are known, and to nothing else', () => {
  const relay = policy({ mode: 'off' });
  for (const name of ['enrol.xylem.internal', 'ENROL.xylem.internal.']) {
    assert.deepEqual(decide(relay, name), { kind: 'enrol', addresses: ['r1:7101', 'r2:7101'] });
  }
  for (const name of ['join.xylem.internal', 'registry.xylem.internal', 'x.enrol.xylem.internal', 'enrol.other']) {
    assert.deepEqual(decide(policy(), name), { kind: 'serve' }, name);
  }
  assert.deepEqual(decide(policy(), 'enrol.xylem.internal', { relayed: true }).kind, 'refuse');
  registries = [];
  assert.deepEqual(decide(policy(), 'enrol.xylem.internal'), {
    kind: 'refuse',
    why: 'no registry is known to enrol at',
  });
  registries = ['r1:7101'];
});

test('a member that calls itself by a reserved name is not relayed to', () => {
  members.set('registry', '10.0.0.66:7200');
  assert.deepEqual(decide(policy(), 'registry.xylem.internal'), { kind: 'serve' });
  members.delete('registry');
});

test('bounds enrolments at once, in all and by address, and gives the places back', () => {
  const relay = policy({ maxEnrolments: 3, maxEnrolmentsPerSource: 2 });
  const from = (source: string) => decide(relay, 'enrol.xylem.internal', { source }).kind;
  assert.deepEqual(
    [from('a'), from('a'), from('a'), from('b'), from('c')],
    ['enrol', 'enrol', 'refuse', 'enrol', 'refuse'],
  );
  relay.enrolmentFinished('a');
  assert.deepEqual([from('c'), from('a')], ['enrol', 'refuse']);
  for (const source of ['a', 'b', 'c']) relay.enrolmentFinished(source);
  assert.throws(() => relay.enrolmentFinished('a'), /never started/);
  assert.deepEqual(decide(relay, 'p2.xylem.internal').kind, 'relay');
});
