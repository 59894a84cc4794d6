import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Mirror } from './mirror.ts';

test('says how old it may be from the moment the store is lost until it is read again', async (t) => {
  let failing = false;
  let listed = Promise.withResolvers<void>();
  const mirror = new Mirror({
    list: async () => {
      if (failing) throw new Error('unreachable');
      return Promise.resolve({ kvs: [], revision: 7n });
    },
    openWatch: () => undefined,
    onLost: () => undefined,
  });
  t.after(() => mirror.close());
  mirror.onChange(() => listed.resolve());
  mirror.start();
  await listed.promise;
  assert.equal(mirror.behindMs, 0);
  failing = true;
  mirror.told({ type: 'watchLost', watch: 1, detail: 'cut' });
  await new Promise((resolve) => setImmediate(resolve));
  const first = mirror.behindMs;
  assert.ok(first > 0);
  mirror.told({ type: 'watchLost', watch: 1, detail: 'cut again' });
  assert.ok(mirror.behindMs >= first, 'counted from the first loss');
  failing = false;
  listed = Promise.withResolvers();
  await listed.promise;
  assert.equal(mirror.behindMs, 0);
});
