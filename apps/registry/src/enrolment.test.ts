import assert from 'node:assert/strict';
import { chmodSync, existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import {
  EnrolmentError,
  joinByToken,
  joinTokenText,
  makePrivateKey,
  readIdentityFolder,
  renewIdentity,
  requestFor,
  verifyChain,
  derOfPem,
  writeKeyFile,
} from '@xylem/identity';
import { startEtcd } from '@xylem/testkit';
import { AdminService } from '@xylem/wire';
import { DOMAIN, addressesOf, adminChannel, enrol, makeToken } from './testing/enrolment.ts';
import { codeOf, post, sendRaw } from './testing/raw-enrolment.ts';
import { STORES, authorityRegistry, folder, makeWorld, sameStore } from './testing/world.ts';

const DEADLINE_MS = 5_000;

function refusedWith(code: string): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof EnrolmentError, String(error));
    assert.equal(error.code, code);
    return true;
  };
}

for (const kind of STORES) {
  describe(`enrolment with the ${kind.name}`, () => {
    it('gives an identity for a token, and renews it', async (t) => {
      const registry = await authorityRegistry(t, 'r1', await kind.open(t));
      const { directory, stored } = await enrol(t, registry, await makeToken(registry));
      assert.equal(stored.facts.identity, 'leaf/berlin/agent/a1');
      assert.equal(stored.facts.generation, 1);
      const renewed = await renewIdentity(directory, addressesOf(registry));
      assert.equal(renewed.facts.generation, 2);
      assert.notEqual(renewed.material.key, stored.material.key);
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
      const renewed = await renewIdentity(directory, addressesOf(first));
      assert.equal(renewed.facts.generation, 2);
      assert.deepEqual(second.authority?.keyring.roots.list(), []);
      await second.kill();
      const again = await authorityRegistry(t, 'r2', sameStore(first), {
        dataDir,
        identity: { ...identity, tokenFile: '/nowhere' },
      });
      await enrol(t, again, await makeToken(again, { name: 'a2' }), { role: 'agent', name: 'a2' });
    });

    it('refuses a second authority on one store, and says how to join', async (t) => {
      const first = await authorityRegistry(t, 'r1', await kind.open(t));
      await assert.rejects(
        authorityRegistry(t, 'r2', sameStore(first)),
        /has a certificate authority already .* joins it/,
      );
    });

    it('has one authority when two registries start at once', async (t) => {
      const store = kind.name === 'etcd' ? await kind.open(t) : undefined;
      if (store === undefined) return;
      const [one, other] = await Promise.allSettled([
        authorityRegistry(t, 'r1', store),
        authorityRegistry(t, 'r2', store),
      ]);
      assert.deepEqual([one.status, other.status].sort(), ['fulfilled', 'rejected']);
    });
  });
}

const [embedded = { name: '', open: () => Promise.reject(new Error('no store')) }] = STORES;

it('keeps the authority over a restart, and in files that only its user can read', async (t) => {
  const store = await embedded.open(t);
  const dataDir = await folder(t);
  const first = await authorityRegistry(t, 'r1', store, { dataDir });
  const { directory, stored } = await enrol(t, first, await makeToken(first));
  await first.kill();
  const again = await authorityRegistry(t, 'r1', store, { dataDir });
  const renewed = await renewIdentity(directory, addressesOf(again));
  assert.equal(renewed.material.ca, stored.material.ca);
  for (const path of ['authority', 'authority/roots', 'admin']) {
    assert.equal(statSync(join(dataDir, path)).mode & 0o777, 0o700, path);
  }
  const keys = readdirSync(dataDir, { recursive: true, encoding: 'utf8' }).filter((name) =>
    /\.key$|key\.pem$|intermediate\.pem$/.test(name),
  );
  assert.ok(keys.length >= 3, keys.join());
  for (const path of keys) assert.equal(statSync(join(dataDir, path)).mode & 0o777, 0o600, path);
});

it('gives its administrator credentials that open AdminService', async (t) => {
  const dataDir = await folder(t);
  const registry = await authorityRegistry(t, 'r1', await embedded.open(t), { dataDir });
  const admin = adminChannel(t, registry, dataDir);
  const wish = { role: 1, leaf: 'berlin', name: '', ttlSeconds: 60, sources: [] } as const;
  const made = await admin.unary(AdminService.addToken, { ...wish, sources: [] }, DEADLINE_MS);
  const { tokens } = await admin.unary(AdminService.listTokens, {}, DEADLINE_MS);
  assert.deepEqual(
    tokens.map(({ fingerprint, leaf, createdBy }) => [fingerprint, leaf, createdBy]),
    [[made.fingerprint, 'berlin', 'user/admin@r1']],
  );
  const { removed } = await admin.unary(AdminService.removeToken, { fingerprint: made.fingerprint }, DEADLINE_MS);
  assert.ok(removed);
  const { identities } = await admin.unary(AdminService.listIdentities, {}, DEADLINE_MS);
  assert.deepEqual(
    identities.map(({ identity, state }) => [identity, state]),
    [['registry/r1', 'active']],
  );
  const { phase, roots, behind } = await admin.unary(AdminService.getAuthority, {}, DEADLINE_MS);
  assert.deepEqual([phase, roots.length, behind], ['steady', 1, []]);
});

