import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { joinByToken, renewIdentity } from './enrolment.ts';
import { readIdentityFolder } from './identity-folder.ts';
import { openIntermediateIssuer, readIntermediate, renewIntermediate } from './intermediate.ts';
import { openRootFolder } from './root-folder.ts';
import { countCopies } from './testing/copy-counter.ts';
import { withDiskThatDies } from './testing/dying-disk.ts';
import { DOMAIN, EnrolmentStandIn } from './testing/enrolment-stand-in.ts';

const TOGETHER = 2;
const ROUNDS = 25;

test(
  'processes that renew with one folder at the same time are never taken for thieves',
  { timeout: 60_000 },
  async () => {
    const directory = join(mkdtempSync(join(tmpdir(), 'xylem-together-')), 'a1');
    const registry = await EnrolmentStandIn.start();
    const children: ChildProcess[] = [];
    try {
      const as = { role: 'agent', name: 'a1' } as const;
      await joinByToken({ directory, addresses: [registry.address], domain: DOMAIN, token: registry.token(), as });
      const copied = countCopies(registry);
      for (let index = 0; index < TOGETHER; index += 1) {
        const child = fork(new URL('./testing/renewing-in-step.ts', import.meta.url), [directory]);
        children.push(child);
        await once(child, 'message');
      }
      for (let round = 0; round < ROUNDS; round += 1) {
        const results = await Promise.all(
          children.map(async (child) => {
            const answer = once(child, 'message');
            child.send('renew');
            return (await answer)[0];
          }),
        );
        assert.deepEqual(results, ['renewed', 'renewed']);
        assert.equal(copied(), 0, `round ${round}`);
        readIdentityFolder(directory);
      }
    } finally {
      for (const child of children) child.kill();
      registry.close();
      rmSync(join(directory, '..'), { recursive: true });
    }
  },
);

test(
  'a disk that dies at any change of a renewal leaves the old version or the new one, and no thief',
  { timeout: 60_000 },
  async (t) => {
    const directory = join(mkdtempSync(join(tmpdir(), 'xylem-disk-')), 'a1');
    const registry = await EnrolmentStandIn.start();
    try {
      const as = { role: 'agent', name: 'a1' } as const;
      const addresses = [registry.address];
      await joinByToken({ directory, addresses, domain: DOMAIN, token: registry.token(), as });
      const copied = countCopies(registry);
      let changes = 0;
      for (; await withDiskThatDies(changes, () => renewIdentity(directory, addresses)); changes += 1) {
        readIdentityFolder(directory);
        await renewIdentity(directory, addresses);
        assert.equal(copied(), 0, `after ${changes} changes`);
        assert.deepEqual(
          readdirSync(directory).filter((name) => name === 'next-key.pem'),
          [],
        );
      }
      assert.ok(changes > 20);
      t.diagnostic(`${changes} places to die at`);
    } finally {
      registry.close();
      rmSync(join(directory, '..'), { recursive: true });
    }
  },
);

test(
  'a disk that dies while a root or an intermediate is made leaves what can be opened',
  { timeout: 60_000 },
  async () => {
    const base = mkdtempSync(join(tmpdir(), 'xylem-root-'));
    try {
      const seen = new Set<number>();
      for (let changes = 0; ; changes += 1) {
        const directory = join(base, `r${changes}`);
        const roots = await openRootFolder(directory, { domain: DOMAIN });
        const died = await withDiskThatDies(changes, () => roots.create());
        seen.add((await openRootFolder(directory, { domain: DOMAIN })).list().length);
        if (!died) break;
      }
      assert.deepEqual(seen, new Set([0, 1]));
      const roots = await openRootFolder(join(base, 'holder'), { domain: DOMAIN });
      const { fingerprint, pem } = await roots.create();
      const path = join(base, 'intermediate.pem');
      const sign = (request: string): Promise<string> => roots.signIntermediate(fingerprint, request, 3_600_000);
      const first = await renewIntermediate(path, pem, sign);
      for (let changes = 0; await withDiskThatDies(changes, () => renewIntermediate(path, pem, sign)); changes += 1) {
        const kept = readIntermediate(path, pem);
        assert.ok(kept !== undefined);
        await openIntermediateIssuer({ domain: DOMAIN, intermediate: kept, trust: () => pem });
        if (changes === 0) assert.equal(kept.cert, first.cert);
      }
    } finally {
      rmSync(base, { recursive: true });
    }
  },
);
