import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DialQuotas } from './quotas.ts';
import type { QuotaAdmission } from './quotas.ts';
import type { DialOrder } from './types.ts';

const plenty = { dialsPerSecond: 1_000, dialBurst: 1_000, connections: 1_000 };

function order(changes: Partial<DialOrder> = {}): DialOrder {
  const base = {
    leaf: 'berlin',
    node: 'web',
    port: 80,
    user: 'alice',
    proof: { kind: undefined },
    source: '192.0.2.1:4000',
  };
  return { ...base, hops: 0, timeoutMs: 0, traceparent: '', ...changes };
}

function refusal(admission: QuotaAdmission): string {
  assert.equal(admission.kind, 'refused');
  return admission.kind === 'refused' ? admission.detail : '';
}

test('a user who dials too often is told when to come back; another is not held up', () => {
  const quotas = new DialQuotas({ perUser: { ...plenty, dialsPerSecond: 10, dialBurst: 2 }, perLeaf: plenty });
  assert.equal(quotas.enter(order(), 0).kind, 'granted');
  assert.equal(quotas.enter(order(), 0).kind, 'granted');
  assert.match(
    refusal(quotas.enter(order(), 0)),
    /^user alice dials more than 10 times a second; try again in 100 ms$/,
  );
  assert.equal(quotas.enter(order({ user: 'bob' }), 0).kind, 'granted');
  assert.equal(quotas.enter(order(), 100).kind, 'granted');
});

test('anonymous users count by address, whatever port they come from', () => {
  const quotas = new DialQuotas({ perUser: { ...plenty, connections: 1 }, perLeaf: plenty });
  const anonymous = (source: string) => quotas.enter(order({ user: '', source }), 0);
  assert.equal(anonymous('[2001:db8::1]:1').kind, 'granted');
  assert.match(refusal(anonymous('[2001:db8::1]:2')), /^address \[2001:db8::1\] has 1 connections open/);
  assert.equal(anonymous('[2001:db8::2]:1').kind, 'granted');
});

test('a leaf cluster counts all its users, forwarded ones too, and leaves room for others', () => {
  const quotas = new DialQuotas({ perUser: plenty, perLeaf: { ...plenty, connections: 2 } });
  assert.equal(quotas.enter(order(), 0).kind, 'granted');
  assert.equal(quotas.enter(order({ user: 'bob', hops: 1 }), 0).kind, 'granted');
  assert.match(refusal(quotas.enter(order({ user: 'carol' }), 0)), /^leaf cluster berlin has 2 connections open/);
  assert.equal(quotas.enter(order({ leaf: 'tokyo' }), 0).kind, 'granted');
});

test('a forwarded user was counted at the root proxy it came to', () => {
  const quotas = new DialQuotas({ perUser: { ...plenty, connections: 1 }, perLeaf: plenty });
  assert.equal(quotas.enter(order({ hops: 1 }), 0).kind, 'granted');
  assert.equal(quotas.enter(order({ hops: 1 }), 0).kind, 'granted');
});

test('what was refused holds no place, and a place given back is free', () => {
  const quotas = new DialQuotas({ perUser: plenty, perLeaf: { ...plenty, connections: 1 } });
  const first = quotas.enter(order(), 0);
  for (let index = 0; index < 2_000; index += 1) quotas.enter(order({ user: `u${index % 3}` }), index);
  if (first.kind === 'granted') first.leave();
  assert.equal(quotas.enter(order(), 3_000).kind, 'granted');
});
