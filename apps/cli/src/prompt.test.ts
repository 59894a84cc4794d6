import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { CommandError } from './exit.ts';
import { askSecret, askYes } from './prompt.ts';

/** A terminal that somebody types into; tells whether it shows what is typed. */
class Typist extends PassThrough {
  readonly isTTY = true;
  raw = false;

  setRawMode(raw: boolean): void {
    this.raw = raw;
  }
}

test('a secret is what was typed, corrections included, and is shown nowhere', async () => {
  const keyboard = new Typist();
  const shown: string[] = [];
  const asked = askSecret('password', (text) => shown.push(text), keyboard);
  assert.equal(keyboard.raw, true);
  for (const keys of ['corr', 'ext\u007f\u007f', 'ct hörse', '\r']) keyboard.write(keys);
  assert.equal((await asked).reveal(), 'correct hörse');
  assert.equal(keyboard.raw, false);
  assert.deepEqual(shown, ['password: ', '\n']);
});

test('two questions can be asked one after the other', async () => {
  const keyboard = new Typist();
  const first = askSecret('password', () => undefined, keyboard);
  keyboard.write('one\r');
  assert.equal((await first).reveal(), 'one');
  const second = askSecret('again', () => undefined, keyboard);
  keyboard.write('two\r');
  assert.equal((await second).reveal(), 'two');
});

test('an interrupted or empty secret is none, and the terminal is left as it was', async () => {
  for (const keys of ['abc\u0003', '\r']) {
    const keyboard = new Typist();
    const asked = askSecret('password', () => undefined, keyboard);
    keyboard.write(keys);
    await assert.rejects(asked, CommandError);
    assert.equal(keyboard.raw, false);
  }
});

test('only yes is yes', async () => {
  for (const [typed, expected] of [
    ['yes\n', true],
    ['YES \n', true],
    ['y\n', false],
    ['\n', false],
  ] as const) {
    const keyboard = new Typist();
    const asked = askYes('sure?', () => undefined, keyboard);
    keyboard.write(typed);
    assert.equal(await asked, expected, typed);
  }
});
