import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StatementSigner, StatementVerifier, createAuthority } from '../index.ts';
import type { TlsMaterial } from '../index.ts';

const DOMAIN = 'xylem.internal';
const HOUR_MS = 3_600_000;
const TOKEN = { user: 'alice@example.com', domain: DOMAIN, login: '0123456789abcdef' };

const authority = await createAuthority({ domain: DOMAIN });
const registry = await materialOf('r1', 24 * HOUR_MS);

async function materialOf(name: string, ttlMs: number): Promise<TlsMaterial> {
  const { ca, cert, key } = await authority.issue({ kind: 'registry', registry: name }, ttlMs);
  return { ca, cert, key: key.reveal() };
}

function verifierAt(nowMs: number): StatementVerifier {
  return new StatementVerifier({ domain: DOMAIN, trust: () => authority.ca, now: () => nowMs });
}

describe('an access token', () => {
  const signer = new StatementSigner({ domain: DOMAIN, current: () => registry });
  const text = signer.accessToken(TOKEN, 12 * HOUR_MS);

  it('says who logged in, as long as it lives', async () => {
    const verdict = await verifierAt(Date.now()).accessToken(text);
    assert.ok(verdict.kind === 'verified');
    assert.deepEqual(verdict.content, TOKEN);
    assert.equal((verdict.expiresAtMs ?? 0) - verdict.issuedAtMs, 12 * HOUR_MS);
    assert.equal((await verifierAt(Date.now() + 11 * HOUR_MS).accessToken(text)).kind, 'verified');
    assert.match(
      JSON.stringify(await verifierAt(Date.now() + 13 * HOUR_MS).accessToken(text)),
      /expired 3[0-9]{3} s ago/,
    );
  });

  it('fits into a request of the front door', () => {
    assert.ok(text.length < 4_096, `${text.length} characters`);
  });

  it('is no other statement, and no other is one', async () => {
    const verifier = verifierAt(Date.now());
    assert.equal((await verifier.grant(text)).kind, 'refused');
    assert.equal((await verifier.standingGrant(text)).kind, 'refused');
    const membership = signer.membership({ epoch: 1n, revision: 1n, sha256: '0'.repeat(64) });
    assert.equal((await verifier.accessToken(membership)).kind, 'refused');
  });

  it('counts in its own domain only', async () => {
    const elsewhere = signer.accessToken({ ...TOKEN, domain: 'other.internal' }, HOUR_MS);
    assert.match(JSON.stringify(await verifierAt(Date.now()).accessToken(elsewhere)), /another domain/);
  });

  it('ends with the certificate that signed it', async () => {
    const short = await materialOf('r2', HOUR_MS);
    const signed = new StatementSigner({ domain: DOMAIN, current: () => short }).accessToken(TOKEN, 12 * HOUR_MS);
    assert.equal((await verifierAt(Date.now()).accessToken(signed)).kind, 'verified');
    assert.match(
      JSON.stringify(await verifierAt(Date.now() + 2 * HOUR_MS).accessToken(signed)),
      /certificate has expired/,
    );
  });
});
