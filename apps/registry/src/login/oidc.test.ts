import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { before, describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import { loginNonce, makePrivateKey, requestFor, requestedKeyFingerprint } from '@xylem/identity';
import { SignJWT, exportJWK, exportSPKI, generateKeyPair } from 'jose';
import type { CryptoKey, JWK, JWTPayload } from 'jose';
import { OidcVerifier } from './oidc.ts';
import type { OidcSettings, OidcVerdict } from './oidc.ts';

const SALT = 's'.repeat(43);

/** An OpenID provider whose keys, and answers for keys, are the test's. */
interface Provider {
  readonly issuer: string;
  keys: JWK[];
  /** What is answered for keys instead. */
  instead: { readonly status: number; readonly text: string } | undefined;
}

async function openProvider(t: TestContext): Promise<Provider> {
  const provider: { issuer: string } & Omit<Provider, 'issuer'> = { issuer: '', keys: [], instead: undefined };
  const server = createServer(({ url }, response) => {
    const { issuer, keys, instead } = provider;
    const answer = url === '/jwks' ? { keys } : { issuer, jwks_uri: `${issuer}/jwks` };
    const { status, text } = (url === '/jwks' ? instead : undefined) ?? { status: 200, text: JSON.stringify(answer) };
    response.writeHead(status, { 'content-type': 'application/json' }).end(text);
  });
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  t.after(() => server.close());
  const bound = server.address();
  assert.ok(bound !== null && typeof bound === 'object');
  provider.issuer = `http://127.0.0.1:${bound.port}`;
  return provider;
}

interface Key {
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
  readonly jwk: JWK;
}

async function makeKey(kid: string): Promise<Key> {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
  return { privateKey, publicKey, jwk: { ...(await exportJWK(publicKey)), kid, alg: 'ES256', use: 'sig' } };
}

describe('an ID token', { timeout: 30_000 }, () => {
  let request = '';
  let nonce = '';
  before(async () => {
    ({ request } = await requestFor(await makePrivateKey()));
    nonce = loginNonce(await requestedKeyFingerprint(request), SALT);
  });

  async function open(t: TestContext, change: Partial<OidcSettings> = {}) {
    const provider = await openProvider(t);
    const key = await makeKey('k1');
    provider.keys = [key.jwk];
    const verifier = new OidcVerifier({
      issuer: provider.issuer,
      clientId: 'xylem',
      userClaim: 'email',
      groupsClaim: undefined,
      scopes: ['openid'],
      ...change,
    });
    const claimsOf = (claims: JWTPayload): JWTPayload => {
      const now = Math.floor(Date.now() / 1_000);
      const usual = { iss: provider.issuer, aud: 'xylem', sub: 's', iat: now, exp: now + 60, nonce };
      return { ...usual, email: 'carol@example.com', email_verified: true, ...claims };
    };
    const sign = (claims: JWTPayload, by: Key = key, kid = 'k1'): Promise<string> =>
      new SignJWT(claimsOf(claims)).setProtectedHeader({ alg: 'ES256', kid }).sign(by.privateKey);
    const verify = async (claims: JWTPayload, by?: Key, kid?: string): Promise<OidcVerdict> =>
      verifier.verify(await sign(claims, by, kid), SALT, request);
    return { provider, key, verifier, sign, verify, claimsOf };
  }

  it('names somebody by an address only when the provider says that it verified it', async (t) => {
    const { verify } = await open(t);
    for (const [verified, kind] of [
      [true, 'identity'],
      ['true', 'identity'],
      [undefined, 'refused'],
      [false, 'refused'],
      ['false', 'refused'],
      [1, 'refused'],
      ['', 'refused'],
      [null, 'refused'],
    ] as const) {
      assert.equal((await verify({ email_verified: verified })).kind, kind, String(verified));
    }
  });

  it('needs no such word for a claim that the provider gives out itself', async (t) => {
    const { verify } = await open(t, { userClaim: 'preferred_username' });
    const claims = { preferred_username: 'carol', email_verified: undefined };
    assert.equal((await verify(claims)).kind, 'identity');
    assert.equal((await verify({ ...claims, preferred_username_verified: 'false' })).kind, 'refused');
  });

  it('names nobody with letters that only look like another name in lower case', async (t) => {
    const { verify } = await open(t);
    const verdict = await verify({ email: 'Carol@Example.com' });
    assert.ok(verdict.kind === 'identity' && verdict.user === 'carol@example.com');
    // U+212A, the Kelvin sign, is a `k` in lower case.
    for (const email of ['\u212Aate@example.com', 'k\u0131m@example.com', 'İ@example.com']) {
      assert.equal((await verify({ email })).kind, 'refused', email);
    }
  });

  it('is refused when it is signed with the public key as a secret, by another key, or by nobody', async (t) => {
    const { verify, verifier, key, claimsOf } = await open(t);
    const secret = new TextEncoder().encode(await exportSPKI(key.publicKey));
    for (const alg of ['HS256', 'HS512']) {
      const forged = await new SignJWT(claimsOf({})).setProtectedHeader({ alg, kid: 'k1' }).sign(secret);
      assert.equal((await verifier.verify(forged, SALT, request)).kind, 'refused', alg);
    }
    assert.equal((await verify({}, await makeKey('k1'))).kind, 'refused');
    const own = await makeKey('k1');
    const embedded = await new SignJWT(claimsOf({}))
      .setProtectedHeader({ alg: 'ES256', jwk: own.jwk })
      .sign(own.privateKey);
    assert.equal((await verifier.verify(embedded, SALT, request)).kind, 'refused');
  });

  it('is good for one key and one salt', async (t) => {
    const { verifier, sign } = await open(t);
    const token = await sign({});
    const other = await requestFor(await makePrivateKey());
    assert.equal((await verifier.verify(token, SALT, other.request)).kind, 'refused');
    assert.equal((await verifier.verify(token, 't'.repeat(43), request)).kind, 'refused');
    assert.equal((await verifier.verify(token, SALT, 'no request')).kind, 'refused');
    assert.equal((await verifier.verify(token, SALT, request)).kind, 'identity');
  });

  it('is put off, not refused, while the provider serves its keys wrongly', async (t) => {
    const { provider, verify } = await open(t);
    for (const instead of [
      { status: 500, text: 'oops' },
      { status: 200, text: '<html>' },
      { status: 200, text: '{"keys":1}' },
      { status: 302, text: '' },
    ]) {
      provider.instead = instead;
      assert.equal((await verify({})).kind, 'unavailable', JSON.stringify(instead));
    }
    provider.instead = undefined;
    assert.equal((await verify({})).kind, 'identity');
  });

  it('may be signed with any of the keys that are served', async (t) => {
    const { provider, key, verify } = await open(t);
    const next = await makeKey('k2');
    provider.keys = [next.jwk, key.jwk];
    assert.equal((await verify({}, next, 'k2')).kind, 'identity');
    assert.equal((await verify({}, key, 'k1')).kind, 'identity');
    assert.equal((await verify({}, key, 'k2')).kind, 'refused');
  });
});
