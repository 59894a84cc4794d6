import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { joinTokenText, makeJoinToken, parseJoinToken, pinOf } from './join-token.ts';
import { derOfPem, pemOfDer } from './pem.ts';

const der = fc.uint8Array({ minLength: 1, maxLength: 3_000 });

test('certificates in PEM are read back as they were written, whatever stands between them', () => {
  const between = fc.string().filter((text) => !text.includes('-----'));
  fc.assert(
    fc.property(fc.array(fc.tuple(der, between), { maxLength: 5 }), (blocks) => {
      const text = blocks.map(([bytes, noise]) => `${noise}\n${pemOfDer(bytes)}`).join('');
      const read = derOfPem(text).map((bytes) => bytes.toString('hex'));
      assert.deepEqual(
        read,
        blocks.map(([bytes]) => Buffer.from(bytes).toString('hex')),
      );
    }),
  );
});

test('no text makes reading PEM throw', () => {
  const piece = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom('-----BEGIN CERTIFICATE-----', '-----END CERTIFICATE-----', 'QUJD', '\r\n', '='.repeat(500)),
  );
  fc.assert(fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => void derOfPem(pieces.join(''))));
});

test('a token is read only as it was made: whatever is changed in it, it is another one or none', () => {
  const pins = fc.array(der, { minLength: 1, maxLength: 4 });
  const edit = fc.tuple(fc.nat(400), fc.nat(2), fc.string({ maxLength: 3, unit: 'binary' }));
  fc.assert(
    fc.property(pins, edit, (roots, [at, cut, put]) => {
      const text = joinTokenText(makeJoinToken(roots.map(pinOf))).reveal();
      const place = at % text.length;
      const changed = text.slice(0, place) + put + text.slice(place + cut);
      const read = parseJoinToken(changed);
      if (read !== undefined) assert.equal(joinTokenText(read).reveal(), changed.trim());
    }),
  );
});
