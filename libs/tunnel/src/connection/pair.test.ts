import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { ResetReason } from '../codes.ts';
import { CarriedConnection } from './connection.ts';
import { DEFAULT_CONNECTION_CONFIG } from './types.ts';
import type { ConnectionEffect, ConnectionEnd, ConnectionEvent } from './types.ts';

/** Two ends joined by a frame stream, with everything that can go wrong between and beside them, step by step. */
type Frame = { bytes: number } | { total: bigint } | { reason: ResetReason } | 'over' | 'lost';

class End {
  readonly core: CarriedConnection;
  readonly inbox: Frame[] = [];
  outbox: Frame[] = [];
  written = 0;
  delivered = 0;
  /** What the far end of this socket has seen. */
  seen: 'open' | 'fin' | 'reset' = 'open';
  readEnded = false;
  closed: ConnectionEnd | undefined;
  streamEnded = false;

  constructor(role: 'requester' | 'answerer') {
    this.core = new CarriedConnection({ ...DEFAULT_CONNECTION_CONFIG, role }, 0);
  }

  tell(event: ConnectionEvent, now: number): void {
    this.core.handle(event, now);
    for (let effect = this.core.pollEffect(); effect !== undefined; effect = this.core.pollEffect())
      this.#perform(effect, event);
  }

  #perform(effect: ConnectionEffect, cause: ConnectionEvent): void {
    assert.equal(this.closed, undefined, `${effect.type} after closed`);
    switch (effect.type) {
      case 'sendData':
        assert.ok(cause.type === 'socketRead');
        this.outbox.push({ bytes: cause.bytes });
        return;
      case 'deliver':
        assert.ok(cause.type === 'dataReceived' && this.seen === 'open');
        this.delivered += cause.bytes;
        return;
      case 'sendEnd':
        this.outbox.push({ total: effect.totalBytes });
        return;
      case 'sendReset':
        this.outbox.push({ reason: effect.reason });
        return;
      case 'endSocket':
        assert.equal(this.seen, 'open');
        this.seen = 'fin';
        return;
      case 'resetSocket':
        this.seen = 'reset';
        return;
      case 'endFrames':
        this.streamEnded = true;
        return;
      case 'cancelFrames':
        this.outbox = ['lost'];
        return;
      case 'closed':
        this.closed = effect.end;
        return;
      default:
        return;
    }
  }
}

const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      act: fc.constantFrom('write', 'move', 'move', 'flush'),
      who: fc.boolean(),
      bytes: fc.integer({ min: 1, max: 65_536 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ act: fc.constant('fin'), who: fc.boolean(), bytes: fc.constant(0) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      act: fc.constantFrom('rst', 'abort', 'cut', 'drop', 'wait'),
      who: fc.boolean(),
      bytes: fc.nat({ max: 400_000 }),
    }),
  },
);

test('each direction delivers a prefix in order, a clean end means all of it, and both ends close exactly once', () => {
  let clean = 0;
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const user = new End('requester');
      const node = new End('answerer');
      let now = 0;
      let cut = false;
      let tampered = false;
      user.tell({ type: 'connectedBefore' }, now);
      node.tell({ type: 'connectedBefore' }, now);

      const other = (end: End): End => (end === user ? node : user);
      /** One frame from `from`'s outbox arrives. */
      const move = (from: End): boolean => {
        const to = other(from);
        const frame = from.outbox.shift();
        if (frame === undefined) {
          if (!from.streamEnded || !to.streamEnded || from.closed !== undefined) return false;
          from.tell({ type: 'framesEnded', orderly: true, detail: '' }, now);
          return true;
        }
        if (frame === 'lost' || frame === 'over')
          to.tell({ type: 'framesEnded', orderly: frame === 'over', detail: frame }, now);
        else if ('bytes' in frame) to.tell({ type: 'dataReceived', bytes: frame.bytes }, now);
        else if ('total' in frame) to.tell({ type: 'endReceived', totalBytes: frame.total }, now);
        else to.tell({ type: 'resetReceived', reason: frame.reason, detail: '' }, now);
        return true;
      };
      const sever = (): void => {
        cut = true;
        for (const end of [user, node]) {
          end.outbox = [];
          end.tell({ type: 'framesEnded', orderly: false, detail: 'cut' }, now);
        }
      };
      for (const { act, who, bytes } of steps) {
        const end = who ? user : node;
        const { phase, sendEnded } = end.core.status();
        const readable = phase === 'open' && !sendEnded;
        if (act === 'write' && readable) {
          end.written += bytes;
          end.tell({ type: 'socketRead', bytes }, now);
        }
        if (act === 'fin' && readable) end.tell({ type: 'socketEnded' }, now);
        if (act === 'move' && !cut) move(end);
        if (act === 'flush' && end.seen === 'fin') end.tell({ type: 'socketFlushed' }, now);
        if (act === 'rst') end.tell({ type: 'socketFailed', detail: 'ECONNRESET' }, now);
        if (act === 'abort') end.tell({ type: 'abortRequested', reason: 'shutdown', detail: '' }, now);
        if (act === 'cut') sever();
        if (act === 'drop' && end.outbox.some((frame) => typeof frame === 'object' && 'bytes' in frame)) {
          tampered = true;
          end.outbox.splice(
            end.outbox.findIndex((frame) => typeof frame === 'object' && 'bytes' in frame),
            1,
          );
        }
        if (act === 'wait') now += bytes;
        for (const each of [user, node]) {
          each.tell({ type: 'timeout' }, now);
          assert.ok(each.delivered <= other(each).written, 'never more than was written');
        }
      }
      // Heal: everything moves, both ends finish what they have, time passes.
      for (const end of [user, node]) {
        const { phase, sendEnded } = end.core.status();
        if (phase === 'open' && !sendEnded) end.tell({ type: 'socketEnded' }, now);
      }
      for (let round = 0; round < 200; round += 1) {
        const moved = !cut && [user, node].map(move).some(Boolean);
        for (const end of [user, node]) if (end.seen === 'fin') end.tell({ type: 'socketFlushed' }, now);
        if (!moved && round > 100) now += 100_000;
        for (const end of [user, node]) end.tell({ type: 'timeout' }, now);
      }
      for (const end of [user, node]) {
        const { closed } = end;
        assert.ok(closed !== undefined, `closed: ${end.core.status().phase}`);
        assert.equal(end.core.nextTimeout(), undefined);
        if (end.seen === 'fin') assert.equal(end.delivered, other(end).written, 'FIN only after every byte');
        if (closed.kind === 'clean') {
          clean += 1;
          assert.equal(end.seen, 'fin');
          assert.deepEqual([closed.sentBytes, closed.receivedBytes], [end.written, end.delivered]);
        } else {
          assert.equal(end.seen, 'reset');
        }
      }
      if (tampered) assert.equal(user.closed?.kind === 'clean' && node.closed?.kind === 'clean', false);
    }),
    { numRuns: 500 },
  );
  assert.ok(clean > 50, `clean ends were reached: ${clean}`);
});
