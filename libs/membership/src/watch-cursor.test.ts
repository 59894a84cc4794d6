import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Reactor } from './reactor.ts';
import type { StoreHeader, StoreOperation } from './store.ts';
import { DEFAULT_REGISTRY_CONFIG } from './types.ts';
import type { RegistryEffect } from './types.ts';
import { WatchCursor } from './watch-cursor.ts';

/** A cursor whose store says what the test wants it to. */
class Bench {
  readonly reactor = new Reactor(
    { ...DEFAULT_REGISTRY_CONFIG, registry: 'r', boot: 'b', storeName: 's', listPageSize: 2 },
    0,
  );
  readonly told: string[] = [];
  readonly cursor = new WatchCursor(this.reactor, {
    listed: (kvs, revision) => this.told.push(`list@${revision}: ${kvs.map(({ key }) => key.slice(-1)).join('')}`),
    advanced: (events, revision) => this.told.push(`events@${revision}: ${events.length}`),
  });

  header: StoreHeader = { cluster: 1n, revision: 10n, term: 1n };
  keys: readonly string[] = [];

  constructor() {
    this.reactor.onDoubt = (detail) => this.cursor.restart(detail);
    this.reactor.onRestored = (detail) => {
      this.reactor.timeline.reset();
      this.cursor.restart(detail);
    };
  }

  /** Performs effects, answering operations; returns those left over, watches above all. */
  run(): readonly RegistryEffect[] {
    const left: RegistryEffect[] = [];
    for (let effect = this.reactor.pollEffect(); effect !== undefined; effect = this.reactor.pollEffect()) {
      if (effect.type === 'request') this.#answer(effect.operation, effect.request);
      else if (effect.type !== 'report') left.push(effect);
    }
    return left;
  }

  /** The cursor waits for the moment, or for longer after a failure. */
  wait(ms: number): readonly RegistryEffect[] {
    this.reactor.now += ms;
    for (
      let due = this.reactor.deadlines.takeDue(this.reactor.now);
      due !== undefined;
      due = this.reactor.deadlines.takeDue(this.reactor.now)
    ) {
      due.run(due.lateMs);
    }
    return this.run();
  }

  #answer(operation: number, request: StoreOperation): void {
    const { header } = this;
    if (request.type === 'range') {
      const from = this.keys.filter((key) => key >= request.key);
      const kvs = from
        .slice(0, request.limit)
        .map((key) => ({ key, value: '', createRevision: 1n, modRevision: 1n, lease: 0n }));
      const result = { type: 'range', kvs, more: from.length > kvs.length } as const;
      return this.reactor.replied(operation, { status: 'done', header, result });
    }
    return this.reactor.replied(operation, {
      status: 'done',
      header,
      result: { type: 'txn', succeeded: true, steps: [undefined] },
    });
  }
}

function put(modRevision: bigint): {
  readonly type: 'put';
  readonly kv: {
    readonly key: string;
    readonly value: string;
    readonly createRevision: bigint;
    readonly modRevision: bigint;
    readonly lease: bigint;
  };
} {
  return { type: 'put', kv: { key: '/xylem/v1/a', value: '', createRevision: 1n, modRevision, lease: 0n } };
}

function started(): Bench {
  const bench = new Bench();
  bench.cursor.start();
  assert.deepEqual(bench.run(), [{ type: 'openWatch', watch: 1, fromRevision: 11n }]);
  bench.cursor.opened(1);
  assert.deepEqual(bench.run(), []);
  return bench;
}

test('lists page by page as of one revision, then watches from the next', () => {
  const bench = new Bench();
  bench.keys = ['/xylem/v1/a', '/xylem/v1/b', '/xylem/v1/c', '/xylem/v1/d', '/xylem/v1/e'];
  bench.cursor.start();
  assert.deepEqual(bench.run(), [{ type: 'openWatch', watch: 1, fromRevision: 11n }]);
  assert.deepEqual(bench.told, ['list@10: abcde']);
});

test('after a break, and another before anything was told, it goes on at the revision after the last event', () => {
  const bench = started();
  bench.cursor.advanced(1, [put(11n), put(14n)], 14n);
  bench.header = { ...bench.header, revision: 20n };
  bench.cursor.lost(1);
  assert.deepEqual(bench.wait(0), [{ type: 'openWatch', watch: 2, fromRevision: 15n }]);
  bench.cursor.lost(2);
  assert.deepEqual(bench.wait(1_000), [{ type: 'openWatch', watch: 3, fromRevision: 15n }]);
  bench.cursor.advanced(1, [put(15n)], 15n);
  bench.cursor.advanced(3, [put(15n)], 15n);
  assert.deepEqual(bench.told, ['list@10: ', 'events@14: 2', 'events@15: 1'], 'what a closed watch tells is not heard');
});

test('after a compaction it lists again', () => {
  const bench = started();
  bench.header = { ...bench.header, revision: 30n };
  bench.cursor.compacted(1);
  assert.deepEqual(bench.run(), [{ type: 'openWatch', watch: 2, fromRevision: 31n }]);
  assert.deepEqual(bench.told, ['list@10: ', 'list@30: ']);
});

test('when another term or cluster answers after a break, it lists again: the store may have been replaced', () => {
  for (const header of [
    { cluster: 1n, revision: 50n, term: 2n },
    { cluster: 2n, revision: 50n, term: 1n },
  ]) {
    const bench = started();
    bench.cursor.lost(1);
    bench.header = header;
    assert.deepEqual(bench.wait(0), [{ type: 'openWatch', watch: 2, fromRevision: 51n }]);
    assert.deepEqual(bench.told, ['list@10: ', 'list@50: ']);
  }
});

test('when the store turns out replaced just as the watch was opened, it lists again', () => {
  const bench = new Bench();
  bench.cursor.start();
  bench.run();
  bench.header = { cluster: 1n, revision: 9n, term: 1n };
  bench.cursor.opened(1);
  assert.deepEqual(bench.run(), [
    { type: 'closeWatch', watch: 1 },
    { type: 'openWatch', watch: 2, fromRevision: 10n },
  ]);
});

test('while the store fails it tries again and again, with pauses', () => {
  const bench = started();
  bench.cursor.lost(1);
  const requests = (effects: readonly RegistryEffect[]): number =>
    effects.filter(({ type }) => type === 'request').length;
  let asked = 0;
  for (let round = 0; round < 20; round += 1) {
    bench.reactor.now += 1_000;
    for (
      let due = bench.reactor.deadlines.takeDue(bench.reactor.now);
      due !== undefined;
      due = bench.reactor.deadlines.takeDue(bench.reactor.now)
    )
      due.run(0);
    const effects: RegistryEffect[] = [];
    for (let effect = bench.reactor.pollEffect(); effect !== undefined; effect = bench.reactor.pollEffect()) {
      effects.push(effect);
      if (effect.type === 'request')
        bench.reactor.replied(effect.operation, { status: 'failed', cause: 'unavailable', detail: 'down' });
    }
    asked += requests(effects);
  }
  assert.ok(asked >= 15 && asked <= 25, `${asked} tries in 20 s`);
  assert.deepEqual(bench.wait(1_000), [{ type: 'openWatch', watch: 2, fromRevision: 11n }]);
});
