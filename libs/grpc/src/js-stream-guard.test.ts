import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answering, guardJsStreams } from './js-stream-guard.ts';

test('the streams of this version of Node can be guarded', () => {
  assert.equal(guardJsStreams(), true);
  assert.equal(guardJsStreams(), true);
});

test('a broken assertion of Node fails the request, any other error goes its way', () => {
  const thrown = (code: string) =>
    answering(() => {
      throw Object.assign(new Error('broken'), { code });
    });
  assert.equal(thrown('ERR_INTERNAL_ASSERTION').call({}), -125);
  assert.throws(() => thrown('ERR_OTHER').call({}), /broken/);
  assert.equal(answering(() => 7).call({}), 7);
});
