import assert from 'node:assert/strict';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { startEtcdServer } from '@xylem/etcd-server';
import { EnrolmentError, fileTlsSource, readIdentityFolder, renewIdentity } from '@xylem/identity';
import { createChannel } from '@xylem/grpc';
import type { GrpcChannel } from '@xylem/grpc';
import { AdminService, admin } from '@xylem/wire';
import { DOMAIN, addressesOf, enrol, makeToken } from './testing/enrolment.ts';
import { authorityRegistry, folder } from './testing/world.ts';
import type { TestRegistry } from './testing/world.ts';

const DEADLINE_MS = 5_000;
const PATIENCE_MS = 15_000;
const FORWARD = admin.RotationStep.ROTATION_STEP_FORWARD;

/** A store at a fixed address, with one backup of it. */
class RestorableStore {
  readonly #data: string;
  readonly #backup: string;
  #server: Awaited<ReturnType<typeof startEtcdServer>>;

  private constructor(data: string, backup: string, server: Awaited<ReturnType<typeof startEtcdServer>>) {
    this.#data = data;
    this.#backup = backup;
    this.#server = server;
  }

  static async open(t: TestContext): Promise<RestorableStore> {
    const path = await folder(t);
    const [data, backup] = [join(path, 'data'), join(path, 'backup')];
    const server = await startEtcdServer({ dataDir: data, listen: '127.0.0.1:0', name: 'test' });
    const store = new RestorableStore(data, backup, server);
    t.after(() => store.#server.close());
    return store;
  }

  get endpoint(): string {
    return this.#server.endpoint;
  }

  async backUp(): Promise<void> {
    await this.#while(() => cpSync(this.#data, this.#backup, { recursive: true }));
  }

  async restore(): Promise<void> {
    await this.#while(() => {
      rmSync(this.#data, { recursive: true });
      cpSync(this.#backup, this.#data, { recursive: true });
    });
  }

  /** Stops, and starts again at the same address. */
  async #while(act: () => void): Promise<void> {
    const listen = this.endpoint.replace('http://', '');
    await this.#server.close();
    act();
    this.#server = await startEtcdServer({ dataDir: this.#data, listen, name: 'test' });
  }
}

/** Calls with the administrator's credentials as they are at that moment. */
function adminOf(t: TestContext, registry: TestRegistry, dataDir: string): () => GrpcChannel {
  return () => {
    const at = (name: string): string => join(dataDir, 'admin', `${name}.pem`);
    const tls = fileTlsSource({ ca: at('ca'), cert: at('cert'), key: at('key') });
    const channel = createChannel({
      address: `127.0.0.1:${registry.port}`,
      tls,
      serverName: `registry.${DOMAIN}`,
    });
    t.after(() => {
      channel.close();
      tls.close();
    });
    return channel;
  };
}

/** Repeats until it answers, or until it is refused for good. */
async function persistently<T>(attempt: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      const passes = !(error instanceof EnrolmentError && error.final);
      if (!passes || performance.now() > deadline) throw error;
      await pause(50);
    }
  }
}

function isRefused(...codes: readonly string[]) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof EnrolmentError && codes.includes(error.code), String(error));
    return true;
  };
}

for (const restarted of [false, true]) {
  const which = restarted ? 'a registry that starts afterwards' : 'a registry that runs on';
  describe(`a store restored from an older backup, with ${which}`, { timeout: 60_000 }, () => {
    async function open(t: TestContext) {
      const store = await RestorableStore.open(t);
      const dataDir = await folder(t);
      const start = (): Promise<TestRegistry> =>
        authorityRegistry(t, 'r1', { kind: 'etcd', endpoints: [store.endpoint] }, { dataDir });
      const first = await start();
      const restore = async (running: TestRegistry): Promise<TestRegistry> => {
        if (restarted) await running.stop();
        await store.restore();
        return restarted ? await start() : running;
      };
      return { store, dataDir, first, restore };
    }

    it('gives nothing to whom it has forgotten to be revoked, nor for a token it has forgotten to be used', async (t) => {
      const { store, dataDir, first, restore } = await open(t);
      const thief = await enrol(t, first, await makeToken(first));
      const token = await makeToken(first);
      await store.backUp();
      await persistently(() => renewIdentity(thief.directory, addressesOf(first)));
      const honest = await persistently(() => enrol(t, first, token, { role: 'agent', name: 'a2' }));
      const call = adminOf(t, first, dataDir);
      await persistently(() =>
        call().unary(AdminService.revoke, { identity: 'leaf/berlin/agent/a1', reason: 'lost' }, DEADLINE_MS),
      );
      const registry = await restore(first);
      // Issued twice within a second, the certificates may also look like a copy to a store that knows the first only.
      await assert.rejects(
        persistently(() => renewIdentity(thief.directory, addressesOf(registry))),
        isRefused('revoked', 'locked'),
      );
      await assert.rejects(
        persistently(() => enrol(t, registry, token, { role: 'agent', name: 'a3' })),
        isRefused('token-refused'),
      );
      const renewed = await persistently(() => renewIdentity(honest.directory, addressesOf(registry)));
      assert.ok(renewed.facts.generation > honest.stored.facts.generation);
      assert.ok(registry.lines.some((line) => line.includes('authority.put_back')));
    });

    it('does not take the domain back to a root whose key is gone', async (t) => {
      const { store, dataDir, first, restore } = await open(t);
      const agent = await enrol(t, first, await makeToken(first));
      await store.backUp();
      const call = adminOf(t, first, dataDir);
      for (const phase of ['prepared', 'trusted', 'signing', 'steady']) {
        const { phase: reached } = await persistently(async () => {
          await renewIdentity(agent.directory, addressesOf(first));
          return call().unary(AdminService.rotateAuthority, { step: FORWARD, force: false }, DEADLINE_MS);
        });
        assert.equal(reached, phase);
      }
      await persistently(async () => {
        const { facts } = await renewIdentity(agent.directory, addressesOf(first));
        assert.equal(facts.trustGeneration, 4);
      });
      const { ca } = readIdentityFolder(agent.directory).material;
      const registry = await restore(first);
      const state = await persistently(async () => {
        const found = await adminOf(t, registry, dataDir)().unary(AdminService.getAuthority, {}, DEADLINE_MS);
        assert.equal(found.generation, 4n);
        return found;
      });
      assert.deepEqual([state.phase, state.roots.length], ['steady', 1]);
      const newcomer = await persistently(async () =>
        enrol(t, registry, await makeToken(registry), { role: 'agent', name: 'a2' }),
      );
      assert.equal(newcomer.stored.material.ca, ca);
      assert.equal(registry.authority?.keyring.roots.list().length, 1);
    });
  });
}
