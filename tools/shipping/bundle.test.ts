import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';

import { REPOSITORY } from '../testing/fixture.ts';
import { bundleApp } from './bundle.ts';

/** What images carry. The other apps run from a checkout. */
const SHIPPED = ['registry', 'root-proxy', 'leaf-agent', 'cli'];
/** What grpc-js, zod, x509, jose, yaml, the generated code and OpenTelemetry weigh together; more means that a tool slipped in. */
const MAX_BYTES = 1_950_000;

/** Inside the repository, because the registry's bundle finds etcd3 in a node_modules above it. */
const scratchParent = join(REPOSITORY, '.xylem');
mkdirSync(scratchParent, { recursive: true });
const scratch = mkdtempSync(join(scratchParent, 'bundles-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

for (const app of SHIPPED) {
  test(`the bundle of ${app} starts by itself`, async () => {
    const { file, bytes, external } = await bundleApp(REPOSITORY, app, join(scratch, app));
    assert.ok(bytes < MAX_BYTES, `${bytes} bytes`);
    assert.deepEqual(external, app === 'registry' ? ['etcd3'] : []);
    const { status, stdout, stderr } = spawnSync(process.execPath, [file, '--help'], {
      encoding: 'utf8',
      cwd: scratch,
    });
    assert.equal(status, 0, stderr);
    assert.match(stdout, /^(?:Usage: )?xylem/m);
  });
}

test('names the apps there are when asked for another', async () => {
  await assert.rejects(bundleApp(REPOSITORY, 'no-such-app'), {
    message: /^There is no app "no-such-app"; these are: cli, /,
  });
});
