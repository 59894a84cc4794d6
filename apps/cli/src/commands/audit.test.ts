import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openAuditLog } from '@xylem/audit';
import { verifyFiles } from './audit.ts';

test('says whether the chain is whole, where it is not, and what to keep', async (context) => {
  const folder = mkdtempSync(join(tmpdir(), 'xylem-audit-'));
  context.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'audit.log');
  const log = await openAuditLog({ path, service: 'registry', instance: 'r1', onAlarm: () => undefined });
  for (const user of ['alice', 'bob']) {
    await log.commit({ kind: 'user.put', actor: 'user/admin@r1', subject: `user/${user}`, outcome: 'done' });
  }
  await log.close();

  const whole = await verifyFiles([path], { json: false });
  assert.ok(whole.sound);
  assert.match(whole.text, /^2 lines, 1 to 2; the chain is whole\nhead [0-9a-f]{64}\n$/);

  writeFileSync(path, readFileSync(path, 'utf8').replace('bob', 'eve'));
  const broken = await verifyFiles([path], { json: false });
  assert.equal(broken.sound, false);
  assert.match(broken.text, /audit\.log:2: does not continue the chain/);
});
