import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ByteQuotas } from './byte-quotas.ts';
import type { ByteFlow, ByteQuotaLimits } from './byte-quotas.ts';

const KIB = 1_024;
const OPEN: ByteQuotaLimits = {
  userBytesPerSecond: undefined,
  groupBytesPerSecond: undefined,
  quantumBytes: 64 * KIB,
  turnBytes: 256 * KIB,
};

/** Sources that always have more, read whenever they may be; and an event loop that goes round. */
class Loop {
  readonly quotas: ByteQuotas;
  readonly read = new Map<string, number>();
  readonly #flows = new Map<ByteFlow, { readonly name: string; readonly chunk: number }>();
  now = 0;

  constructor(limits: Partial<ByteQuotaLimits>) {
    this.quotas = new ByteQuotas({ ...OPEN, ...limits });
  }

  greedy(name: string, user: string | undefined, group: string, chunk = 64 * KIB): ByteFlow {
    const flow = this.quotas.open({ user, group }, this.now);
    this.#flows.set(flow, { name, chunk });
    return flow;
  }

  /** Reads as long as the flow may, once for each time it is named. */
  go(flow: ByteFlow): void {
    const { name, chunk } = this.#flows.get(flow) ?? { name: '', chunk: 0 };
    do this.read.set(name, this.bytes(name) + chunk);
    while (this.quotas.spend(flow, chunk, this.now));
  }

  turn(ms = 1): void {
    this.now += ms;
    for (const flow of this.quotas.turn(this.now)) this.go(flow);
  }

  bytes(name: string): number {
    return this.read.get(name) ?? 0;
  }

