import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { urisOfSubjectAltName } from './peer.ts';

test('reads the URIs among other names, in order', () => {
  const text = 'DNS:a.example, URI:spiffe://x/a, IP Address:127.0.0.1, URI:spiffe://x/b, email:e@x';
  assert.deepEqual(urisOfSubjectAltName(text), ['spiffe://x/a', 'spiffe://x/b']);
  assert.deepEqual(urisOfSubjectAltName(''), []);
});

test('a quoted value is one value, whatever is in it', () => {
  const evil = 'http://a/, URI:spiffe://x/proxy/p1';
  assert.deepEqual(urisOfSubjectAltName(`DNS:${JSON.stringify(evil)}, URI:${JSON.stringify(evil)}`), [evil]);
});

test('any list of URIs survives the way through text', () => {
  // Node quotes what contains one of these, and everything that does not print (IsSafeAltName in crypto_x509.cc).
  const quoted = (uri: string): string => (/^[^\\",'\x00-\x1f\x7f-\uffff]*$/.test(uri) ? uri : JSON.stringify(uri));
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'binary' }), { minLength: 1, maxLength: 4 }), (uris) => {
      const text = uris.map((uri) => `URI:${quoted(uri)}`).join(', ');
      assert.deepEqual(urisOfSubjectAltName(text), uris);
    }),
  );
});

test('text outside the grammar gives no URI at all', () => {
  const good = 'URI:spiffe://x/proxy/p1';
  for (const text of [
    `${good},URI:spiffe://x/b`,
    `${good}, URI:a,b`,
    `${good}, URI:"open`,
    `${good}, URI:"a" b`,
    `${good}, nonsense`,
    `${good}, URI:a"b`,
    `${good}, URI:"\\x"`,
    `, ${good}`,
  ]) {
    assert.deepEqual(urisOfSubjectAltName(text), [], text);
  }
});
