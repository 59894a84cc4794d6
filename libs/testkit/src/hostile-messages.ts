import { randomBytes, randomInt } from 'node:crypto';

/** One message that no honest peer sends: as bytes, with what is wrong about it. */
export interface HostileMessage {
  readonly what: string;
  readonly bytes: Buffer;
}

/** Wire types of protobuf. */
const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const GROUP_START = 3;
const GROUP_END = 4;
const FIXED32 = 5;

const FIELDS = Array.from({ length: 20 }, (_none, index) => index + 1);
const DEEP = 10_000;
const WIDE = 20_000;

const tag = (field: number, type: number): Buffer => varint(BigInt(field * 8 + type));

function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  return Buffer.from([...bytes, Number(rest)]);
}

function text(field: number, value: string | Buffer): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([tag(field, LENGTH), varint(BigInt(bytes.length)), bytes]);
}

const everyField = (one: (field: number) => Buffer): Buffer => Buffer.concat(FIELDS.map(one));

/** A message in a message in a message, each in its first field. */
function nested(depth: number): Buffer {
  let inner: Buffer = Buffer.alloc(0);
  for (let level = 0; level < depth; level += 1) inner = text(1, inner);
  return inner;
}

/** Each kind of malformed message there is, and well-formed ones that say what nobody should believe. Deterministic. */
export const HOSTILE_MESSAGES: readonly HostileMessage[] = [
  { what: 'nothing', bytes: Buffer.alloc(0) },
  { what: 'half a tag', bytes: Buffer.from([0x80]) },
  { what: 'field 0', bytes: Buffer.from([0x00, 0x00]) },
  { what: 'field 2^29', bytes: Buffer.concat([varint(2n ** 32n), Buffer.from([1])]) },
  {
    what: 'a varint of twenty bytes',
    bytes: Buffer.concat([tag(1, VARINT), Buffer.alloc(19, 0xff), Buffer.from([1])]),
  },
  {
    what: 'the greatest varint everywhere',
    bytes: everyField((field) => Buffer.concat([tag(field, VARINT), varint(2n ** 64n - 1n)])),
  },
  {
    what: 'unknown enum values',
    bytes: everyField((field) => Buffer.concat([tag(field, VARINT), varint(2n ** 31n - 1n)])),
  },
  { what: 'a length past the end', bytes: Buffer.concat([tag(1, LENGTH), varint(2n ** 31n - 1n)]) },
  { what: 'a length beyond 2^32', bytes: Buffer.concat([tag(1, LENGTH), varint(2n ** 48n)]) },
  { what: 'truncated fixed numbers', bytes: Buffer.concat([tag(1, FIXED64), Buffer.alloc(3)]) },
  {
    what: 'fixed numbers everywhere',
    bytes: everyField((field) => Buffer.concat([tag(field, FIXED32), Buffer.alloc(4, 0xff)])),
  },
  {
    what: 'doubles everywhere',
    bytes: everyField((field) => Buffer.concat([tag(field, FIXED64), Buffer.alloc(8, 0xff)])),
  },
  { what: 'wire type 6', bytes: Buffer.from([0x0e, 0]) },
  { what: 'wire type 7', bytes: Buffer.from([0x0f, 0]) },
  { what: 'the end of a group without beginning', bytes: tag(1, GROUP_END) },
  { what: `groups ${DEEP} deep`, bytes: Buffer.alloc(DEEP, tag(15, GROUP_START)) },
  { what: `messages ${DEEP / 10} deep`, bytes: nested(DEEP / 10) },
  { what: `${WIDE} empty fields`, bytes: Buffer.concat(Array.from({ length: WIDE }, () => text(1, ''))) },
  { what: 'empty messages everywhere', bytes: everyField((field) => text(field, '')) },
  {
    what: 'a name of the prototype as key',
    bytes: everyField((field) => text(field, Buffer.concat([text(1, '__proto__'), text(2, 'x')]))),
  },
  {
    what: 'a constructor as key',
    bytes: everyField((field) => text(field, Buffer.concat([text(1, 'constructor'), text(2, 'x')]))),
  },
  { what: '__proto__ for every text', bytes: everyField((field) => text(field, '__proto__')) },
  { what: 'text that is not UTF-8', bytes: everyField((field) => text(field, Buffer.from([0xff, 0xfe, 0x00]))) },
  {
    what: 'line feeds and terminal sequences',
    bytes: everyField((field) => text(field, '\n{"level":"error"}\u001b]52;c;eA==\u0007\u202e')),
  },
  { what: 'paths and NUL', bytes: everyField((field) => text(field, '../../etc/passwd\0')) },
  { what: 'long texts', bytes: everyField((field) => text(field, 'x'.repeat(4_000))) },
];

/** Bytes that are nearly right: an honest message with some bytes changed, cut out, doubled or put in. */
export function mutated(honest: Buffer): Buffer {
  let bytes: Buffer = Buffer.from(honest);
  for (let changes = randomInt(1, 6); changes > 0; changes -= 1) {
    const at = randomInt(0, bytes.length + 1);
    const piece = [
      () => randomBytes(randomInt(1, 5)),
      () => Buffer.alloc(0),
      () => bytes.subarray(at, at + randomInt(1, 9)),
      () => Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f]),
    ][randomInt(0, 4)]?.();
    bytes = Buffer.concat([bytes.subarray(0, at), piece ?? Buffer.alloc(0), bytes.subarray(at + randomInt(0, 3))]);
  }
  return bytes;
}
