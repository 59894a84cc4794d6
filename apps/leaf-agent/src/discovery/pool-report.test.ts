import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { tunnel } from '@xylem/wire';
import { soon } from '../testing/root.ts';
import { PoolReporter } from './pool-report.ts';

test('reports a change at once, further ones at most once a second, and the last one always', async () => {
  let state = 'seeking';
  const sent: { readonly state: string | undefined; readonly at: number }[] = [];
  const second = Promise.withResolvers<void>();
  const reporter = new PoolReporter(
    (): tunnel.PoolReport => ({
      entries: [{ proxy: 'p1', state, why: '', via: '' }],
      dialsTotal: 0n,
      wastedDialsTotal: 0n,
    }),
    ({ entries }) => {
      sent.push({ state: entries[0]?.state, at: performance.now() });
      if (sent.length === 2) second.resolve();
    },
  );
  reporter.touch();
  reporter.touch();
  for (state of ['backoff', 'dialling', 'claimed']) reporter.touch();
  await soon(second.promise, 'the second report');
  assert.deepEqual(
    sent.map((report) => report.state),
    ['seeking', 'claimed'],
  );
  const [first, last] = sent;
  assert.ok(first !== undefined && last !== undefined && last.at - first.at >= 990);
  reporter.stop();
});
