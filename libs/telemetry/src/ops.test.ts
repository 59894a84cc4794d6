import assert from 'node:assert/strict';
import { networkInterfaces } from 'node:os';
import { describe, it } from 'node:test';
import { serveOps } from './ops.ts';

describe('ops server', () => {
  it('answers health, readiness with its reasons, and metrics', async () => {
    let missing = ['no registry session', 'no tunnel'];
    const ops = await serveOps({ listen: '127.0.0.1:0', ready: () => missing, metrics: async () => 'xylem_up 1\n' });
    const get = async (path: string, method = 'GET'): Promise<[number, string]> => {
      const response = await fetch(`http://127.0.0.1:${ops.port}${path}`, { method });
      return [response.status, await response.text()];
    };
    assert.deepEqual(await get('/healthz'), [200, 'ok\n']);
    assert.deepEqual(await get('/readyz'), [503, 'no registry session\nno tunnel\n']);
    missing = [];
    assert.deepEqual(await get('/readyz?x=1'), [200, 'ok\n']);
    assert.deepEqual(await get('/metrics'), [200, 'xylem_up 1\n']);
    assert.deepEqual(await get('/metrics', 'HEAD'), [200, '']);
    assert.equal((await get('/../etc/passwd'))[0], 404);
    assert.equal((await get('/metrics', 'POST'))[0], 405);
    await ops.close();
  });

  it('names the address and the remedy when the port is taken or foreign', async () => {
    const first = await serveOps({ listen: '127.0.0.1:0', ready: () => [], metrics: async () => '' });
    const options = { ready: () => [], metrics: async () => '' };
    await assert.rejects(
      serveOps({ listen: `127.0.0.1:${first.port}`, ...options }),
      /^Error: ops\.listen: 127\.0\.0\.1:\d+ is taken by another process; end that one or set another address$/,
    );
    await assert.rejects(
      serveOps({ listen: '203.0.113.1:9100', ...options }),
      /ops\.listen: 203\.0\.113\.1:9100 is not an address of this machine/,
    );
    await first.close();
  });

  it('hides the cause of a failing metric from the caller, over IPv6 where the machine has it', async () => {
    const host = JSON.stringify(networkInterfaces()).includes('"::1"') ? '[::1]' : '127.0.0.1';
    const ops = await serveOps({
      listen: `${host}:0`,
      ready: () => [],
      metrics: () => Promise.reject(new Error('secret path')),
    });
    const response = await fetch(`http://${host}:${ops.port}/metrics`);
    assert.deepEqual([response.status, await response.text()], [500, 'internal error\n']);
    await ops.close();
  });
});
