import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { End, Frame, Open, Outcome, Reset } from './gen/xylem/carry/v1/carry.ts';

/**
 * Codec of carry.v1.Frame. Data frames are written and read by hand, because the generated codec copies the payload
 * several times per hop; every other frame takes the generated code. The bytes are the same as the generated codec's.
 *
 * It is stricter than the generated decoder in one way: a message inside a frame cannot read past its own length, and
 * field number 0 or an end-group tag is an error instead of a silent end.
 */

/** The bytes are no Frame. The stream they came on has to be given up: nothing after them can be trusted. */
export class FrameDecodeError extends Error {
  override readonly name = 'FrameDecodeError';

  constructor(detail: string, options?: ErrorOptions) {
    super(`malformed frame: ${detail}`, options);
  }
}

export type FrameKind = NonNullable<Frame['kind']>['$case'];

/** Field number and wire type of `bytes data = 1`. */
const DATA_TAG = 0x0a;
/** A length below 2^35 takes at most five varint bytes; real frames take one to three. */
const LENGTH_VARINT_MAX = 5;
/** The buffer is not one plain data field. */
const NOT_PLAIN = -1;

const KIND_OF_FIELD: readonly (FrameKind | undefined)[] = [undefined, 'data', 'end', 'reset', 'outcome', 'open'];

/** Bytes of `value` as a varint; `value` is a buffer length, so it fits 32 bits. */
function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest > 0x7f; rest = Math.floor(rest / 128)) bytes += 1;
  return bytes;
}

/** A data frame around `payload`: one allocation, one copy. */
export function encodeDataFrame(payload: Uint8Array): Buffer {
  const header = 1 + varintBytes(payload.length);
  const buffer = Buffer.allocUnsafe(header + payload.length);
  buffer[0] = DATA_TAG;
  let rest = payload.length;
  let at = 1;
  while (rest > 0x7f) {
    buffer[at] = (rest & 0x7f) | 0x80;
    rest = Math.floor(rest / 128);
    at += 1;
  }
  buffer[at] = rest;
  buffer.set(payload, header);
  return buffer;
}

export function encodeFrame(frame: Frame): Buffer {
  const { kind } = frame;
  if (kind?.$case === 'data' && isEmpty(frame._unknownFields)) return encodeDataFrame(kind.value);
  const bytes = Frame.encode(frame).finish();
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function isEmpty(fields: Frame['_unknownFields']): boolean {
  if (fields === undefined) return true;
  for (const _ in fields) return false;
  return true;
}

/** Where the payload starts when `buffer` is one data field and nothing else, otherwise NOT_PLAIN. */
function dataStart(buffer: Uint8Array): number {
  if (buffer[0] !== DATA_TAG) return NOT_PLAIN;
  let length = 0;
  let scale = 1;
  const last = Math.min(buffer.length, 1 + LENGTH_VARINT_MAX);
  for (let at = 1; at < last; at += 1) {
    const byte = buffer[at] ?? 0;
    length += (byte & 0x7f) * scale;
    if (byte < 0x80) return at + 1 + length === buffer.length ? at + 1 : NOT_PLAIN;
    scale *= 128;
  }
  return NOT_PLAIN;
}

/**
 * Reads one frame. The payload of a data frame is a view of `buffer`, not a copy, so the buffer must not be reused.
 * @throws FrameDecodeError on anything that is not a well-formed Frame.
 */
export function decodeFrame(buffer: Buffer): Frame {
  const start = dataStart(buffer);
  if (start !== NOT_PLAIN) return { kind: { $case: 'data', value: buffer.subarray(start) } };
  try {
    return decodeAnyFrame(buffer);
  } catch (error) {
    throw asDecodeError(error);
  }
}

function decodeAnyFrame(buffer: Buffer): Frame {
  const reader = new BinaryReader(buffer);
  const unknownFields: Record<number, Uint8Array[]> = {};
  const frame: Frame = { kind: undefined, _unknownFields: unknownFields };
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    const kind = wireType === WireType.LengthDelimited ? KIND_OF_FIELD[field] : undefined;
    if (kind !== undefined) {
      frame.kind = decodeKind(kind, reader.bytes());
      continue;
    }
    // Unknown fields are kept under their tag, as the generated codec does, so that a newer peer's fields survive.
    if (wireType === WireType.EndGroup) throw new FrameDecodeError('end-group tag outside a group');
    const bytes = reader.skip(wireType, field);
    (unknownFields[((field << 3) | wireType) >>> 0] ??= []).push(bytes);
  }
  return frame;
}

function decodeKind(kind: FrameKind, bytes: Uint8Array): NonNullable<Frame['kind']> {
  switch (kind) {
    case 'data':
      return { $case: 'data', value: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength) };
    case 'end':
      return { $case: 'end', value: decodeWhole(End, bytes) };
    case 'reset':
      return { $case: 'reset', value: decodeWhole(Reset, bytes) };
    case 'outcome':
      return { $case: 'outcome', value: decodeWhole(Outcome, bytes) };
    case 'open':
      return { $case: 'open', value: decodeWhole(Open, bytes) };
  }
}

/** The generated decoders stop without a word at field number 0 and at an end-group tag. */
function decodeWhole<T>(message: { decode(reader: BinaryReader, length: number): T }, bytes: Uint8Array): T {
  const reader = new BinaryReader(bytes);
  const value = message.decode(reader, bytes.length);
  if (reader.pos !== reader.len) throw new FrameDecodeError('a message ends before its bytes do');
  return value;
}

function asDecodeError(error: unknown): FrameDecodeError {
  if (error instanceof FrameDecodeError) return error;
  const detail = error instanceof Error ? error.message : String(error);
  return new FrameDecodeError(detail, { cause: error });
}

/** What an undecoded frame is about, for a hop that forwards the bytes as they are. */
export interface FramePeek {
  /** undefined: only unknown fields. */
  readonly kind: FrameKind | undefined;
  /** Bytes of payload of a data frame, otherwise 0. */
  readonly payloadBytes: number;
}

/**
 * Looks at the tags of an undecoded frame only. A data frame as our encoder writes it costs a few byte reads.
 * @throws FrameDecodeError when the fields do not add up to the buffer.
 */
export function peekFrame(buffer: Buffer): FramePeek {
  const start = dataStart(buffer);
  if (start !== NOT_PLAIN) return { kind: 'data', payloadBytes: buffer.length - start };
  try {
    return peekAnyFrame(buffer);
  } catch (error) {
    throw asDecodeError(error);
  }
}

function peekAnyFrame(buffer: Buffer): FramePeek {
  const reader = new BinaryReader(buffer);
  let peek: FramePeek = { kind: undefined, payloadBytes: 0 };
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    const kind = wireType === WireType.LengthDelimited ? KIND_OF_FIELD[field] : undefined;
    if (kind === undefined) {
      if (wireType === WireType.EndGroup) throw new FrameDecodeError('end-group tag outside a group');
      reader.skip(wireType, field);
      continue;
    }
    const { length } = reader.bytes();
    // The last member of a oneof wins.
    peek = { kind, payloadBytes: kind === 'data' ? length : 0 };
  }
  return peek;
}

/** The kind of an undecoded frame; see peekFrame. */
export function frameKind(buffer: Buffer): FrameKind | undefined {
  return peekFrame(buffer).kind;
}
