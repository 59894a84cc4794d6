import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { describeIdentity, identityUri, isDomain, parseIdentity } from './identity.ts';
import type { Identity } from './identity.ts';
import { Secret } from './secret.ts';

const DOMAIN = 'xylem.internal';
const name = fc.stringMatching(/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/);
const user = fc.stringMatching(/^[a-z0-9._@-]{1,128}$/).filter((text) => text !== '.' && text !== '..');
const identity: fc.Arbitrary<Identity> = fc.oneof(
  fc.record({ kind: fc.constant('agent' as const), leaf: name, agent: name }, { noNullPrototype: true }),
  fc.record({ kind: fc.constant('proxy' as const), proxy: name }, { noNullPrototype: true }),
  fc.record({ kind: fc.constant('registry' as const), registry: name }, { noNullPrototype: true }),
  fc.record({ kind: fc.constant('user' as const), user }, { noNullPrototype: true }),
);

function isProblem(uris: readonly string[]): boolean {
  return parseIdentity(uris, DOMAIN).kind === 'problem';
}

describe('identity', () => {
  it('reads back exactly the identity that was written', () => {
    fc.assert(
      fc.property(identity, (value) => assert.deepEqual(parseIdentity([identityUri(value, DOMAIN)], DOMAIN), value)),
    );
  });

  it('accepts a URI only when it is the canonical spelling of what it read', () => {
    const near = fc
      .tuple(identity, fc.nat(), fc.string({ minLength: 0, maxLength: 3, unit: 'binary' }))
      .map(([value, at, text]) => {
        const uri = identityUri(value, DOMAIN);
        const cut = at % (uri.length + 1);
        return uri.slice(0, cut) + text + uri.slice(cut + (at % 2));
      });
    fc.assert(
      fc.property(fc.oneof(near, fc.string(), fc.webUrl()), (uri) => {
        const parsed = parseIdentity([uri], DOMAIN);
        if (parsed.kind !== 'problem') assert.equal(identityUri(parsed, DOMAIN), uri);
      }),
      { numRuns: 2_000 },
    );
  });

  for (const uri of [
    'spiffe://xylem.internal/leaf/berlin%2fagent/x/agent/a',
    'spiffe://xylem.internal/leaf/Berlin/agent/a1',
    'spiffe://XYLEM.internal/proxy/p1',
    'SPIFFE://xylem.internal/proxy/p1',
    'spiffe://xylem.internal/leaf/../agent/a1',
    'spiffe://xylem.internal/leaf/berlin/agent/a1/',
    'spiffe://xylem.internal/leaf/berlin/agent/a1\0',
    'spiffe://xylem.internal/leaf/berlin/agent/a1?x',
    'spiffe://xylem.internal//proxy/p1',
    'spiffe://xylem.internal/proxy/',
    'spiffe://xylem.internal/proxy',
    'spiffe://xylem.internal.evil/proxy/p1',
    'spiffe://xylem.internal@evil/proxy/p1',
    'spiffe://xylem.internal:443/proxy/p1',
    'spiffe://xylem.internal/user/..',
    `spiffe://xylem.internal/proxy/${'a'.repeat(64)}`,
    '',
  ]) {
    it(`refuses ${JSON.stringify(uri.slice(0, 70))}`, () => assert.ok(isProblem([uri])));
  }

  it('refuses none and two URI names', () => {
    assert.ok(isProblem([]));
    assert.ok(isProblem(['spiffe://xylem.internal/proxy/p1', 'spiffe://xylem.internal/proxy/p1']));
  });

  it('quotes foreign text without control characters in its problems', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (uri) => {
        const parsed = parseIdentity([uri], DOMAIN);
        assert.ok(parsed.kind === 'problem');
        assert.match(parsed.detail, /^[\x20-\x7e]*$/);
      }),
    );
  });

  it('never writes a name that is not valid', () => {
    assert.throws(() => identityUri({ kind: 'proxy', proxy: 'P1' }, DOMAIN), /proxy "P1" is not a name/);
    assert.throws(() => identityUri({ kind: 'agent', leaf: 'a/b', agent: 'x' }, DOMAIN), /leaf "a\/b" is not a name/);
    assert.throws(() => identityUri({ kind: 'user', user: '..' }, DOMAIN), /user ".." is not a name/);
    assert.throws(() => identityUri({ kind: 'proxy', proxy: 'p1' }, 'No Domain'), /domain "No Domain"/);
  });

  it('knows a domain from other text', () => {
    assert.ok(isDomain('xylem.internal') && isDomain('localhost'));
    assert.ok(!isDomain('') && !isDomain('a..b') && !isDomain('-a.b') && !isDomain('a.b.') && !isDomain('A.b'));
  });

  it('describes identities in one short text', () => {
    assert.equal(describeIdentity({ kind: 'agent', leaf: 'berlin', agent: 'a1' }), 'agent berlin/a1');
  });
});

describe('secret', () => {
  it('A25: prints [redacted] however it is printed', () => {
    const secret = new Secret('hunter2');
    const shown = [secret.toString(), JSON.stringify({ secret }), inspect({ secret }), String(secret)];
    for (const text of shown) {
      assert.match(text, /\[redacted\]/);
      assert.doesNotMatch(text, /hunter2/);
    }
    assert.equal(secret.reveal(), 'hunter2');
  });
});
