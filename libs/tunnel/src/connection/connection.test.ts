import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CarriedConnection } from './connection.ts';
import { DEFAULT_CONNECTION_CONFIG, MAX_DATA_BYTES } from './types.ts';
import type { ConnectionConfig, ConnectionEffect, ConnectionEnd, ConnectionEvent } from './types.ts';

class Bench {
  now = 0;
  readonly core: CarriedConnection;

  constructor(role: 'requester' | 'answerer', config: Partial<ConnectionConfig> = {}) {
    this.core = new CarriedConnection({ ...DEFAULT_CONNECTION_CONFIG, role, ...config }, 0);
  }

  tell(...events: ConnectionEvent[]): string[] {
    return this.effects(...events).map((effect) => effect.type);
  }

  effects(...events: ConnectionEvent[]): ConnectionEffect[] {
    const effects: ConnectionEffect[] = [];
    for (const event of events) {
      this.core.handle(event, this.now);
      for (let effect = this.core.pollEffect(); effect !== undefined; effect = this.core.pollEffect())
        effects.push(effect);
    }
    return effects;
  }

  end(...events: ConnectionEvent[]): ConnectionEnd {
    const closed = this.effects(...events).filter((effect) => effect.type === 'closed');
    assert.equal(closed.length, 1, 'closed exactly once');
    const [first] = closed;
    assert.ok(first);
    return first.end;
  }
}

function open(config: Partial<ConnectionConfig> = {}): Bench {
  const bench = new Bench('requester', config);
  assert.deepEqual(bench.tell({ type: 'connectedBefore' }), ['startPumping']);
  return bench;
}

const end = (totalBytes: bigint): ConnectionEvent => ({ type: 'endReceived', totalBytes });
const orderly: ConnectionEvent = { type: 'framesEnded', orderly: true, detail: '' };
const lost: ConnectionEvent = { type: 'framesEnded', orderly: false, detail: 'connection reset' };

describe('the outcome', () => {
  test('comes first from an answerer and starts the flow', () => {
    const bench = new Bench('answerer');
    assert.deepEqual(bench.tell({ type: 'outcomeDecided', outcome: 'connected', detail: '' }), [
      'sendOutcome',
      'startPumping',
    ]);
  });

  test('of a dial that failed ends the connection without touching the socket', () => {
    const answerer = new Bench('answerer');
    assert.deepEqual(answerer.tell({ type: 'outcomeDecided', outcome: 'refused', detail: 'no' }), [
      'sendOutcome',
      'endFrames',
    ]);
    assert.deepEqual(answerer.end(orderly), {
      kind: 'not-connected',
      outcome: 'refused',
      reason: undefined,
      detail: 'no',
      sentBytes: 0,
      receivedBytes: 0,
    });
    const requester = new Bench('requester');
    assert.deepEqual(requester.tell({ type: 'outcomeReceived', outcome: 'timed-out', detail: '' }), ['endFrames']);
    assert.equal(requester.end(orderly).outcome, 'timed-out');
  });

  for (const [what, event, outcome] of [
    ['a lost stream', lost, 'tunnel-lost'],
    ['a stream that ends in order without one', orderly, 'tunnel-lost'],
  ] as const) {
    test(`is ${outcome} for ${what}`, () => {
      const result = new Bench('requester').end(event);
      assert.deepEqual([result.kind, result.outcome, result.reason], ['not-connected', outcome, 'tunnel-lost']);
    });
  }

  test('is timed out when none comes', () => {
    const bench = new Bench('requester', { outcomeTimeoutMs: 50 });
    bench.now = bench.core.nextTimeout() ?? 0;
    assert.equal(bench.now, 50);
    assert.deepEqual(bench.tell({ type: 'timeout' }), ['sendReset', 'endFrames']);
    assert.equal(bench.end(orderly).outcome, 'timed-out');
  });

  for (const [what, role, event] of [
    ['data before it', 'requester', { type: 'dataReceived', bytes: 1 }],
    ['an end before it', 'requester', end(0n)],
    ['an outcome from a requester', 'answerer', { type: 'outcomeReceived', outcome: 'connected', detail: '' }],
  ] as const) {
    test(`breaks the protocol with ${what}`, () => {
      const bench = new Bench(role);
      const [reset] = bench.effects(event);
      assert.equal(reset?.type === 'sendReset' && reset.reason, 'protocol-error');
    });
  }

  test('given twice is our bug', () => {
    const bench = new Bench('answerer');
    bench.tell({ type: 'outcomeDecided', outcome: 'connected', detail: '' });
    assert.throws(() => bench.tell({ type: 'outcomeDecided', outcome: 'connected', detail: '' }), /decided twice/);
  });
});

