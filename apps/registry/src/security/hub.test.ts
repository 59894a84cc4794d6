import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { registry as wire } from '@xylem/wire';
import { Mirror } from '../authority/mirror.ts';
import { SecurityHub } from './hub.ts';

const NO_POLICY = { policyVersion: 0n, policy: '', groups: [] };

function mirrorOf(revision: bigint): Mirror {
  return new Mirror({
    list: async () => Promise.resolve({ kvs: [], revision }),
    openWatch: () => undefined,
    onLost: () => undefined,
  });
}

test('what was told before the epoch was known is told again with it, so that nobody takes it for old news', async (t) => {
  let epoch = 0n;
  const mirror = mirrorOf(7n);
  const hub = new SecurityHub({ mirror, epoch: () => epoch, policy: () => NO_POLICY });
  t.after(() => hub.close());
  t.after(() => mirror.close());
  const listed = new Promise<void>((resolve) => void mirror.onChange(resolve));
  mirror.start();
  await listed;
  const told: wire.Security[] = [];
  hub.subscribe((security) => told.push(security));
  epoch = 3n;
  hub.subscribe((security) => told.push(security));
  const revisions = told.map(({ revision }) => revision);
  assert.deepEqual(revisions.slice(-2), [(2n << 44n) + 7n, (2n << 44n) + 7n], 'both sessions, the new and the old one');
});
