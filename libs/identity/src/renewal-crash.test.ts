import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { joinByToken, renewIdentity } from './enrolment.ts';
import { readIdentityFolder } from './identity-folder.ts';
import { countCopies } from './testing/copy-counter.ts';
import { DOMAIN, EnrolmentStandIn } from './testing/enrolment-stand-in.ts';

const KILLS = 25;
/** Kills come at moments of so many renewals, so that every step of one is hit in the end. */
const RENEWALS_SPANNED = 4;
const DEADLINE_MS = 30_000;

function startRenewer(directory: string): ChildProcess {
  return fork(new URL('./testing/renewer.ts', import.meta.url), [directory], { stdio: 'ignore' });
}

/** How long a renewal takes on this machine now, from the times at which the registry sees them. */
async function renewalMs(directory: string, registry: EnrolmentStandIn): Promise<number> {
  const child = startRenewer(directory);
  const ended = once(child, 'exit');
  await once(child, 'message');
  const [before, began] = [registry.seen.length, performance.now()];
  while (registry.seen.length < before + RENEWALS_SPANNED) {
    assert.ok(performance.now() - began < DEADLINE_MS, 'no renewals came');
    await pause(1);
  }
  const tookMs = performance.now() - began;
  child.kill('SIGKILL');
  await ended;
  return tookMs / RENEWALS_SPANNED;
}

test(
  'a process killed at any moment of a renewal is never taken for a thief',
  { timeout: 240_000 },
  async (context) => {
    const directory = join(mkdtempSync(join(tmpdir(), 'xylem-crash-')), 'a1');
    const registry = await EnrolmentStandIn.start();
    try {
      const as = { role: 'agent', name: 'a1' } as const;
      const addresses = [registry.address];
      await joinByToken({ directory, addresses, domain: DOMAIN, token: registry.token(), as });
      const copied = countCopies(registry);
      const longestMs = RENEWALS_SPANNED * (await renewalMs(directory, registry));
      for (let kill = 0; kill < KILLS; kill += 1) {
        const child = startRenewer(directory);
        const ended = once(child, 'exit');
        await once(child, 'message');
        await pause((longestMs * kill) / KILLS);
        child.kill('SIGKILL');
        await ended;
        readIdentityFolder(directory);
      }
      await renewIdentity(directory, addresses);
      assert.equal(copied(), 0);
      assert.ok(registry.seen.length > KILLS / 2);
      assert.ok(!readdirSync(directory).includes('next-key.pem'));
      context.diagnostic(`${KILLS} kills, ${registry.seen.length - 1} renewals`);
    } finally {
      registry.close();
      rmSync(join(directory, '..'), { recursive: true });
    }
  },
);
