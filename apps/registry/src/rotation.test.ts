import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { createChannel } from '@xylem/grpc';
import type { GrpcChannel } from '@xylem/grpc';
import { userKey } from '@xylem/authority';
import {
  derOfPem,
  fileTlsSource,
  joinTokenText,
  makePrivateKey,
  renewIdentity,
  requestFor,
  writeKeyFile,
} from '@xylem/identity';
import { AdminService, admin } from '@xylem/wire';
import { DOMAIN, addressesOf, enrol, makeToken } from './testing/enrolment.ts';
import { ProxyClient } from './testing/proxy-client.ts';
import { memoryTlsSource } from '@xylem/identity';
import { STORES, authorityRegistry, folder, sameStore } from './testing/world.ts';
import type { TestRegistry } from './testing/world.ts';

const DEADLINE_MS = 15_000;
const FORWARD = admin.RotationStep.ROTATION_STEP_FORWARD;
const BACK = admin.RotationStep.ROTATION_STEP_BACK;

/** Follows the administrator's files, which a registry replaces with each phase. */
function following(t: TestContext, registry: TestRegistry, dataDir: string): () => GrpcChannel {
  const at = (name: string): string => join(dataDir, 'admin', `${name}.pem`);
  const source = fileTlsSource({ ca: at('ca'), cert: at('cert'), key: at('key') });
  t.after(() => source.close());
  return () => {
    source.reload();
    const address = `127.0.0.1:${registry.port}`;
    const channel = createChannel({ address, tls: source, serverName: `registry.${DOMAIN}` });
    t.after(() => channel.close());
    return channel;
  };
}