it('cuts off a revoked identity: no renewal, no joining again before it is unlocked', async (t) => {
  const dataDir = await folder(t);
  const registry = await authorityRegistry(t, 'r1', await embedded.open(t), { dataDir });
  const admin = adminChannel(t, registry, dataDir);
  const { directory, stored } = await enrol(t, registry, await makeToken(registry));
  const { identity } = stored.facts;
  await admin.unary(AdminService.revoke, { identity, reason: 'laptop lost' }, DEADLINE_MS);
  await assert.rejects(renewIdentity(directory, addressesOf(registry)), refusedWith('revoked'));
  const token = await makeToken(registry, { name: 'a1' });
  await assert.rejects(enrol(t, registry, token), refusedWith('revoked'));
  assert.ok((await admin.unary(AdminService.unlock, { identity }, DEADLINE_MS)).unlocked);
  await assert.rejects(renewIdentity(directory, addressesOf(registry)), refusedWith('revoked'));
  const again = await enrol(t, registry, token);
  assert.equal(again.stored.facts.generation, 2);
  assert.equal((await renewIdentity(again.directory, addressesOf(registry))).facts.generation, 3);
});

it('answers the same join again for the same key', async (t) => {
  const registry = await authorityRegistry(t, 'r1', await embedded.open(t));
  const token = await makeToken(registry);
  const directory = join(await folder(t), 'identity');
  const options = { directory, addresses: addressesOf(registry), domain: DOMAIN, token } as const;
  const first = await joinByToken({ ...options, as: { role: 'agent', name: 'a1' } });
  // As if a crash had come before the answer was installed: the same key asks again.
  const copy = await folder(t);
  writeKeyFile(join(copy, 'next-key.pem'), first.material.key);
  const second = await joinByToken({ ...options, directory: copy, as: { role: 'agent', name: 'a1' } });
  assert.equal(second.facts.generation, 1);
  assert.ok(existsSync(join(copy, 'key.pem')));
});

it('keeps working with certificates from elsewhere, without enrolment', async (t) => {
  const world = await makeWorld();
  const registry = await world.registry(t, 'r1', await embedded.open(t));
  await registry.ready();
  assert.equal(registry.enrolPort, 0);
  assert.equal(registry.authority, undefined);
});

it('refuses a folder that others can look into', async (t) => {
  const store = await embedded.open(t);
  const dataDir = await folder(t);
  const first = await authorityRegistry(t, 'r1', store, { dataDir });
  await first.kill();
  chmodSync(join(dataDir, 'authority'), 0o750);
  await assert.rejects(
    authorityRegistry(t, 'r1', store, { dataDir }),
    /authority: is accessible to other users \(mode 0750\)\. Run: chmod 700/,
  );
});

it('shows a chain that verifies against what it gives out', async (t) => {
  const dataDir = await folder(t);
  await authorityRegistry(t, 'r1', await embedded.open(t), { dataDir });
  const { material } = readIdentityFolder(join(dataDir, 'admin'));
  const identity = verifyChain(derOfPem(material.cert), material.ca, Date.now(), { domain: DOMAIN, eku: 'client' });
  assert.deepEqual(identity, { kind: 'user', user: 'admin@r1' });
});

it(
  'answers 503 while the store does not answer, and grants the same join when it is back',
  { timeout: 60_000 },
  async (t) => {
    const etcd = await startEtcd();
    t.after(() => etcd.dispose());
    const registry = await authorityRegistry(t, 'r1', { kind: 'etcd', endpoints: [etcd.endpoint] });
    const token = await makeToken(registry);
    const { request } = await requestFor(await makePrivateKey());
    const body = JSON.stringify({ secret: token.secret.reveal(), role: 'agent', name: 'a1', request });
    etcd.stop();
    const began = performance.now();
    const refused = await sendRaw(registry, post('/v1/join', body));
    assert.deepEqual([refused.status, codeOf(refused)], [503, 'unavailable']);
    assert.match(refused.head, /^retry-after: 2\r?$/im);
    assert.ok(performance.now() - began < 6_000);
    etcd.resume();
    assert.equal((await sendRaw(registry, post('/v1/join', body))).status, 200);
  },
);
