import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { joinByToken, renewIdentity } from './enrolment.ts';
import { readIdentityFolder } from './identity-folder.ts';
import { DOMAIN, EnrolmentStandIn } from './testing/enrolment-stand-in.ts';

const KILLS = 25;
/** The time of a few renewals, so that every step of one is hit in the end. */
const LONGEST_MS = 300;

/** What the registry's record would say of renewals: docs/ARCHITECTURE.md, "Renewal". */
class Record {
  #newest: string;
  #previous = '';

  constructor(key: string) {
    this.#newest = key;
  }

  /** Whether a registry would take the renewal for one with a copied key. */
  isCopied(shown: string, requested: string): boolean {
    const isRepeat = shown === this.#previous && requested === this.#newest;
    if (shown !== this.#newest && !isRepeat) return true;
    if (!isRepeat) [this.#previous, this.#newest] = [this.#newest, requested];
    return false;
  }
}

test('a process killed at any moment of a renewal is never taken for a thief', { timeout: 60_000 }, async (context) => {
  const directory = join(mkdtempSync(join(tmpdir(), 'xylem-crash-')), 'a1');
  const registry = await EnrolmentStandIn.start();
  try {
    const as = { role: 'agent', name: 'a1' } as const;
    const addresses = [registry.address];
    await joinByToken({ directory, addresses, domain: DOMAIN, token: registry.token(), as });
    const record = new Record(registry.seen[0]?.requestedKey ?? '');
    let copied = 0;
    registry.reply = (granted) => {
      const seen = registry.seen.at(-1);
      if (seen === undefined || record.isCopied(seen.shownKey, seen.requestedKey)) copied += 1;
      return { status: 200, json: granted };
    };
    for (let kill = 0; kill < KILLS; kill += 1) {
      const child = fork(new URL('./testing/renewer.ts', import.meta.url), [directory], { stdio: 'ignore' });
      const ended = once(child, 'exit');
      await once(child, 'message');
      await pause((LONGEST_MS * kill) / KILLS);
      child.kill('SIGKILL');
      await ended;
      readIdentityFolder(directory);
    }
    await renewIdentity(directory, addresses);
    assert.equal(copied, 0);
    assert.ok(registry.seen.length > KILLS / 2);
    assert.ok(!readdirSync(directory).includes('next-key.pem'));
    context.diagnostic(`${KILLS} kills, ${registry.seen.length - 1} renewals`);
  } finally {
    registry.close();
    rmSync(join(directory, '..'), { recursive: true });
  }
});
