import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { test } from 'node:test';

import { HOST_TOOLS, missingTools, searchPath, whatToInstall } from './host-tools.ts';

const etcd = HOST_TOOLS.filter(({ command }) => command === 'etcd');

test('finds a tool in the search path, and only where it can be executed', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'xylem-tools-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = ['/nowhere', folder].join(delimiter);
  assert.deepEqual(missingTools(path, etcd), etcd);
  writeFileSync(join(folder, 'etcd'), '');
  chmodSync(join(folder, 'etcd'), 0o644);
  assert.deepEqual(missingTools(path, etcd), etcd);
  chmodSync(join(folder, 'etcd'), 0o755);
  assert.deepEqual(missingTools(path, etcd), []);
});

test('searches the folders of servers after those of the person', () => {
  const folder = dirname(process.execPath);
  const folders = searchPath([folder, '/usr/bin'].join(delimiter)).split(delimiter);
  assert.equal(folders[0], folder);
  assert.ok(folders.includes('/usr/sbin'));
  assert.equal(folders.filter((entry) => entry === '/usr/bin').length, 1);
});

test('names the tools and the command that brings them', { skip: process.platform !== 'linux' }, () => {
  assert.equal(
    whatToInstall(HOST_TOOLS.filter(({ command }) => ['etcd', 'gcc'].includes(command))),
    'Tests need etcd, gcc: install with `sudo apt-get install --no-install-recommends etcd-server gcc libc6-dev` and start again.',
  );
});
