import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { etcdctl, startEtcd, startEtcdCluster } from './etcd.ts';
import { programPath } from './process.ts';

test('etcd keeps data and port over kill and restart, and stands still while stopped', async () => {
  const etcd = await startEtcd();
  try {
    assert.equal((await etcdctl(etcd.endpoint, ['put', 'a'], 'one')).stdout, 'OK\n');
    await etcd.kill();
    await etcd.restart();
    assert.equal((await etcdctl(etcd.endpoint, ['get', 'a'])).stdout, 'a\none\n');
    etcd.stop();
    const stopped = await etcdctl(etcd.endpoint, ['--command-timeout=200ms', 'get', 'a']);
    assert.notEqual(stopped.code, 0);
    etcd.resume();
    assert.equal((await etcdctl(etcd.endpoint, ['get', 'a'])).code, 0);
  } finally {
    await etcd.dispose();
  }
});

test('a cluster of three goes on without one member', { timeout: 30_000 }, async () => {
  const cluster = await startEtcdCluster(3);
  try {
    await cluster.members[0]?.kill();
    const rest = cluster.endpoints.slice(1).join(',');
    // When it was the leader, requests on their way to it are lost: etcd answers those with a time-out.
    let answer = '';
    while (answer !== 'OK\n') answer = (await etcdctl(rest, ['--command-timeout=1s', 'put', 'a', 'b'])).stdout;
  } finally {
    await cluster.dispose();
  }
});

test('a missing program is named together with its Debian package', () => {
  assert.throws(
    () => programPath('no-such-etcd', 'etcd-server'),
    /no-such-etcd was not found.*apt-get install etcd-server/,
  );
});

test('etcd and its folder go when the process that started it is killed', { timeout: 20_000 }, async () => {
  const source = `
    import { startEtcd } from ${JSON.stringify(new URL('./etcd.ts', import.meta.url).href)};
    const etcd = await startEtcd();
    console.log(etcd.endpoint);
    setInterval(() => undefined, 1000);
  `;
  const owner = spawn(process.execPath, ['--input-type=module', '-e', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const endpoint = await new Promise<string>((resolve) => {
    owner.stdout.setEncoding('utf8').once('data', (text: string) => resolve(text.trim()));
  });
  assert.equal((await fetch(`${endpoint}/health`)).status, 200);
  owner.kill('SIGKILL');
  while (
    await fetch(`${endpoint}/health`).then(
      () => true,
      () => false,
    )
  )
    await new Promise((resolve) => setImmediate(resolve));
});