  all(): void {
    for (const flow of this.#flows.keys()) this.go(flow);
  }
}

test('in one turn no more is read than the turn has, and one read of each flow', () => {
  const loop = new Loop({});
  for (let index = 0; index < 10; index += 1) loop.greedy(`f${index}`, undefined, 'mallory');
  loop.all();
  for (let turn = 0; turn < 100; turn += 1) {
    loop.read.clear();
    loop.turn();
    const total = [...loop.read.values()].reduce((sum, bytes) => sum + bytes, 0);
    assert.ok(total <= 256 * KIB + 64 * KIB, `${total} bytes in a turn`);
    assert.ok(total >= 256 * KIB - 64 * KIB, 'and nothing of it is left unused');
  }
});

test('who is alone has every turn for itself', () => {
  const loop = new Loop({});
  loop.go(loop.greedy('alone', undefined, 'berlin'));
  loop.read.clear();
  for (let turn = 0; turn < 100; turn += 1) loop.turn();
  assert.ok(Math.abs(loop.bytes('alone') - 100 * 256 * KIB) <= 64 * KIB);
});

test('a leaf cluster with fifty connections gets no more than one with a single one', () => {
  const loop = new Loop({});
  for (let index = 0; index < 50; index += 1) loop.greedy('crowd', undefined, 'mallory');
  loop.greedy('single', undefined, 'berlin');
  loop.all();
  loop.read.clear();
  for (let turn = 0; turn < 500; turn += 1) loop.turn();
  const share = loop.bytes('single') / (loop.bytes('single') + loop.bytes('crowd'));
  assert.ok(Math.abs(share - 0.5) < 0.01, `its share is ${share}`);
});

test('small exchanges beside a flood wait for at most the next turn, and most do not wait at all', () => {
  const loop = new Loop({});
  for (let index = 0; index < 50; index += 1) loop.greedy('crowd', undefined, 'mallory');
  loop.all();
  const quiet = loop.quotas.open({ user: undefined, group: 'berlin' }, loop.now);
  let waited = 0;
  for (let exchange = 0; exchange < 1_000; exchange += 1) {
    loop.turn();
    if (loop.quotas.spend(quiet, KIB, loop.now)) continue;
    waited += 1;
    loop.now += 1;
    const named = loop.quotas.turn(loop.now);
    assert.equal(named[0], quiet, 'before all who always wait');
    for (const flow of named.slice(1)) loop.go(flow);
  }
  assert.ok(waited <= 1_000 / 64 + 1, `${waited} of 1,000 waited`);
});

test('a user reads no more than its rate, and others are not held up', () => {
  const loop = new Loop({ userBytesPerSecond: 1_000_000 });
  for (let index = 0; index < 4; index += 1) loop.greedy(`alice${index}`, 'alice', 'berlin');
  loop.greedy('bob', 'bob', 'berlin', KIB);
  loop.greedy('forwarded', undefined, 'berlin');
  loop.all();
  const each = (): number[] => [0, 1, 2, 3].map((index) => loop.bytes(`alice${index}`));
  // The burst goes to who comes first.
  const burst = each();
  for (let turn = 0; turn < 10_000; turn += 1) loop.turn();
  const sum = each().reduce((total, bytes) => total + bytes, 0);
  assert.ok(sum <= 11_000_000 + 4 * 128 * KIB && sum >= 10_000_000, `${sum} in ten seconds and a burst`);
  const since = each().map((bytes, index) => bytes - (burst[index] ?? 0));
  assert.ok(Math.max(...since) - Math.min(...since) <= 128 * KIB, `by turns: ${since.join(' ')}`);
  assert.ok(loop.bytes('bob') >= 10_000_000 && loop.bytes('forwarded') > 100_000_000);
  assert.ok(loop.quotas.status().userWaitedMs > 10_000);
});

test('a leaf cluster reads no more than its rate, whoever its users are', () => {
  const loop = new Loop({ userBytesPerSecond: 4_000_000, groupBytesPerSecond: 2_000_000 });
  for (const user of ['alice', 'bob', 'carol']) loop.greedy(user, user, 'berlin');
  loop.greedy('other', 'dave', 'tokyo');
  loop.all();
  for (let turn = 0; turn < 5_000; turn += 1) loop.turn();
  const berlin = loop.bytes('alice') + loop.bytes('bob') + loop.bytes('carol');
  assert.ok(berlin <= 12_000_000 + 3 * 128 * KIB && berlin >= 10_000_000, `${berlin} in five seconds and a burst`);
  assert.ok(loop.bytes('other') >= 10_000_000);
});

test('ending connections and opening others forgives nothing and costs nothing', () => {
  const loop = new Loop({ userBytesPerSecond: 1_000_000 });
  let read = 0;
  for (let turn = 0; turn < 10_000; turn += 1) {
    loop.turn();
    const flow = loop.quotas.open({ user: 'alice', group: 'berlin' }, loop.now);
    read += 10_000;
    const more = loop.quotas.spend(flow, 10_000, loop.now);
    loop.quotas.close(flow, loop.now);
    loop.quotas.close(flow, loop.now);
    assert.equal(loop.quotas.spend(flow, 1, loop.now), true, 'who is closed is not held');
    if (!more) loop.now += 10;
  }
  const allowed = 1_000_000 * (loop.now / 1_000 + 1) + 10_000;
  assert.ok(read <= allowed && read >= allowed / 2, `${read} of ${allowed}`);
  assert.equal(loop.quotas.nextTimeout(loop.now), undefined);
});

test('who is read while it waits is charged for it, waits on, and is named once', () => {
  for (const limits of [{}, { userBytesPerSecond: 1_000_000 }, { groupBytesPerSecond: 1_000_000 }]) {
    const loop = new Loop(limits);
    const flow = loop.quotas.open({ user: 'alice', group: 'berlin' }, 0);
    while (loop.quotas.spend(flow, 64 * KIB, 0));
    for (let reads = 0; reads < 10; reads += 1) assert.equal(loop.quotas.spend(flow, 64 * KIB, 0), false);
    let named = 0;
    for (let due = loop.quotas.nextTimeout(0); due !== undefined; due = loop.quotas.nextTimeout(loop.now)) {
      loop.now = Math.max(loop.now, due) + 0.01;
      named += loop.quotas.turn(loop.now).length;
    }
    assert.equal(named, 1);
  }
});

test('says when the next one may go on, and nothing when nobody waits', () => {
  const loop = new Loop({ userBytesPerSecond: 64 * KIB });
  const flow = loop.quotas.open({ user: 'alice', group: 'berlin' }, 0);
  assert.equal(loop.quotas.nextTimeout(0), undefined);
  assert.equal(loop.quotas.spend(flow, 64 * KIB, 0), true);
  assert.equal(loop.quotas.spend(flow, 64 * KIB, 0), false);
  const due = loop.quotas.nextTimeout(0) ?? 0;
  assert.ok(due > 0 && due < 1);
  assert.deepEqual(loop.quotas.turn(due), [flow]);
  assert.equal(loop.quotas.spend(flow, 64 * KIB, due), false);
  assert.ok((loop.quotas.nextTimeout(due) ?? 0) >= 999);
});

test('of users who have nothing open ten thousand are remembered', () => {
  const loop = new Loop({ userBytesPerSecond: 1_000 });
  for (let index = 0; index < 20_000; index += 1) {
    const flow = loop.quotas.open({ user: `u${index}`, group: 'berlin' }, 0);
    loop.quotas.spend(flow, 500, 0);
    loop.quotas.close(flow, 0);
  }
  assert.equal(loop.quotas.status().keys, 10_000);
});

test('whoever comes and goes: each that waits is named once, no one else is, and in the end nobody waits', () => {
  const steps = fc.array(
    fc.record({
      act: fc.constantFrom('open', 'spend', 'close', 'turn'),
      which: fc.nat(7),
      bytes: fc.integer({ min: 1, max: 200_000 }),
      after: fc.nat(50),
    }),
    { maxLength: 200 },
  );
  const rate = fc.option(fc.integer({ min: 1_000, max: 10_000_000 }), { nil: undefined });
  fc.assert(
    fc.property(steps, rate, rate, (list, userBytesPerSecond, groupBytesPerSecond) => {
      const quotas = new ByteQuotas({ ...OPEN, userBytesPerSecond, groupBytesPerSecond });
      const flows = new Map<number, ByteFlow>();
      const held = new Set<ByteFlow>();
      let now = 0;
      const turn = (): void => {
        for (const flow of quotas.turn(now)) assert.ok(held.delete(flow), 'named without waiting, or twice');
      };
      for (const { act, which, bytes, after } of list) {
        now += after;
        const flow = flows.get(which);
        if (act === 'turn') turn();
        else if (flow === undefined)
          flows.set(which, quotas.open({ user: `u${which % 3}`, group: `g${which % 2}` }, now));
        else if (act === 'close') {
          quotas.close(flow, now);
          held.delete(flow);
          flows.delete(which);
        } else if (!quotas.spend(flow, bytes, now)) held.add(flow);
        else assert.ok(!held.has(flow), 'who waits may go on');
      }
      for (let turns = 0; held.size > 0; turns += 1) {
        assert.ok(turns < 10_000, 'somebody waits for ever');
        const due = quotas.nextTimeout(now);
        assert.ok(due !== undefined, 'somebody waits, and nothing is due');
        now = Math.max(now, due) + 1e-6;
        turn();
      }
      assert.equal(quotas.nextTimeout(now), undefined);
    }),
  );
});

test('refuses limits that make no sense', () => {
  assert.throws(() => new ByteQuotas({ ...OPEN, userBytesPerSecond: 0 }), RangeError);
  assert.throws(() => new ByteQuotas({ ...OPEN, quantumBytes: 0 }), RangeError);
  assert.throws(() => new ByteQuotas({ ...OPEN, turnBytes: 1 }), RangeError);
});
