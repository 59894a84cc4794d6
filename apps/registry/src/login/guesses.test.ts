import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import { openAuthorityStore, StoreDownError } from '../authority/store.ts';
import type { AuthorityStore } from '../authority/store.ts';
import { openTestStore } from '../testing/store.ts';
import { STORES } from '../testing/world.ts';
import type { StoreKind } from '../testing/world.ts';
import { FAILURES, Guesses, WINDOW_MS } from './guesses.ts';

/** As many replicas on one store. */
async function replicas(t: TestContext, kind: StoreKind, count: number, windowMs?: number): Promise<Guesses[]> {
  const options = await openTestStore(t, kind);
  return Array.from({ length: count }, () => {
    const store = openAuthorityStore(options, () => undefined);
    t.after(() => store.close());
    return new Guesses(store, windowMs);
  });
}

for (const kind of STORES) {
  describe(`failed logins, counted in ${kind.name}`, () => {
    it('A4: at three replicas there are no more guesses than at one, however many come at once', async (t) => {
      const all = await replicas(t, kind, 3);
      const waits = await Promise.all(
        Array.from({ length: 45 }, (_, index) => all[index % 3]?.begin('alice') ?? Promise.resolve(0)),
      );
      const taken = waits.filter((waitMs) => waitMs === 0).length;
      assert.ok(taken >= 1 && taken <= FAILURES, `${taken} guesses`);
      // Those who met each other on the way may come again a second later, as long as there are guesses left.
      for (const guesses of all) {
        const waitMs = (await guesses.begin('alice')) ?? 0;
        assert.ok(waitMs > 0 && waitMs <= WINDOW_MS, `${waitMs} ms`);
      }
      assert.equal(await all[0]?.begin('bob'), 0, 'another user is not held up');
    });

    it('an attempt that succeeded is taken back, at whatever replica', async (t) => {
      const [one, other] = await replicas(t, kind, 2);
      assert.ok(one !== undefined && other !== undefined);
      for (let logins = 0; logins < 3 * FAILURES; logins += 1) {
        assert.equal(await one.begin('alice'), 0);
        await other.succeeded('alice');
      }
      await other.succeeded('nobody');
    });

    it('a locked user may try again when the window is over', async (t) => {
      const [one] = await replicas(t, kind, 1, 2_000);
      assert.ok(one !== undefined);
      for (let guess = 0; guess < FAILURES; guess += 1) assert.equal(await one.begin('alice'), 0);
      const deadline = performance.now() + 20_000;
      for (let waitMs = await one.begin('alice'); waitMs > 0; waitMs = await one.begin('alice')) {
        assert.ok(performance.now() < deadline, 'still locked');
        await new Promise((resolve) => void setTimeout(resolve, Math.min(waitMs, 100)));
      }
    });
  });
}

it('guesses at a locked user cost the store nothing', async () => {
  let reads = 0;
  const locked = { attempts: FAILURES, untilMs: Date.now() + WINDOW_MS, nonce: 'n' };
  const store: Pick<AuthorityStore, 'read' | 'commit'> = {
    read: async (key, decode) => {
      reads += 1;
      return Promise.resolve({ key, record: decode(JSON.stringify(locked)), modRevision: 1n, lease: 1n });
    },
    commit: () => assert.fail('it wrote'),
  };
  const guesses = new Guesses(store);
  for (let guess = 0; guess < 100; guess += 1) assert.ok((await guesses.begin('alice')) > 0);
  assert.ok(reads <= 3, `${reads} reads`);
});

it('a store that is down stops guesses, and does not undo a login that has succeeded', async () => {
  const down = (): never => {
    throw new StoreDownError('for this test');
  };
  const guesses = new Guesses({ read: down, commit: down });
  await assert.rejects(guesses.begin('alice'), StoreDownError);
  await guesses.succeeded('alice');
});
