import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { describe, test } from 'node:test';
import { connectNode } from './connect.ts';
import { isSpecialAddress } from './special-addresses.ts';

describe('addresses that no name may lead to', () => {
  for (const address of [
    '0.0.0.0',
    '0.1.2.3',
    '127.0.0.1',
    '127.255.0.1',
    '169.254.169.254',
    '224.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    '::ffff:127.0.0.1',
    '::ffff:10.0.0.1',
    '64:ff9b::7f00:1',
    '2001:0:1::',
    '2002:7f00:1::',
    'fe80::1',
    'ff02::1',
  ]) {
    test(`include ${address}`, () => assert.equal(isSpecialAddress(address), true));
  }
  for (const address of ['10.0.0.1', '172.16.0.1', '192.168.1.1', '8.8.8.8', 'fd00::1', '2a00:1450::1']) {
    test(`do not include ${address}: nodes live there`, () => assert.equal(isSpecialAddress(address), false));
  }
});

describe('connecting by name', () => {
  const never = new AbortController().signal;

  test('looks the name up once and connects to the address that was checked', async () => {
    const server = createServer((socket) => socket.end());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const bound = server.address();
    const port = bound !== null && typeof bound === 'object' ? bound.port : 0;
    let lookups = 0;
    const resolve = async (): Promise<readonly string[]> => {
      lookups += 1;
      return ['127.0.0.1'];
    };
    const denied = await connectNode({
      address: { host: 'rebind.example', port },
      timeoutMs: 1_000,
      signal: never,
      resolve,
    });
    assert.equal(denied.kind === 'failed' && denied.outcome, 'denied');
    assert.equal(lookups, 1);
    const listed = await connectNode({
      address: { host: 'localhost', port },
      timeoutMs: 1_000,
      signal: never,
      resolve,
    });
    assert.equal(listed.kind, 'connected');
    assert.equal(lookups, 1, 'localhost is not asked of a resolver');
    if (listed.kind === 'connected') listed.socket.destroy();
    await new Promise((done) => server.close(done));
  });

  test('denies a name of which a single address is special', async () => {
    const resolve = async (): Promise<readonly string[]> => ['10.0.0.1', '::1'];
    const result = await connectNode({
      address: { host: 'mixed.example', port: 1 },
      timeoutMs: 1_000,
      signal: never,
      resolve,
    });
    assert.equal(result.kind === 'failed' && result.outcome, 'denied');
  });

  test('says so when the name has no address', async () => {
    const resolve = async (): Promise<readonly string[]> => [];
    const result = await connectNode({
      address: { host: 'empty.example', port: 1 },
      timeoutMs: 1_000,
      signal: never,
      resolve,
    });
    assert.equal(result.kind === 'failed' && result.outcome, 'unreachable');
  });

  test('gives up at once when it is told to', async () => {
    const giveUp = new AbortController();
    const pending = connectNode({
      address: { host: 'slow.example', port: 1 },
      timeoutMs: 60_000,
      signal: giveUp.signal,
      resolve: () => new Promise(() => {}),
    });
    giveUp.abort();
    assert.equal((await pending).kind, 'failed');
  });
});
