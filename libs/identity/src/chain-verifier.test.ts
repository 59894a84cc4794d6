import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createAuthority, derOfPem, memoryTlsSource } from './index.ts';
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
