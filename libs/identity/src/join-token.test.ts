import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { inspect } from 'node:util';
import { joinTokenHash, joinTokenText, makeJoinToken, parseJoinToken, pinOf } from './join-token.ts';

const PIN = pinOf(Buffer.from('a root'));

describe('join token', () => {
  it('is read back as it was made, with every pin', () => {
    const made = makeJoinToken([PIN, pinOf(Buffer.from('the next root'))]);
    const read = parseJoinToken(` ${joinTokenText(made).reveal()}\n`);
    assert.ok(read !== undefined);
    assert.equal(read.secret.reveal(), made.secret.reveal());
    assert.deepEqual(read.pins, made.pins);
    assert.match(made.secret.reveal(), /^[\w-]{43}$/);
  });

  it('is different each time, and is never shown by accident', () => {
    const [one, two] = [makeJoinToken([PIN]), makeJoinToken([PIN])];
    assert.notEqual(one.secret.reveal(), two.secret.reveal());
    assert.ok(!`${inspect(one)}${JSON.stringify(one)}${String(joinTokenText(one))}`.includes(one.secret.reveal()));
  });

  it('is refused when a character is missing, added or foreign', () => {
    const text = joinTokenText(makeJoinToken([PIN])).reveal();
    const broken = [
      '',
      text.slice(1),
      text.slice(0, -1),
      `${text}x`,
      `${text},`,
      text.replace('join', 'login'),
      text.replace(/^(.{12})./, '$1\r'),
      `${text}${`,${PIN}`.repeat(4)}`,
    ];
    for (const each of broken) assert.equal(parseJoinToken(each), undefined, each);
  });

  it('is kept as the hash of the secret alone', () => {
    assert.equal(joinTokenHash('abc'), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  });

  it('needs a pin', () => {
    assert.throws(() => makeJoinToken([]), RangeError);
  });
});
