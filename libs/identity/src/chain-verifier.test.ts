import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAuthority, derOfPem, memoryTlsSource, pemOfDer } from './index.ts';
import { forge, forgeRoot } from './testing/forged.ts';
import type { Identity } from './index.ts';

const ALICE: Identity = { kind: 'user', user: 'alice' };
const DAY_MS = 86_400_000;

test('a source verifies chains by its own trust and domain, as they are now', async () => {
  const authority = await createAuthority({ domain: 'one.internal' });
  const proxy = await authority.issue({ kind: 'proxy', proxy: 'p1' }, DAY_MS);
  const source = memoryTlsSource({ ca: proxy.ca, cert: proxy.cert, key: proxy.key.reveal() });
  const alice = await authority.issue(ALICE, DAY_MS);
  source.verify(derOfPem(alice.cert), 'client');
  assert.throws(() => source.verify(derOfPem(alice.cert), 'server'), /not one for a server/);
  source.verify(derOfPem(proxy.cert), 'server');
  const next = await createAuthority({ domain: 'one.internal' });
  const other = await next.issue(ALICE, DAY_MS);
  assert.throws(() => source.verify(derOfPem(other.cert), 'client'), /root that is trusted/);
  source.replace({ ca: `${proxy.ca}${next.ca}`, cert: proxy.cert, key: proxy.key.reveal() });
  source.verify(derOfPem(other.cert), 'client');
  assert.throws(() => source.verify([], 'client'), /no certificate/);
});

test('a chain of another domain is refused, though the authority is trusted', async () => {
  const one = await createAuthority({ domain: 'one.internal' });
  const two = await createAuthority({ domain: 'two.internal' });
  const own = await one.issue({ kind: 'proxy', proxy: 'p1' }, DAY_MS);
  const source = memoryTlsSource({ ca: `${one.ca}${two.ca}`, cert: own.cert, key: own.key.reveal() });
  const alice = await two.issue(ALICE, DAY_MS);
  assert.throws(() => source.verify(derOfPem(alice.cert), 'client'), /two\.internal/);
});

test('who holds the certificate of an authority, or of two identities, belongs to no domain and verifies nobody', async () => {
  const anchor = await forgeRoot();
  const ca = pemOfDer(new Uint8Array(anchor.certificate.rawData));
  const { der: peer } = await forge(anchor);
  const name = { type: 'url' as const, value: 'spiffe://xylem.internal/proxy/p1' };
  for (const wish of [{ names: [name], ca: true }, { names: [name, name] }, { names: [] }]) {
    const { der, key } = await forge(anchor, wish);
    const source = memoryTlsSource({ ca, cert: pemOfDer(der), key });
    assert.throws(() => source.verify([peer], 'client'), /does not belong to the trust domain/);
  }
});
