import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { IDENTITIES_PREFIX, decodeIdentity, encodeRecord, identityKey } from '@xylem/authority';
import type { IdentityRecord, Read } from '@xylem/authority';
import { startEtcd } from '@xylem/testkit';
import { openTestStore } from '../testing/store.ts';
import { STORES } from '../testing/world.ts';
import { openAuthorityStore, RecordError, StoreDownError } from './store.ts';
import type { AuthorityStore } from './store.ts';
import { forgetLongGone } from './sweep.ts';

const DAY_MS = 24 * 60 * 60_000;
const NOW = Date.now();

function record(identity: string, change: Partial<IdentityRecord> = {}): IdentityRecord {
  return {
    identity,
    generation: 1,
    key: 'k',
    previousKey: '',
    issuedAtMs: NOW,
    notAfterMs: NOW,
    root: 'r',
    trust: 1,
    lock: undefined,
    ...change,
  };
}

function write(store: AuthorityStore, before: Read<unknown>, value: IdentityRecord): Promise<boolean> {
  return store.commit({
    compares: [{ key: before.key, modRevision: before.modRevision }],
    steps: [{ type: 'put', key: before.key, value: encodeRecord(value), lease: 0n }],
  });
}

function read(store: AuthorityStore, identity: string): Promise<Read<IdentityRecord>> {
  return store.read(identityKey(identity), decodeIdentity);
}

/** Resolves when the mirror has the value; the deadline is the test's. */
async function mirrored(store: AuthorityStore, key: string, wanted: string | undefined): Promise<void> {
  while (store.mirror.get(key) !== wanted) {
    await new Promise<void>((resolve) => {
      const stop = store.mirror.onChange(() => {
        stop();
        resolve();
      });
    });
  }
}

for (const kind of STORES) {
  describe(`records of authority in the ${kind.name}`, { timeout: 30_000 }, () => {
    it('are written only as long as nobody else wrote them', async (t) => {
      const store = openAuthorityStore(await openTestStore(t, kind), () => undefined);
      t.after(() => store.close());
      const before = await read(store, 'proxy/p1');
      assert.equal(before.record, undefined);
      assert.ok(await write(store, before, record('proxy/p1')));
      assert.equal(await write(store, before, record('proxy/p1', { generation: 2 })), false);
      const after = await read(store, 'proxy/p1');
      assert.equal(after.record?.generation, 1);
      assert.ok(await write(store, after, record('proxy/p1', { generation: 2 })));
    });

    it('lapse where they were put for a time, and the mirror follows all of it', async (t) => {
      const store = openAuthorityStore(await openTestStore(t, kind), () => undefined);
      t.after(() => store.close());
      store.mirror.start();
      const key = `${IDENTITIES_PREFIX}proxy/short`;
      const value = encodeRecord(record('proxy/short'));
      assert.ok(await store.commit({ compares: [], steps: [{ type: 'putFor', key, value, ttlMs: 1_000 }] }));
      await mirrored(store, key, value);
      assert.deepEqual(store.mirror.under(IDENTITIES_PREFIX), [value]);
      await mirrored(store, key, undefined);
    });

    it('that cannot be read are an error by themselves, and left out of lists', async (t) => {
      const store = openAuthorityStore(await openTestStore(t, kind), () => undefined);
      t.after(() => store.close());
      const put = (key: string, value: string) => ({ type: 'put' as const, key, value, lease: 0n });
      const key = identityKey('proxy/bad');
      await store.commit({
        compares: [],
        steps: [put(key, '{"half'), put(identityKey('proxy/p1'), encodeRecord(record('proxy/p1')))],
      });
      await assert.rejects(read(store, 'proxy/bad'), RecordError);
      const all = await store.list(IDENTITIES_PREFIX, decodeIdentity);
      assert.deepEqual(
        all.map((each) => each.record?.identity),
        ['proxy/p1'],
      );
    });

    it('of whoever is long gone are forgotten, locks are not', async (t) => {
      const store = openAuthorityStore(await openTestStore(t, kind), () => undefined);
      t.after(() => store.close());
      const lock = { kind: 'revoked', atMs: NOW, reason: '' } as const;
      const long = { notAfterMs: NOW - 40 * DAY_MS };
      for (const each of [
        record('proxy/gone', long),
        record('proxy/locked', { ...long, lock }),
        record('proxy/here'),
      ]) {
        await write(store, await read(store, each.identity), each);
      }
      assert.equal(await forgetLongGone(store, NOW), 1);
      const left = await store.list(IDENTITIES_PREFIX, decodeIdentity);
      assert.deepEqual(
        left.map((each) => each.record?.identity),
        ['proxy/here', 'proxy/locked'],
      );
    });
  });
}

it(
  'a store that does not answer is an error within seconds, and the mirror goes on when it is back',
  { timeout: 60_000 },
  async (t) => {
    const etcd = await startEtcd();
    t.after(() => etcd.dispose());
    const lost: string[] = [];
    const store = openAuthorityStore({ endpoints: [etcd.endpoint] }, (detail) => void lost.push(detail));
    t.after(() => store.close());
    store.mirror.start();
    const before = await read(store, 'proxy/p1');
    const value = encodeRecord(record('proxy/p1'));
    await write(store, before, record('proxy/p1'));
    await mirrored(store, before.key, value);
    etcd.stop();
    const began = performance.now();
    await assert.rejects(read(store, 'proxy/p1'), StoreDownError);
    await assert.rejects(write(store, before, record('proxy/p1')), StoreDownError);
    assert.ok(performance.now() - began < 15_000);
    etcd.resume();
    const after = await read(store, 'proxy/p1');
    const changed = record('proxy/p1', { generation: 9 });
    assert.ok(await write(store, after, changed));
    await mirrored(store, before.key, encodeRecord(changed));
  },
);
