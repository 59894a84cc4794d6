import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { createChannel } from '@xylem/grpc';
import { derOfPem, fileTlsSource, joinTokenText, renewIdentity, writeKeyFile } from '@xylem/identity';
import { AdminService, admin } from '@xylem/wire';
import { DOMAIN, addressesOf, enrol, makeToken } from './testing/enrolment.ts';
import { openTestStore } from './testing/store.ts';
import { authorityRegistry, embedded, folder } from './testing/world.ts';
import type { StoreSettings, TestRegistry } from './testing/world.ts';

const DEADLINE_MS = 5_000;
const PATIENCE_MS = 40_000;
const FORWARD = admin.RotationStep.ROTATION_STEP_FORWARD;
const BACK = admin.RotationStep.ROTATION_STEP_BACK;

/** One replica with its folders, which goes down and comes up again at the same addresses. */
class Member {
  readonly #t: TestContext;
  readonly #id: string;
  readonly #store: StoreSettings;
  readonly #change: NonNullable<Parameters<typeof authorityRegistry>[3]>;
  readonly dataDir: string;
  running: TestRegistry;

  private constructor(
    t: TestContext,
    id: string,
    store: StoreSettings,
    change: NonNullable<Parameters<typeof authorityRegistry>[3]>,
    dataDir: string,
    running: TestRegistry,
  ) {
    this.#t = t;
    this.#id = id;
    this.#store = store;
    this.#change = change;
    this.dataDir = dataDir;
    this.running = running;
  }

  static async start(t: TestContext, id: string, store: StoreSettings, holder?: Member): Promise<Member> {
    const dataDir = await folder(t);
    const identity = holder === undefined ? {} : { identity: await joining(holder, dataDir) };
    const running = await authorityRegistry(t, id, store, { dataDir, ...identity });
    const change = { dataDir, enrol: { listen: `127.0.0.1:${running.enrolPort}` }, ...identity };
    return new Member(t, id, store, change, dataDir, running);
  }

  async restart(): Promise<void> {
    this.running = await authorityRegistry(this.#t, this.#id, this.#store, this.#change);
  }

  /** One call of AdminService there, with the administrator's credentials as they are now. */
  async call<T>(run: (channel: ReturnType<typeof createChannel>) => Promise<T>): Promise<T> {
    const at = (name: string): string => join(this.dataDir, 'admin', `${name}.pem`);
    const tls = fileTlsSource({ ca: at('ca'), cert: at('cert'), key: at('key') });
    const address = `127.0.0.1:${this.running.port}`;
    const channel = createChannel({ address, tls, serverName: `registry.${DOMAIN}` });
    try {
      return await run(channel);
    } finally {
      channel.close();
      tls.close();
    }
  }

  step(direction: admin.RotationStep): Promise<string> {
    return this.call(async (channel) => {
      const wish = { step: direction, force: false };
      return (await channel.unary(AdminService.rotateAuthority, wish, DEADLINE_MS)).phase;
    });
  }

  state(): Promise<admin.GetAuthorityResponse> {
    return this.call((channel) => channel.unary(AdminService.getAuthority, {}, DEADLINE_MS));
  }
}

async function joining(holder: Member, dataDir: string): Promise<{ dir: string; tokenFile: string; enrol: string[] }> {
  const token = await makeToken(holder.running, { role: 'registry', leaf: '' });
  const tokenFile = join(dataDir, 'token');
  writeKeyFile(tokenFile, joinTokenText(token).reveal());
  return { dir: join(dataDir, 'id'), tokenFile, enrol: [`127.0.0.1:${holder.running.enrolPort}`] };
}

/** Until it holds; what fails meanwhile is tried again. */
async function eventually(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  for (let last: unknown; ; await pause(100)) {
    try {
      if (await holds()) return;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) throw new Error(`not in time: ${what}`, { cause: last });
  }
}

test(
  'of three replicas each is down for a part of a rotation and back, the holder of the root too, and nobody is cut off',
  { timeout: 150_000 },
  async (t) => {
    const { endpoints } = await openTestStore(t, { name: 'embedded store', open: embedded });
    const store: StoreSettings = { kind: 'etcd', endpoints: [...endpoints] };
    const r1 = await Member.start(t, 'r1', store);
    const r2 = await Member.start(t, 'r2', store, r1);
    const r3 = await Member.start(t, 'r3', store, r1);
    const agent = await enrol(t, r1.running, await makeToken(r1.running));
    const first = agent.stored.material.ca;
    const renewAt = (member: Member): Promise<string> =>
      renewIdentity(agent.directory, addressesOf(member.running)).then(({ material }) => material.ca);
    /** The agent renews there until nobody is behind. */
    const settled = (at: Member): Promise<void> =>
      eventually('nobody is behind', async () => {
        await renewAt(at);
        return (await at.state()).behind.length === 0;
      });

    await settled(r1);
    await r3.running.kill();
    assert.equal(await r1.step(FORWARD), 'prepared');
    assert.equal(await r2.step(FORWARD), 'trusted');
    await eventually('only r3 is behind', async () => {
      await renewAt(r2);
      return (await r1.state()).behind.join() === 'registry/r3';
    });
    await assert.rejects(r2.step(FORWARD), /1 identities have not followed yet: registry\/r3/);
    await r3.restart();
    await settled(r3);
    assert.equal(await r3.step(FORWARD), 'signing');

    await r2.running.kill();
    await eventually('r1 and r3 sign with the new root', async () => {
      await renewAt(r3);
      return (await r1.state()).behind.join() === 'registry/r2';
    });
    assert.equal(await r3.step(BACK), 'trusted');
    await r2.restart();
    await settled(r2);
    assert.equal(derOfPem(await renewAt(r2)).length, 2);

    assert.equal(await r2.step(FORWARD), 'signing');
    await r1.running.kill();
    await renewAt(r2);
    await assert.rejects(r2.step(FORWARD), /have not followed yet/);
    await r1.restart();
    await settled(r2);
    await r1.running.kill();
    assert.equal(await r2.step(FORWARD), 'steady');
    await r1.restart();
    assert.equal(r1.running.authority?.keyring.roots.list().length, 1, 'the key of the old root is gone');

    for (const member of [r1, r2, r3]) {
      await eventually('the old root is gone everywhere', async () => derOfPem(await renewAt(member)).length === 1);
      assert.notEqual(await renewAt(member), first);
    }
    await r2.running.kill();
    await r2.restart();
    assert.equal((await r2.state()).phase, 'steady');
    assert.equal(derOfPem(await renewAt(r2)).length, 1);
  },
);

test('of three registries that start at once on an empty store one makes the root', { timeout: 60_000 }, async (t) => {
  const { endpoints } = await openTestStore(t, { name: 'embedded store', open: embedded });
  const store: StoreSettings = { kind: 'etcd', endpoints: [...endpoints] };
  const results = await Promise.allSettled(['r1', 'r2', 'r3'].map((id) => Member.start(t, id, store)));
  const won = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  assert.equal(won.length, 1);
  for (const result of results) {
    if (result.status === 'fulfilled') continue;
    assert.match(String(result.reason), /this domain has a certificate authority already .* joins it: make a token/);
  }
  const [first] = won;
  assert.ok(first !== undefined);
  const second = await Member.start(t, 'r9', store, first);
  assert.equal((await second.state()).roots.length, 1);
});
