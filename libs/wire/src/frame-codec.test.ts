import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeFrame, encodeDataFrame, encodeFrame, FrameDecodeError, frameKind, peekFrame } from './frame-codec.ts';
import { Frame, OutcomeCode, Reason } from './gen/xylem/carry/v1/carry.ts';

const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array));
const payload = fc.oneof(
  bytes,
  fc.constantFrom(0, 1, 127, 128, 16_383, 16_384, 65_536).map((length) => Buffer.alloc(length, 7)),
);
const kind = fc.oneof(
  payload.map((value) => ({ $case: 'data' as const, value })),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((totalBytes) => ({ $case: 'end' as const, value: { totalBytes } })),
  fc
    .record({ reason: fc.constantFrom(...Object.values(Reason)), detail: fc.string() })
    .map((value) => ({ $case: 'reset' as const, value })),
  fc
    .record({
      code: fc.constantFrom(...Object.values(OutcomeCode)),
      detail: fc.string(),
      via: fc.array(fc.string(), { maxLength: 4 }),
    })
    .map((value) => ({ $case: 'outcome' as const, value })),
  fc
    .record({
      target: fc.record({ leaf: fc.string(), node: fc.string(), port: fc.nat(65_535) }),
      hops: fc.nat(3),
      traceparent: fc.string(),
      timeoutMs: fc.nat(),
      user: fc.string(),
    })
    .map((value) => ({ $case: 'open' as const, value })),
);
const frame: fc.Arbitrary<Frame> = fc.record({ kind: fc.option(kind, { nil: undefined }) });

function generatedEncode(message: Frame): Buffer {
  return Buffer.from(Frame.encode(message).finish());
}

/** Both decoders' answers in one shape: views against copies, and absent against empty unknown fields. */
function normal(message: Frame): unknown {
  const { _unknownFields: unknown = {}, ...rest } = message;
  const fields = Object.entries(unknown).map(([tag, values]) => [tag, values.map((value) => Buffer.from(value))]);
  if (rest.kind?.$case !== 'data') return { ...rest, fields };
  return { kind: { $case: 'data', value: Buffer.from(rest.kind.value) }, fields };
}

function field(number: number, value: Uint8Array): Buffer {
  assert.ok(value.length < 128);
  return Buffer.concat([Buffer.from([(number << 3) | 2, value.length]), value]);
}

test('encodes every frame to the same bytes as the generated codec', () => {
  fc.assert(fc.property(frame, (message) => assert.deepEqual(encodeFrame(message), generatedEncode(message))));
});

test('decodes what the generated codec encodes, and the other way round', () => {
  fc.assert(
    fc.property(frame, (message) => {
      const encoded = generatedEncode(message);
      assert.deepEqual(normal(decodeFrame(encoded)), normal(Frame.decode(encoded)));
      assert.deepEqual(normal(Frame.decode(encodeFrame(message))), normal(Frame.decode(encoded)));
    }),
  );
});

test('reads several fields in any order as the generated codec does: the last member of the oneof wins', () => {
  const part = fc.oneof(
    frame.map(generatedEncode),
    bytes.filter((value) => value.length < 128).map((value) => field(15, value)),
    fc.nat(127).map((value) => Buffer.from([13 << 3, value])),
    fc.constant(Buffer.from([(12 << 3) | 5, 1, 2, 3, 4])),
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 6 }), (parts) => {
      const encoded = Buffer.concat(parts);
      const decoded = decodeFrame(encoded);
      assert.deepEqual(normal(decoded), normal(Frame.decode(encoded)));
      assert.equal(peekFrame(encoded).kind, decoded.kind?.$case);
      assert.equal(frameKind(encoded), decoded.kind?.$case);
    }),
  );
});

test('keeps unknown fields of a newer peer through decode and encode', () => {
  const encoded = Buffer.concat([
    generatedEncode({ kind: { $case: 'data', value: Buffer.from('x') } }),
    field(9, Buffer.from('new')),
  ]);
  assert.deepEqual(encodeFrame(decodeFrame(encoded)), encoded);
});

test('does not copy the payload of a data frame', () => {
  const encoded = encodeDataFrame(Buffer.alloc(1024, 1));
  const { kind: decoded } = decodeFrame(encoded);
  assert.equal(decoded?.$case, 'data');
  encoded[encoded.length - 1] = 99;
  assert.equal(decoded.value[1023], 99);
});

test('tells payload bytes of an undecoded frame', () => {
  for (const length of [0, 1, 127, 128, 16_384, 65_536]) {
    assert.deepEqual(peekFrame(encodeDataFrame(Buffer.alloc(length))), { kind: 'data', payloadBytes: length });
  }
  const end = encodeFrame({ kind: { $case: 'end', value: { totalBytes: 5n } } });
  assert.deepEqual(peekFrame(end), { kind: 'end', payloadBytes: 0 });
  assert.deepEqual(peekFrame(Buffer.alloc(0)), { kind: undefined, payloadBytes: 0 });
});

test('refuses every truncation of a frame with a typed error, or reads it as the generated codec does', () => {
  fc.assert(
    fc.property(frame, fc.nat(), (message, cut) => {
      const whole = generatedEncode(message);
      if (whole.length === 0) return;
      sameOrRefused(whole.subarray(0, cut % whole.length));
    }),
  );
});

test('never accepts arbitrary bytes that the generated codec refuses', () => {
  const hostile = fc.oneof(
    bytes,
    bytes.map((tail) => Buffer.concat([Buffer.from([0x0a]), tail])),
    fc.constantFrom(
      Buffer.from([0x0a]),
      Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
      Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
      Buffer.from([0x0a, 0x05, 1, 2]),
      Buffer.from([0x12, 0x7f, 0x08]),
      Buffer.from([0x00, 0x00]),
      Buffer.from([0x0c]),
      Buffer.from([0x0b, 0x0b, 0x0b]),
      // open whose own fields end at field number 0, before its bytes do.
      Buffer.from([0x2a, 6, 0x8b, 0, 0x3c, 0, 5, 0]),
    ),
  );
  fc.assert(fc.property(hostile, sameOrRefused), { numRuns: 2_000 });
});

test('reads a length written in more bytes than needed', () => {
  const encoded = Buffer.from([0x0a, 0x82, 0x80, 0x00, 7, 8]);
  assert.deepEqual(normal(decodeFrame(encoded)), normal(Frame.decode(encoded)));
});

test('a message inside a frame cannot read past its own length', () => {
  // reset of 2 bytes whose detail claims 4: the generated decoder would read into the data field that follows.
  const encoded = Buffer.concat([Buffer.from([0x1a, 2, 0x12, 4]), field(1, Buffer.from('ab'))]);
  assert.throws(() => decodeFrame(encoded), FrameDecodeError);
});

/** Ours may be stricter than the generated decoder, never laxer, and fails in one way only. */
function sameOrRefused(encoded: Buffer): void {
  let decoded: Frame;
  try {
    decoded = decodeFrame(encoded);
  } catch (error) {
    assert.ok(error instanceof FrameDecodeError, String(error));
    return;
  }
  assert.deepEqual(normal(decoded), normal(Frame.decode(encoded)));
}