/** Until nobody is behind; the replicas' own certificates follow within moments. */
async function settled(channel: () => GrpcChannel): Promise<admin.GetAuthorityResponse> {
  const deadline = performance.now() + 10_000;
  for (;;) {
    const asking = channel();
    const state = await asking.unary(AdminService.getAuthority, {}, DEADLINE_MS);
    asking.close();
    const registries = state.behind.filter((name) => name.startsWith('registry/'));
    if (registries.length === 0 || performance.now() > deadline) return state;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

for (const kind of STORES) {
  test(
    `a rotation goes through its phases and cuts nobody off, with the ${kind.name}`,
    { timeout: 60_000 },
    async (t) => {
      const dataDir = await folder(t);
      const registry = await authorityRegistry(t, 'r1', await kind.open(t), { dataDir });
      const joins = await folder(t);
      const token = await makeToken(registry, { role: 'registry', leaf: '' });
      writeKeyFile(join(joins, 'token'), joinTokenText(token).reveal());
      const identity = {
        dir: join(joins, 'id'),
        tokenFile: join(joins, 'token'),
        enrol: [`127.0.0.1:${registry.enrolPort}`],
      };
      const second = await authorityRegistry(t, 'r2', sameStore(registry), { dataDir: joins, identity });
      const channel = following(t, registry, dataDir);
      const agent = await enrol(t, registry, await makeToken(registry));
      const first = agent.stored.material.ca;
      const step = (force = false): Promise<admin.RotateAuthorityResponse> =>
        channel().unary(AdminService.rotateAuthority, { step: FORWARD, force }, DEADLINE_MS);

      await assert.rejects(
        following(t, second, joins)().unary(AdminService.rotateAuthority, { step: FORWARD, force: false }, DEADLINE_MS),
        /FAILED_PRECONDITION: this registry does not hold the root that is to be replaced; .*--registry/,
      );
      assert.equal((await step()).phase, 'prepared');
      assert.equal(
        (await renewIdentity(agent.directory, addressesOf(second))).material.ca,
        first,
        'nothing to learn yet',
      );
      await settled(channel);
      assert.equal((await step()).phase, 'trusted');
      assert.deepEqual((await settled(channel)).behind, ['leaf/berlin/agent/a1']);
      await assert.rejects(
        step(),
        /FAILED_PRECONDITION: 1 identities have not followed yet: leaf\/berlin\/agent\/a1; .*--force/,
      );
      const both = await renewIdentity(agent.directory, addressesOf(second));
      assert.equal(derOfPem(both.material.ca).length, 2);
      assert.equal((await step()).phase, 'signing');
      assert.deepEqual((await settled(channel)).behind, ['leaf/berlin/agent/a1']);
      const moved = await renewIdentity(agent.directory, addressesOf(second));
      assert.notEqual(derOfPem(moved.material.ca)[0]?.toString('hex'), derOfPem(first)[0]?.toString('hex'));
      assert.equal((await step()).phase, 'steady');
      await settled(channel);
      const last = await renewIdentity(agent.directory, addressesOf(registry));
      assert.equal(derOfPem(last.material.ca).length, 1);
      assert.notEqual(last.material.ca, first);
      assert.equal(registry.authority?.keyring.roots.list().length, 1, 'the key of the old root is gone');
      const old = createChannel({
        address: `127.0.0.1:${registry.port}`,
        tls: memoryTlsSource({ ...agent.stored.material, ca: last.material.ca }),
        serverName: `registry.${DOMAIN}`,
      });
      t.after(() => old.close());
      await assert.rejects(
        old.unary(AdminService.getAuthority, {}, DEADLINE_MS),
        'a certificate of the old root is refused',
      );
    },
  );
}

test('a rotation is taken back from every phase before the last', { timeout: 60_000 }, async (t) => {
  const dataDir = await folder(t);
  const [{ open } = { open: () => Promise.reject(new Error('no store')) }] = STORES;
  const registry = await authorityRegistry(t, 'r1', await open(t), { dataDir });
  const channel = following(t, registry, dataDir);
  const agent = await enrol(t, registry, await makeToken(registry));
  const rotate = async (step: admin.RotationStep): Promise<string> => {
    await settled(channel);
    await renewIdentity(agent.directory, addressesOf(registry));
    return (await channel().unary(AdminService.rotateAuthority, { step, force: false }, DEADLINE_MS)).phase;
  };
  const phases: string[] = [];
  for (const step of [FORWARD, FORWARD, FORWARD, BACK, BACK, BACK]) phases.push(await rotate(step));
  assert.deepEqual(phases, ['prepared', 'trusted', 'signing', 'trusted', 'prepared', 'steady']);
  const after = await renewIdentity(agent.directory, addressesOf(registry));
  assert.equal(after.material.ca, agent.stored.material.ca);
  await assert.rejects(rotate(BACK), /INVALID_ARGUMENT: no rotation is under way/);
});

test(
  'users who logged in before a phase are waited for to a given moment, and no longer for logging in again',
  { timeout: 60_000 },
  async (t) => {
    const dataDir = await folder(t);
    const [{ open } = { open: () => Promise.reject(new Error('no store')) }] = STORES;
    const registry = await authorityRegistry(t, 'r1', await open(t), { dataDir });
    const { authority } = registry;
    assert.ok(authority !== undefined);
    const channel = following(t, registry, dataDir);
    const rotate = (force: boolean): Promise<admin.RotateAuthorityResponse> =>
      channel().unary(AdminService.rotateAuthority, { step: FORWARD, force }, DEADLINE_MS);
    const alice = { key: userKey('alice'), record: { name: 'alice' }, modRevision: 0n, lease: 0n };
    const { request } = await requestFor(await makePrivateKey());
    const logIn = async (): Promise<number> =>
      (await authority.enrolments.issueUser(alice, request, '127.0.0.1')).certificate.notAfterMs;
    const endMs = await logIn();
    for (const phase of ['prepared', 'trusted']) {
      await settled(channel);
      assert.equal((await rotate(false)).phase, phase);
    }
    for (let logins = 0; logins < 3; logins += 1) {
      const { behind, usersUntilMs } = await settled(channel);
      assert.deepEqual(behind, ['user/alice']);
      assert.ok(Math.abs(Number(usersUntilMs) - endMs - 60_000) < 1_000);
      await assert.rejects(
        rotate(false),
        /FAILED_PRECONDITION: 1 users logged in before this phase: user\/alice; wait until .*Z, .* or give --force/,
      );
      await logIn();
    }
    const { phase, behind } = await rotate(true);
    assert.deepEqual([phase, behind.includes('user/alice')], ['signing', true]);
    await settled(channel);
  },
);

test(
  'root proxies hear of trust and revocations after the welcome, and of changes within a second',
  { timeout: 30_000 },
  async (t) => {
    const dataDir = await folder(t);
    const [{ open } = { open: () => Promise.reject(new Error('no store')) }] = STORES;
    const registry = await authorityRegistry(t, 'r1', await open(t), { dataDir });
    await registry.ready();
    const channel = following(t, registry, dataDir);
    const token = await makeToken(registry, { role: 'proxy', leaf: '' });
    const { stored } = await enrol(t, registry, token, { role: 'proxy', name: 'p1' });
    const tls = memoryTlsSource(stored.material);
    const proxy = new ProxyClient({ port: registry.port, tls, proxy: 'p1', nonce: 'one' });
    t.after(() => proxy.kill());
    const welcome = await proxy.welcome();
    assert.equal(welcome.enrolPort, registry.enrolPort);
    const told = await proxy.next('security');
    assert.deepEqual([told.trust, told.trustGeneration, told.revocations], [stored.material.ca, 1n, []]);
    await channel().unary(AdminService.revoke, { identity: 'leaf/berlin/agent/a1', reason: 'lost' }, DEADLINE_MS);
    const began = performance.now();
    const revoked = await proxy.next('security', ({ revocations }) => revocations.length > 0);
    assert.ok(performance.now() - began < 1_000);
    assert.equal(revoked.revocations[0]?.identity, 'leaf/berlin/agent/a1');
    assert.ok(revoked.revision > told.revision);
    for (let steps = 0; steps < 2; steps += 1) {
      await settled(channel);
      await channel().unary(AdminService.rotateAuthority, { step: FORWARD, force: true }, DEADLINE_MS);
    }
    const changed = await proxy.next('security', ({ trustGeneration }) => trustGeneration === 2n);
    assert.equal(derOfPem(changed.trust).length, 2);
    await channel().unary(AdminService.revoke, { identity: 'proxy/p1', reason: 'gone bad' }, DEADLINE_MS);
    const end = await proxy.closed;
    assert.notEqual(end.kind, 'cancelled');
  },
);