describe('half-close', () => {
  test('of the socket ends only that direction', () => {
    const bench = open();
    assert.deepEqual(bench.tell({ type: 'socketRead', bytes: 5 }), ['sendData']);
    assert.deepEqual(bench.effects({ type: 'socketEnded' }), [{ type: 'sendEnd', totalBytes: 5n }]);
    assert.deepEqual(bench.tell({ type: 'dataReceived', bytes: MAX_DATA_BYTES }), ['deliver']);
    assert.deepEqual(bench.tell(end(65_536n)), ['endSocket', 'endFrames']);
    assert.deepEqual(bench.tell({ type: 'socketFlushed' }), []);
    assert.deepEqual(bench.end(orderly), {
      kind: 'clean',
      outcome: undefined,
      reason: undefined,
      detail: '',
      sentBytes: 5,
      receivedBytes: 65_536,
    });
  });

  test('of the stream ends only that direction', () => {
    const bench = open();
    assert.deepEqual(bench.tell(end(0n)), ['endSocket']);
    assert.deepEqual(bench.tell({ type: 'socketFlushed' }), []);
    assert.deepEqual(bench.tell({ type: 'socketRead', bytes: 1 }, { type: 'socketEnded' }), [
      'sendData',
      'sendEnd',
      'endFrames',
    ]);
    assert.equal(bench.end(orderly).kind, 'clean');
  });

  test('lets the open direction still be reset', () => {
    const bench = open();
    bench.tell(end(0n));
    assert.deepEqual(bench.tell({ type: 'resetReceived', reason: 'peer-reset', detail: '' }), [
      'resetSocket',
      'endFrames',
    ]);
    assert.equal(bench.end(orderly).reason, 'peer-reset');
  });
});

