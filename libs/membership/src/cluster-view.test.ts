import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ClusterView } from './cluster-view.ts';
import type { ClaimSlot } from './keys.ts';
import type { ProxyId } from './ids.ts';
import type { View, ViewDelta } from './messages.ts';
import type { KeyValue, StoreEvent } from './store.ts';

const MEMBER = JSON.stringify({
  nonce: 'n',
  peerAddress: 'h:1',
  tunnelAddress: 'h:2',
  generation: 0,
  software: '',
  draining: false,
  epoch: '1',
});
const CLAIM = JSON.stringify({ agent: 'a', nonce: 'n', incarnation: '1', epoch: '1' });
const KEYS = ['p1', 'p2', 'p3'].flatMap((proxy) => [
  `/xylem/v1/proxies/${proxy}`,
  `/xylem/v1/claims/berlin/${proxy}/0`,
  `/xylem/v1/claims/tokyo/${proxy}/0`,
]);

/** Writes and deletes of known keys, one revision each; `present` stays what a list would give. */
function history(steps: readonly (readonly [number, boolean])[]): {
  readonly events: readonly StoreEvent[];
  readonly lists: readonly (readonly KeyValue[])[];
} {
  const present = new Map<string, KeyValue>();
  const events: StoreEvent[] = [];
  const lists: KeyValue[][] = [];
  for (const [index, [which, put]] of steps.entries()) {
    const key = KEYS[which % KEYS.length] ?? '';
    const modRevision = BigInt(index + 2);
    if (put) {
      const createRevision = present.get(key)?.createRevision ?? modRevision;
      const kv = { key, value: key.includes('claims') ? CLAIM : MEMBER, createRevision, modRevision, lease: 1n };
      present.set(key, kv);
      events.push({ type: 'put', kv });
    } else {
      present.delete(key);
      events.push({ type: 'delete', key, modRevision });
    }
    lists.push([...present.values()].sort((a, b) => (a.key < b.key ? -1 : 1)));
  }
  return { events, lists };
}

function revisionOf(event: StoreEvent): bigint {
  return event.type === 'put' ? event.kv.modRevision : event.modRevision;
}

const key = (claim: { readonly leaf: string; readonly proxy: string; readonly slot: number }): string =>
  `${claim.leaf}/${claim.proxy}/${claim.slot}`;

/** What a receiver of the delta has afterwards. */
function applied(view: View, delta: ViewDelta): View {
  assert.deepEqual(view.stamp, delta.from);
  const members = new Map(view.members.map((member) => [member.proxy, member]));
  for (const gone of delta.removedMembers) members.delete(gone);
  for (const member of delta.members) members.set(member.proxy, member);
  const claims = new Map(view.claims.map((claim) => [key(claim), claim]));
  for (const gone of delta.removedClaims) claims.delete(key(gone));
  for (const claim of delta.claims) claims.set(key(claim), claim);
  const sorted = <T>(map: Map<string, T>): T[] =>
    [...map].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value);
  return { stamp: delta.to, members: sorted(members), claims: sorted(claims) };
}

test('a view and the deltas after it are the view at the end; watching and listing agree at every revision', () => {
  const steps = fc.array(fc.tuple(fc.nat(), fc.boolean()), { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(steps, fc.array(fc.nat(), { maxLength: 6 }), (script, cuts) => {
      const { events, lists } = history(script);
      const watching = new ClusterView();
      let received = watching.full(watching.stamp);
      const members = new Set<ProxyId>();
      const claims = new Map<string, ClaimSlot>();
      for (const [index, event] of events.entries()) {
        const changes = watching.advance([event], revisionOf(event));
        for (const proxy of changes.members) members.add(proxy);
        for (const [text, slot] of changes.claims) claims.set(text, slot);
        const listing = new ClusterView();
        listing.replace(lists[index] ?? [], revisionOf(event));
        assert.deepEqual(watching.full(watching.stamp), listing.full(listing.stamp));
        assert.equal(watching.contradictedBy(lists[index] ?? []), false);
        if (!cuts.some((cut) => cut % events.length === index) && index !== events.length - 1) continue;
        received = applied(received, watching.delta(received.stamp, members, claims));
        members.clear();
        claims.clear();
      }
      assert.deepEqual(received, watching.full(watching.stamp));
    }),
  );
});

test('a list after a gap changes exactly what differs', () => {
  const { lists } = history([
    [0, true],
    [1, true],
    [2, true],
    [0, false],
    [1, true],
  ]);
  const view = new ClusterView();
  view.replace(lists[2] ?? [], 4n);
  const changes = view.replace(lists[4] ?? [], 6n);
  assert.deepEqual([[...changes.members], [...changes.claims.keys()]], [['p1'], ['/xylem/v1/claims/berlin/p1/0']]);
});

test('a list with a change from before our time that we never saw shows another history', () => {
  const { lists } = history([
    [0, true],
    [1, true],
    [0, true],
  ]);
  const view = new ClusterView();
  view.replace(lists[2] ?? [], 4n);
  assert.equal(view.contradictedBy(lists[2] ?? []), false);
  assert.equal(view.contradictedBy(lists[1] ?? []), true, 'an older write of the same key');
  assert.equal(view.contradictedBy([]), false, 'deleted since');
});

test('a list with another value at the same revision shows another history, and is taken over', () => {
  const epoch = (value: string): KeyValue => ({
    key: '/xylem/v1/epoch',
    value,
    createRevision: 2n,
    modRevision: 2n,
    lease: 0n,
  });
  const view = new ClusterView();
  view.replace([epoch('2')], 2n);
  assert.equal(view.contradictedBy([epoch('2')]), false);
  assert.equal(view.contradictedBy([epoch('1')]), true);
  view.replace([epoch('1')], 8n);
  assert.equal(view.epoch, 1n);
});

test('records that cannot be read and keys of others are no other history', () => {
  const junk = ['/xylem/v1/proxies/p1', '/xylem/v1/epoch', '/xylem/v1/notes/of/somebody'].map((name) => ({
    key: name,
    value: 'junk',
    createRevision: 2n,
    modRevision: 2n,
    lease: 0n,
  }));
  const view = new ClusterView();
  assert.deepEqual(view.replace(junk, 2n).malformed, ['/xylem/v1/proxies/p1', '/xylem/v1/epoch']);
  assert.equal(view.epochModRevision, 2n, 'what replaces it has to be compared with this');
  assert.equal(view.contradictedBy(junk), false);
  assert.deepEqual(view.replace(junk, 3n).malformed, [], 'told once');
  view.replace([], 4n);
  assert.equal(view.epochModRevision, 0n);
});

test('claims of each leaf cluster are counted', () => {
  const { events } = history([
    [1, true],
    [4, true],
    [2, true],
    [1, true],
    [4, false],
  ]);
  const view = new ClusterView();
  view.advance(events, 6n);
  const berlin = view.full(view.stamp).claims.find(({ leaf }) => leaf === 'berlin');
  assert.ok(berlin !== undefined);
  assert.deepEqual([view.claimCount, view.memberCount], [2, 0]);
});
