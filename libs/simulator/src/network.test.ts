import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BALANCER_POLICIES, Balancer } from './balancer.ts';
import { Host } from './host.ts';
import { Network } from './network.ts';
import type { Connection, End } from './network.ts';
import { KeyedRandom } from './random.ts';
import { Scheduler } from './scheduler.ts';

function rig(): { scheduler: Scheduler; network: Network; near: Host; far: Host; connection: Connection } {
  const scheduler = new Scheduler(1);
  const network = new Network(1, scheduler);
  const host = (name: string): Host => new Host(name, 1, scheduler, { offsetMs: 0, rate: 1 });
  const [near, far] = [host('near'), host('far')];
  near.start();
  far.start();
  return { scheduler, network, near, far, connection: network.connect(near, far) };
}

function record(end: End): string[] {
  const seen: string[] = [];
  end.listen({ onMessage: (message) => seen.push(String(message)), onEnd: (how) => seen.push(how) });
  return seen;
}

function runUntil(scheduler: Scheduler, until: number): void {
  while (scheduler.step(until));
}

test('events run in order of time, those of one instant in an order of the seed', () => {
  const order = (seed: number): string => {
    const scheduler = new Scheduler(seed);
    const ran: number[] = [];
    for (const name of [0, 1, 2, 3, 4, 5]) scheduler.at(10, () => ran.push(name));
    scheduler.at(5, () => ran.push(9));
    runUntil(scheduler, 20);
    assert.equal(ran[0], 9);
    assert.equal(scheduler.now, 20);
    return ran.join('');
  };
  assert.equal(order(1), order(1));
  assert.ok(new Set([1, 2, 3, 4].map(order)).size > 1);
});

test('a cancelled event never runs', () => {
  const scheduler = new Scheduler(1);
  scheduler.at(1, () => assert.fail('it ran')).cancel();
  runUntil(scheduler, 10);
});

test('a connection delivers in order, then its end', () => {
  const { scheduler, connection } = rig();
  const seen = record(connection.ends[1]);
  for (const number of [1, 2, 3, 4, 5]) connection.ends[0].send(number);
  connection.ends[0].close();
  runUntil(scheduler, 100);
  assert.deepEqual(seen, ['1', '2', '3', '4', '5', 'closed']);
});

test('what is blocked on its way arrives after healing, and nothing is lost', () => {
  const { scheduler, network, near, far, connection } = rig();
  const seen = record(connection.ends[1]);
  network.block(near, far);
  connection.ends[0].send('held');
  runUntil(scheduler, 1_000);
  assert.deepEqual(seen, []);
  network.heal(near, far);
  connection.ends[0].send('after');
  runUntil(scheduler, 2_000);
  assert.deepEqual(seen, ['held', 'after']);
});

test('one direction can be blocked alone', () => {
  const { scheduler, network, near, far, connection } = rig();
  const [atNear, atFar] = [record(connection.ends[0]), record(connection.ends[1])];
  network.block(near, far);
  connection.ends[0].send('there');
  connection.ends[1].send('back');
  runUntil(scheduler, 1_000);
  assert.deepEqual([atNear, atFar], [['back'], []]);
});

test('a process that dies resets its connections, a host that vanishes says nothing', () => {
  for (const silently of [false, true]) {
    const { scheduler, network, near, connection } = rig();
    const seen = record(connection.ends[1]);
    network.crash(near, silently);
    near.crash();
    runUntil(scheduler, 60_000);
    assert.deepEqual(seen, silently ? [] : ['reset']);
    assert.equal(connection.ends[1].peerDiedAt, 0);
  }
});

test('a cut resets both ends', () => {
  const { scheduler, connection } = rig();
  const [atNear, atFar] = [record(connection.ends[0]), record(connection.ends[1])];
  connection.cut();
  runUntil(scheduler, 100);
  assert.deepEqual([atNear, atFar], [['reset'], ['reset']]);
});

test('a stopped process finds everything when it goes on, in order', () => {
  const { scheduler, far, connection } = rig();
  const seen = record(connection.ends[1]);
  far.pause();
  connection.ends[0].send(1);
  connection.ends[0].send(2);
  runUntil(scheduler, 100);
  assert.deepEqual(seen, []);
  far.resume();
  assert.deepEqual(seen, ['1', '2']);
});

test('a draw depends on its own key and counter only', () => {
  const [quiet, busy] = [new KeyedRandom(7, 'one'), new KeyedRandom(7, 'one')];
  const other = new KeyedRandom(7, 'two');
  for (let count = 0; count < 100; count += 1) {
    busy.next('elsewhere');
    other.next('here');
  }
  assert.equal(quiet.next('here'), busy.next('here'));
  assert.notEqual(quiet.next('here'), new KeyedRandom(8, 'one').next('here'));
});

test('draws are spread evenly', () => {
  const random = new KeyedRandom(3, 'dice');
  const counts = [0, 0, 0, 0, 0, 0];
  for (let roll = 0; roll < 6_000; roll += 1) {
    const face = random.integer('roll', 0, 5);
    counts[face] = (counts[face] ?? 0) + 1;
  }
  for (const count of counts) assert.ok(count > 850 && count < 1_150, counts.join(' '));
});

test('each balancer meets the backends that its policy allows', () => {
  const backends = ['a', 'b', 'c', 'd'].map((name) => ({
    name,
    healthy: name !== 'd',
    draining: false,
    connections: name === 'c' ? 0 : 5,
  }));
  const met = new Map(
    BALANCER_POLICIES.map((policy) => {
      const balancer = new Balancer(policy, 1);
      const chosen = Array.from({ length: 60 }, () =>
        balancer.choose({ source: 'x', serverName: 'b', held: new Set(['c']) }, backends),
      );
      return [
        policy,
        [...new Set(chosen)]
          .map(String)
          .sort((one, another) => one.localeCompare(another))
          .join(''),
      ];
    }),
  );
  assert.equal(met.get('round-robin'), 'abc');
  assert.equal(met.get('round-robin-3'), 'a');
  assert.equal(met.get('random'), 'abc');
  assert.equal(met.get('least-connections'), 'c');
  assert.equal(met.get('source-hash')?.length, 1);
  assert.equal(met.get('first'), 'a');
  assert.equal(met.get('stale-health'), 'abcd');
  assert.equal(met.get('adversary'), 'c');
  assert.equal(met.get('sni'), 'b');
});
