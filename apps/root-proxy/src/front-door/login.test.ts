import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { shownLogin } from './login.ts';

const TOKEN = 'eyJh.eyJz.c2ln';

function basic(pair: string): string {
  return `Basic ${Buffer.from(pair).toString('base64')}`;
}

describe('the login of a request', () => {
  it('is a token, as bearer or as the password of a user', () => {
    assert.deepEqual(shownLogin(['Host', 'x', 'proxy-authorization', `Bearer ${TOKEN}`]), {
      kind: 'token',
      token: TOKEN,
      user: undefined,
    });
    assert.deepEqual(shownLogin(['Proxy-Authorization', basic(`alice:${TOKEN}`)]), {
      kind: 'token',
      token: TOKEN,
      user: 'alice',
    });
    assert.deepEqual(shownLogin(['Authorization', `Bearer ${TOKEN}`]), { kind: 'none' });
  });

  it('is refused when it could be read in two ways, or is none', () => {
    for (const headers of [
      ['Proxy-Authorization', `Bearer ${TOKEN}`, 'proxy-authorization', `Bearer ${TOKEN}`],
      ['Proxy-Authorization', `Bearer  ${TOKEN}`],
      ['Proxy-Authorization', `Bearer ${TOKEN} x`],
      ['Proxy-Authorization', `Bearer a=${TOKEN}`],
      ['Proxy-Authorization', 'Bearer'],
      ['Proxy-Authorization', ''],
      ['Proxy-Authorization', 'Negotiate abc'],
      ['Proxy-Authorization', basic('alice')],
      ['Proxy-Authorization', basic('alice:my password')],
    ]) {
      assert.equal(shownLogin(headers).kind, 'malformed', headers.join(' '));
    }
  });

  it('is never repeated in what is said about it', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 9, maxLength: 200 }), (secret) => {
        for (const value of [`Bearer ${secret}`, basic(`alice:${secret}`), secret]) {
          const shown = shownLogin(['Proxy-Authorization', value]);
          assert.ok(shown.kind !== 'malformed' || !shown.problem.includes(secret));
        }
      }),
    );
  });
});
