import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import {
  EnrolmentError,
  joinByToken,
  joinTokenText,
  parseJoinToken,
  renewIdentity,
  writeKeyFile,
} from '@xylem/identity';
import type { JoinAs, JoinToken, StoredIdentity } from '@xylem/identity';
import type { TokenWish } from './authority/tokens.ts';
import { STORES, authorityRegistry, folder, sameStore } from './testing/world.ts';
import type { TestRegistry } from './testing/world.ts';

const DOMAIN = 'xylem.internal';

async function makeToken(registry: TestRegistry, wish: Partial<TokenWish> = {}): Promise<JoinToken> {
  assert.ok(registry.authority !== undefined);
  const all = { role: 'agent', leaf: 'berlin', name: '', ttlSeconds: 0, sources: [] } as const;
  const made = await registry.authority.tokens.add({ ...all, ...wish }, 'user/admin@r1');
  const token = parseJoinToken(made.text.reveal());
  assert.ok(token !== undefined);
  return token;
}

function addresses(registry: TestRegistry): readonly [{ readonly host: string; readonly port: number }] {
  return [{ host: '127.0.0.1', port: registry.enrolPort }];
}

async function enrol(
  t: TestContext,
  registry: TestRegistry,
  token: JoinToken,
  as: JoinAs = { role: 'agent', name: 'a1' },
): Promise<{ readonly directory: string; readonly stored: StoredIdentity }> {
  const directory = join(await folder(t), 'identity');
  const stored = await joinByToken({ directory, addresses: addresses(registry), domain: DOMAIN, token, as });
  return { directory, stored };
}

for (const kind of STORES) {
  describe(`enrolment with the ${kind.name}`, () => {
    it('gives an identity for a token, and renews it', async (t) => {
      const registry = await authorityRegistry(t, 'r1', await kind.open(t));
      const { directory, stored } = await enrol(t, registry, await makeToken(registry));
      assert.equal(stored.facts.identity, 'leaf/berlin/agent/a1');
      assert.equal(stored.facts.generation, 1);
      const renewed = await renewIdentity(directory, addresses(registry));
      assert.equal(renewed.facts.generation, 2);
      assert.notEqual(renewed.material.key, stored.material.key);
    });

    it('takes a token once', async (t) => {
      const registry = await authorityRegistry(t, 'r1', await kind.open(t));
      const token = await makeToken(registry);
      await enrol(t, registry, token);
      await assert.rejects(enrol(t, registry, token, { role: 'agent', name: 'a2' }), (error: unknown) => {
        assert.ok(error instanceof EnrolmentError);
        assert.equal(error.code, 'token-refused');
        return true;
      });
    });

    it('lets another registry join, which then gives identities itself', async (t) => {
      const first = await authorityRegistry(t, 'r1', await kind.open(t));
      const token = await makeToken(first, { role: 'registry', leaf: '', name: 'r2' });
      const dataDir = await folder(t);
      const tokenFile = join(dataDir, 'token');
      writeKeyFile(tokenFile, joinTokenText(token).reveal());
      const identity = { dir: join(dataDir, 'identity'), tokenFile, enrol: [`127.0.0.1:${first.enrolPort}`] };
      const second = await authorityRegistry(t, 'r2', sameStore(first), { dataDir, identity });
      const { directory } = await enrol(t, second, await makeToken(second));
      const renewed = await renewIdentity(directory, addresses(first));
      assert.equal(renewed.facts.generation, 2);
      assert.deepEqual(second.authority?.keyring.roots.list(), []);
    });

    it('refuses a second authority on one store, and says how to join', async (t) => {
      const first = await authorityRegistry(t, 'r1', await kind.open(t));
      await assert.rejects(
        authorityRegistry(t, 'r2', sameStore(first)),
        /has a certificate authority already .* joins it/,
      );
    });
  });
}
