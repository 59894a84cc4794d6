import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { SplicedConnection } from './splice.ts';
import { DEFAULT_SPLICE_CONFIG } from './types.ts';
import type { Side, SpliceConfig, SpliceEffect, SpliceEvent } from './types.ts';

function hop(config: Partial<SpliceConfig> = {}) {
  const core = new SplicedConnection({ ...DEFAULT_SPLICE_CONFIG, ...config }, 0);
  const effects = (now: number, ...events: SpliceEvent[]): SpliceEffect[] => {
    const all: SpliceEffect[] = [];
    for (const event of events) {
      core.handle(event, now);
      for (let effect = core.pollEffect(); effect !== undefined; effect = core.pollEffect()) all.push(effect);
    }
    return all;
  };
  return { core, effects };
}

const data = (from: Side, bytes = 10): SpliceEvent => ({ type: 'dataReceived', from, bytes });
const end = (from: Side): SpliceEvent => ({ type: 'endReceived', from });
const over = (side: Side, orderly: boolean): SpliceEvent => ({ type: 'framesEnded', side, orderly, detail: 'gone' });

describe('a hop in the middle', () => {
  test('forwards both ways until both have ended, and closes when both streams are over', () => {
    const { effects } = hop();
    assert.deepEqual(effects(0, data('requester'), end('requester'), data('answerer', 65_536)), [
      { type: 'forward', to: 'answerer' },
      { type: 'forward', to: 'answerer' },
      { type: 'forward', to: 'requester' },
    ]);
    assert.deepEqual(effects(0, end('answerer')), [
      { type: 'forward', to: 'requester' },
      { type: 'endFrames', side: 'requester' },
      { type: 'endFrames', side: 'answerer' },
    ]);
    assert.deepEqual(effects(0, over('answerer', true)), []);
    assert.deepEqual(effects(0, over('requester', true)), [
      { type: 'closed', end: { kind: 'clean', reason: undefined, detail: '', upBytes: 10, downBytes: 65_536 } },
    ]);
  });

  for (const [lost, kept] of [
    ['requester', 'answerer'],
    ['answerer', 'requester'],
  ] as const) {
    test(`turns the loss of the ${lost} into a reset of the ${kept}, never an end`, () => {
      for (const orderly of [true, false]) {
        for (const before of [[], [end('requester')], [end('answerer')]]) {
          const { effects } = hop();
          effects(0, ...before);
          const [reset, finish, ...rest] = effects(0, over(lost, orderly));
          assert.deepEqual(reset?.type === 'sendReset' && [reset.to, reset.reason], [kept, 'tunnel-lost']);
          assert.deepEqual(finish, { type: 'endFrames', side: kept });
          assert.deepEqual(rest, []);
          const [closed] = effects(0, over(kept, true));
          assert.equal(closed?.type === 'closed' && closed.end.reason, 'tunnel-lost');
        }
      }
    });

    test(`passes a reset of the ${lost} on with its reason`, () => {
      const { effects } = hop();
      const [reset] = effects(0, { type: 'resetReceived', from: lost, reason: 'data-loss', detail: '3 bytes' });
      assert.deepEqual(reset, { type: 'sendReset', to: kept, reason: 'data-loss', detail: '3 bytes' });
    });
  }

  for (const [what, events] of [
    ['data after the end', [end('requester'), data('requester')]],
    ['a second end', [end('answerer'), end('answerer')]],
    ['a frame above 64 KiB', [data('answerer', 65_537)]],
    ['an empty data frame', [data('answerer', 0)]],
    ['a frame that must not come', [{ type: 'frameInvalid', from: 'requester', detail: 'open' }]],
  ] as const) {
    test(`resets both sides on ${what}`, () => {
      const { effects } = hop();
      const resets = effects(0, ...events).filter((effect) => effect.type === 'sendReset');
      assert.deepEqual(
        resets.map(({ to, reason }) => [to, reason]),
        [
          ['requester', 'protocol-error'],
          ['answerer', 'protocol-error'],
        ],
      );
      assert.deepEqual(effects(0, data('requester'), data('answerer')), [], 'nothing is forwarded any more');
    });
  }

  test('cancels what is not over in time after a reset', () => {
    const { core, effects } = hop({ resetTimeoutMs: 100 });
    effects(0, { type: 'abortRequested', reason: 'shutdown', detail: '' }, over('requester', true));
    assert.equal(core.nextTimeout(), 100);
    assert.deepEqual(
      effects(100, { type: 'timeout' }).map((effect) => effect.type),
      ['cancelFrames', 'closed'],
    );
    assert.deepEqual(effects(200, { type: 'timeout' }, over('answerer', false)), []);
  });

  test('resets an idle connection, and one that is not flushed in time', () => {
    const idle = hop({ idleTimeoutMs: 100 });
    assert.equal(
      idle
        .effects(100, { type: 'timeout' })
        .some((effect) => effect.type === 'sendReset' && effect.reason === 'timeout'),
      true,
    );
    const slow = hop({ flushTimeoutMs: 100 });
    slow.effects(0, end('requester'), end('answerer'));
    assert.equal(
      slow
        .effects(100, { type: 'timeout' })
        .some((effect) => effect.type === 'sendReset' && effect.reason === 'timeout'),
      true,
    );
  });
});
