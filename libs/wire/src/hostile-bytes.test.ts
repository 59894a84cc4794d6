import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import * as wire from './index.ts';
import { decodeFrame } from './index.ts';

interface Codec {
  decode(bytes: Uint8Array): unknown;
  encode(message: never): { finish(): Uint8Array };
  create(): never;
}

const AREAS = { access: wire.access, admin: wire.admin, carry: wire.carry, channel: wire.channel, peer: wire.peer };
const MORE_AREAS = { registry: wire.registry, tunnel: wire.tunnel, health: wire.health, etcd: wire.etcd };

function isCodec(value: unknown): value is Codec {
  return typeof value === 'object' && value !== null && 'decode' in value && 'create' in value;
}

const CODECS = Object.entries({ ...AREAS, ...MORE_AREAS }).flatMap(([area, messages]) =>
  Object.entries(messages).flatMap(([name, codec]) => (isCodec(codec) ? [{ name: `${area}.${name}`, codec }] : [])),
);

/** How a decoder may end: with a message, or with an Error of its own. */
function decodes(decode: (bytes: Uint8Array) => unknown, bytes: Uint8Array): void {
  try {
    decode(bytes);
  } catch (error) {
    assert.ok(error instanceof Error, String(error));
    assert.ok(!(error instanceof TypeError) && !(error instanceof ReferenceError), error.stack);
  }
}

const VARINT_OF_TWENTY_BYTES = Buffer.from([...Array.from({ length: 19 }, () => 0xff), 0x01]);
const tag = (field: number, type: number): Buffer => Buffer.from([(field << 3) | type]);
const HOSTILE: readonly (readonly [what: string, bytes: Buffer])[] = [
  ['nothing', Buffer.alloc(0)],
  ['half a tag', Buffer.from([0x80])],
  ['field 0', Buffer.from([0x00, 0x00])],
  ['a varint of twenty bytes', Buffer.concat([tag(1, 0), VARINT_OF_TWENTY_BYTES])],
  ['a length past the end', Buffer.concat([tag(1, 2), Buffer.from([0xff, 0xff, 0xff, 0xff, 0x07])])],
  ['a length beyond 2^32', Buffer.concat([tag(1, 2), Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f])])],
  ['a group without end', Buffer.concat([tag(1, 3), tag(2, 3)])],
  ['the end of a group without beginning', tag(1, 4)],
  ['wire type 6', tag(1, 6)],
  ['wire type 7', tag(1, 7)],
  [
    'every field as every type',
    Buffer.concat([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11].flatMap((field) => [tag(field, 0), Buffer.from([1])])),
  ],
  ['text that is not UTF-8', Buffer.concat([tag(1, 2), Buffer.from([3, 0xff, 0xfe, 0x00])])],
  [
    '__proto__ as a key',
    Buffer.concat([tag(1, 2), Buffer.from([13, 0x0a, 9]), Buffer.from('__proto__'), Buffer.from([0x12, 0])]),
  ],
];

for (const { name, codec } of CODECS) {
  test(`A7: ${name} survives hostile bytes`, () => {
    const decode = (bytes: Uint8Array): unknown => codec.decode(bytes);
    for (const [, bytes] of HOSTILE) decodes(decode, bytes);
    for (let round = 0; round < 200; round += 1) decodes(decode, randomBytes(round));
    const honest = codec.encode(codec.create()).finish();
    for (let cut = 0; cut < honest.length; cut += 1) decodes(decode, honest.subarray(0, cut));
    assert.equal(Reflect.get({}, 'polluted'), undefined);
  });
}

test('A7: groups ten thousand deep, and a million repeated fields, end in time and in little memory', () => {
  const deep = Buffer.alloc(10_000, tag(15, 3));
  const wide = Buffer.alloc(2_000_000, Buffer.concat([tag(2, 2), Buffer.from([0])]));
  const before = process.memoryUsage().heapUsed;
  const startedAt = performance.now();
  for (const { codec } of CODECS.filter(({ name }) => name.startsWith('tunnel.')))
    decodes((bytes) => codec.decode(bytes), deep);
  decodes((bytes) => wire.tunnel.Snapshot.decode(bytes), wide.subarray(0, 128 * 1024));
  assert.ok(performance.now() - startedAt < 10_000);
  assert.ok(process.memoryUsage().heapUsed - before < 64 * 2 ** 20);
});

test('A7: the frame codec survives hostile bytes, and agrees with the generated one about what is a frame', () => {
  for (let round = 0; round < 5_000; round += 1) {
    const bytes = randomBytes(round % 64);
    const own = attempt(() => decodeFrame(bytes));
    const generated = attempt(() => wire.carry.Frame.decode(bytes));
    if (own !== undefined && generated !== undefined) assert.equal(own.kind?.$case, generated.kind?.$case);
  }
});

function attempt<T>(run: () => T): T | undefined {
  try {
    return run();
  } catch (error) {
    assert.ok(error instanceof Error && !(error instanceof TypeError), String(error));
    return undefined;
  }
}