describe('an ending that is not clean resets the socket', () => {
  for (const [what, event, reason] of [
    ['a stream that is lost', lost, 'tunnel-lost'],
    ['a stream that ends in order without End', orderly, 'tunnel-lost'],
  ] as const) {
    test(`for ${what}, also after one direction ended`, () => {
      for (const first of [[], [{ type: 'socketEnded' } as const], [end(0n)]]) {
        const bench = open();
        bench.tell(...first);
        const effects = bench.effects(event);
        assert.deepEqual(
          effects.map((effect) => effect.type),
          ['resetSocket', 'closed'],
        );
        const closed = effects[1];
        assert.equal(closed?.type === 'closed' && closed.end.reason, reason);
      }
    });
  }

  for (const [what, event, reason] of [
    ['missing bytes', end(1n), 'data-loss'],
    ['a frame above 64 KiB', { type: 'dataReceived', bytes: MAX_DATA_BYTES + 1 }, 'protocol-error'],
    ['an empty data frame', { type: 'dataReceived', bytes: 0 }, 'protocol-error'],
    ['a second outcome', { type: 'outcomeReceived', outcome: 'connected', detail: '' }, 'protocol-error'],
    ['an open after the start', { type: 'frameInvalid', detail: 'open' }, 'protocol-error'],
    ['a failed socket', { type: 'socketFailed', detail: 'ECONNRESET' }, 'peer-reset'],
    ['a drain deadline', { type: 'abortRequested', reason: 'drain-deadline', detail: '' }, 'drain-deadline'],
  ] as const) {
    test(`for ${what}, and tells the other end`, () => {
      const bench = open();
      const effects = bench.effects(event);
      assert.deepEqual(
        effects.map((effect) => effect.type),
        ['resetSocket', 'sendReset', 'endFrames'],
      );
      assert.equal(effects[1]?.type === 'sendReset' && effects[1].reason, reason);
      assert.equal(bench.end(orderly).reason, reason);
    });
  }

  for (const [what, event] of [
    ['data', { type: 'dataReceived', bytes: 1 }],
    ['a second end', end(0n)],
  ] as const) {
    test(`for ${what} after the end`, () => {
      const bench = open();
      bench.tell(end(0n));
      const [, reset] = bench.effects(event);
      assert.equal(reset?.type === 'sendReset' && reset.reason, 'protocol-error');
    });
  }

  test('and a Reset that does not leave is followed by a cancel', () => {
    const bench = open({ resetTimeoutMs: 100 });
    bench.tell({ type: 'abortRequested', reason: 'shutdown', detail: 'stopping' });
    bench.now = bench.core.nextTimeout() ?? 0;
    assert.deepEqual(bench.tell({ type: 'timeout' }), ['cancelFrames', 'closed']);
    assert.deepEqual(
      bench.tell(lost, { type: 'timeout' }, { type: 'socketFailed', detail: '' }),
      [],
      'nothing after closed',
    );
  });

  test('and the first cause wins', () => {
    const bench = open();
    bench.tell({ type: 'abortRequested', reason: 'drain-deadline', detail: '' });
    assert.deepEqual(
      bench.tell({ type: 'resetReceived', reason: 'peer-reset', detail: '' }, { type: 'socketFailed', detail: '' }),
      [],
    );
    assert.equal(bench.end(lost).reason, 'drain-deadline');
  });
});

describe('flushing', () => {
  const flushing = (config: Partial<ConnectionConfig> = {}): Bench => {
    const bench = open(config);
    bench.tell({ type: 'socketEnded' }, end(0n));
    return bench;
  };

  test('waits for the socket and for the stream', () => {
    const bench = flushing();
    assert.deepEqual(bench.tell(orderly), []);
    assert.equal(bench.end({ type: 'socketFlushed' }).kind, 'clean');
  });

  test('is a loss when the stream fails before it ended in order', () => {
    assert.deepEqual(flushing().tell(lost), ['resetSocket', 'closed']);
  });

  test('is a reset when the socket fails before it took everything, and none after', () => {
    assert.equal(flushing().tell(orderly, { type: 'socketFailed', detail: '' })[0], 'resetSocket');
    const bench = flushing();
    assert.deepEqual(
      bench.tell({ type: 'socketFlushed' }, { type: 'socketFailed', detail: 'closed by the far end' }),
      [],
    );
    assert.equal(bench.end(orderly).kind, 'clean');
  });

  test('has a deadline', () => {
    const bench = flushing({ flushTimeoutMs: 50 });
    bench.now = 50;
    assert.deepEqual(bench.tell({ type: 'timeout' }), ['resetSocket', 'sendReset', 'endFrames']);
    assert.equal(bench.end(lost).reason, 'timeout');
  });
});

describe('idle timeout', () => {
  test('is off by default', () => assert.equal(open().core.nextTimeout(), undefined));

  test('counts from the last byte in either direction', () => {
    const bench = open({ idleTimeoutMs: 100 });
    bench.now = 90;
    bench.tell({ type: 'dataReceived', bytes: 1 });
    bench.now = 150;
    assert.deepEqual(bench.tell({ type: 'timeout' }), []);
    assert.equal(bench.core.nextTimeout(), 190);
    bench.now = 190;
    bench.tell({ type: 'timeout' });
    assert.equal(bench.end(lost).reason, 'timeout');
  });
});
