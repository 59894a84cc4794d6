import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FrameMeter } from './frame-meter.ts';

function frame(type: number, payload = 0, flags = 0): Buffer {
  const bytes = Buffer.alloc(9 + payload, 0xff);
  bytes.writeUIntBE(payload, 0, 3);
  bytes.writeUInt8(type, 3);
  bytes.writeUInt8(flags, 4);
  bytes.writeUInt32BE(1, 5);
  return bytes;
}

const PING = 0x6;
const SETTINGS = 0x4;

test('names the kind of frame that floods, once it is more than allowed within ten seconds', () => {
  const meter = new FrameMeter({ preface: false });
  for (let index = 0; index < 100; index += 1) assert.equal(meter.observe(frame(SETTINGS, 6), 5), undefined);
  assert.equal(meter.observe(frame(0x0, 16_384), 6), undefined, 'data is what the connection is for');
  assert.deepEqual(meter.observe(frame(SETTINGS, 6), 9_999), { frame: 'SETTINGS', count: 101 });
});

test('as many in the next ten seconds are no flood', () => {
  const meter = new FrameMeter({ preface: false });
  for (let round = 0; round < 5; round += 1)
    for (let index = 0; index < 100; index += 1)
      assert.equal(meter.observe(frame(SETTINGS), round * 10_000), undefined);
});

test('empty data is counted unless it ends its stream; a push is never allowed', () => {
  const meter = new FrameMeter({ preface: false });
  for (let index = 0; index < 5_000; index += 1) assert.equal(meter.observe(frame(0x0, 0, 0x1), 0), undefined);
  const floods = Array.from({ length: 1_001 }, () => meter.observe(frame(0x0), 0));
  assert.deepEqual(floods.at(-1), { frame: 'empty DATA', count: 1_001 });
  assert.deepEqual(meter.observe(frame(0x5, 4), 0), { frame: 'PUSH_PROMISE', count: 1 });
});

test('finds the frames however the bytes are cut', () => {
  const kinds = fc.constantFrom(0x0, 0x1, 0x3, SETTINGS, PING, 0x8);
  const frames = fc.array(fc.record({ type: kinds, payload: fc.nat(40) }), { minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(
      frames,
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }),
      fc.boolean(),
      (list, cuts, preface) => {
        const pushed = frame(0x5, 3);
        const bytes = Buffer.concat([
          ...(preface ? [Buffer.alloc(24, 'P')] : []),
          ...list.map(({ type, payload }) => frame(type, payload)),
          pushed,
        ]);
        const meter = new FrameMeter({ preface });
        let found = 0;
        for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
          const size = cuts[turn % cuts.length] ?? 1;
          if (meter.observe(bytes.subarray(at, at + size), 0) !== undefined) found += 1;
          at += size;
        }
        assert.equal(found, 1);
      },
    ),
  );
});
