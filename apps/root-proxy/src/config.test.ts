import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readConfig } from './config.ts';

test('lists every mistake with its key and a remedy', () => {
  const argv = ['--id', '-x', '--peer-listen', 'nowhere', '--claims-per-proxy', '0', '--tunel-listen', '127.0.0.1:1'];
  const outcome = readConfig({ argv, env: { XYLEM_FRONT_DOOR_ANONYMOUS: 'sometimes' } });
  assert.ok(outcome.kind === 'invalid');
  const keys = new Set(outcome.problems.map(({ key }) => key));
  for (const key of ['id', 'peer.listen', 'claimsPerProxy', 'frontDoor.anonymous', 'registries', 'identity']) {
    assert.ok(keys.has(key), `${key} is missing in ${outcome.text}`);
  }
  assert.match(outcome.text, /tunnel-listen/);
});

test('wants an advertised address where a plane listens on a wildcard, and only there', () => {
  const problems = (...argv: string[]) => {
    const outcome = readConfig({ argv, env: {} });
    assert.ok(outcome.kind === 'invalid');
    return outcome.problems.map(({ key }) => key);
  };
  assert.ok(problems('--tunnel-listen', '0.0.0.0:7200').includes('tunnel.advertise'));
  assert.ok(!problems('--tunnel-listen', '0.0.0.0:7200', '--tunnel-advertise', 'p1:7200').includes('tunnel.advertise'));
  assert.ok(!problems('--tunnel-listen', '127.0.0.1:7200').includes('tunnel.advertise'));
});

test('refuses names that mean something else as a server name', () => {
  for (const id of ['enrol', 'join', 'registry']) {
    const outcome = readConfig({ argv: ['--id', id], env: {} });
    assert.ok(outcome.kind === 'invalid');
    assert.match(outcome.text, new RegExp(`id +"${id}" is a server name of the registries; choose another`));
  }
});
