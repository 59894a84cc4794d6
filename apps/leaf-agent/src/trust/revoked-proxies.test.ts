import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { BACKDATE_MS, createAuthority, StatementVerifier } from '@xylem/identity';
import type { Authority } from '@xylem/identity';
import { SigningRegistry } from '../testing/registry.ts';
import { DOMAIN } from '../testing/root.ts';
import { RevokedProxies } from './revoked-proxies.ts';

const AT_MS = 1_000_000;

describe('what registries say of revoked root proxies', () => {
  let authority: Authority;
  let registry: SigningRegistry;

  before(async () => {
    authority = await createAuthority({ domain: DOMAIN });
    registry = await SigningRegistry.of(authority);
  });

  const revoked = (): RevokedProxies =>
    new RevokedProxies({
      domain: DOMAIN,
      verifier: new StatementVerifier({ domain: DOMAIN, trust: () => authority.ca }),
    });
  const list = (revision: bigint, proxies: Readonly<Record<string, number>>, epoch = 1n): string =>
    registry.revoked({ epoch, revision, proxies: new Map(Object.entries(proxies)) });
  const issued = (proxy: string, issuedAtMs: number) => ({
    uris: [`spiffe://${DOMAIN}/proxy/${proxy}`],
    notBeforeMs: issuedAtMs - BACKDATE_MS,
  });

  it('counts for certificates issued before, and for no later ones', async () => {
    const told = revoked();
    assert.deepEqual(await told.told(list(5n, { p1: AT_MS })), { kind: 'believed', proxies: ['p1'] });
    assert.match(told.refusal(issued('p1', AT_MS - 1)) ?? '', /p1 was revoked/);
    assert.equal(told.refusal(issued('p1', AT_MS)), undefined, 'it joined again');
    assert.equal(told.refusal(issued('p2', AT_MS - 1)), undefined);
  });

  it('is never taken back by an older or a repeated list, only by a newer one', async () => {
    const told = revoked();
    const old = list(4n, {});
    const now = list(5n, { p1: AT_MS });
    await told.told(now);
    for (const replay of [old, now, list(5n, {}), list(9n, {}, 0n)]) {
      assert.deepEqual(await told.told(replay), { kind: 'believed', proxies: [] });
      assert.notEqual(told.refusal(issued('p1', 0)), undefined);
    }
    await told.told(list(6n, {}));
    assert.equal(told.refusal(issued('p1', 0)), undefined, 'the record has lapsed');
    await told.told(list(1n, { p1: AT_MS }, 2n));
    assert.notEqual(told.refusal(issued('p1', 0)), undefined, 'a restored store counts anew');
  });

  it('is not believed of anybody else', async () => {
    const told = revoked();
    const stranger = await SigningRegistry.of(await createAuthority({ domain: DOMAIN }));
    const forged = stranger.revoked({ epoch: 9n, revision: 9n, proxies: new Map([['p1', AT_MS]]) });
    for (const text of ['', 'a.b.c', forged]) assert.equal((await told.told(text)).kind, 'refused');
    assert.equal(told.refusal(issued('p1', 0)), undefined);
  });
});
