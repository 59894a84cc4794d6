import assert from 'node:assert/strict';
import { test } from 'node:test';
import { authorityDirOf, dataDirOf, loadRegistryConfig } from './config.ts';
import type { RegistrySettings } from './config.ts';

function load(...argv: string[]): RegistrySettings {
  const outcome = loadRegistryConfig({ argv: ['--id', 'r1', ...argv], env: {} });
  assert.ok(outcome.kind === 'loaded', outcome.kind === 'invalid' ? outcome.text : outcome.kind);
  return outcome.config;
}

const EMBEDDED = ['--store-kind', 'embedded', '--store-data-dir', '/data'];
const ETCD = ['--store-endpoints', 'http://etcd:2379'];

test('needs no certificates: the authority is its own, beside the store', () => {
  const settings = load(...EMBEDDED);
  assert.equal(settings.tls, undefined);
  assert.deepEqual([dataDirOf(settings), authorityDirOf(settings)], ['/data', '/data/authority']);
  assert.deepEqual(
    [settings.authority.certificateTtlMs, settings.authority.userTtlMs, settings.enrol.listen],
    [3_600_000, 43_200_000, '0.0.0.0:7101'],
  );
});

test('keeps its keys below /var/lib/xylem with etcd, or where it is told to', () => {
  assert.equal(authorityDirOf(load(...ETCD)), '/var/lib/xylem/r1/authority');
  assert.equal(authorityDirOf(load(...ETCD, '--data-dir', '/d')), '/d/authority');
  assert.equal(authorityDirOf(load(...ETCD, '--authority-dir', '/keys')), '/keys');
});

test('joins another registry or takes certificates from elsewhere, not both', () => {
  assert.equal(load(...ETCD, '--identity-dir', '/id').identity?.dir, '/id');
  const tls = ['--tls-ca', '/dev/null', '--tls-cert', '/dev/null', '--tls-key', '/dev/null'];
  assert.equal(load(...ETCD, ...tls).tls?.ca, '/dev/null');
  const argv = ['--id', 'r1', ...ETCD, ...tls, '--identity-dir', '/id'];
  const both = loadRegistryConfig({ argv, env: {} });
  assert.ok(both.kind === 'invalid' && both.text.includes('is given together with tls'));
});

test('certificates live for ten seconds at least', () => {
  const argv = ['--id', 'r1', ...EMBEDDED, '--authority-certificate-ttl-ms', '9999'];
  const outcome = loadRegistryConfig({ argv, env: {} });
  assert.ok(outcome.kind === 'invalid' && outcome.text.includes('authority.certificateTtlMs'));
});
