/**
 * Identity from nothing but the registry, on real processes with a real etcd: tokens, joining through a real HAProxy, renewal, rotation of
 * the root, and what happens to somebody whose renewal does not come through. Figures are printed as diagnostics.
 */
import assert from 'node:assert/strict';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { EVENT } from '@xylem/telemetry';
import { startHaproxy } from '@xylem/testkit';
import type { HaproxyMode, HaproxyProcess } from '@xylem/testkit';
import { EchoConnection } from '../src/check/echo.ts';
import { DOMAIN, ECHO_PORT } from '../src/layout.ts';
import { JoinedDeployment } from './support/joined.ts';
import type { JoinedProxy } from './support/joined.ts';

const DEADLINE_MS = 20_000;
const HOUR_MS = 3_600_000;

function serversOf(proxies: readonly JoinedProxy[]) {
  return proxies.map(({ id, addresses }) => ({ name: id, address: addresses.tunnel }));
}

describe('joining by token', { timeout: 120_000 }, () => {
  let deployment: JoinedDeployment;
  const proxies: JoinedProxy[] = [];
  const balancers: HaproxyProcess[] = [];

  before(async () => {
    deployment = await JoinedDeployment.create({ certificateTtlMs: HOUR_MS });
    await deployment.startRegistry();
    for (const id of ['p1', 'p2']) proxies.push(await deployment.startProxy(id));
  });
  after(async () => {
    await deployment.close();
    await Promise.all(balancers.map((balancer) => balancer.dispose()));
  });

  async function balancer(mode: HaproxyMode): Promise<string> {
    const made = await startHaproxy({ mode, domain: DOMAIN, servers: serversOf(proxies) });
    balancers.push(made);
    return made.address;
  }

  for (const [leaf, mode] of [
    ['berlin', 'roundrobin'],
    ['tokyo', 'sni'],
  ] as const) {
    test(`an agent joins through HAProxy in ${mode} mode, claims every root proxy and serves`, async (context) => {
      const started = performance.now();
      const root = await balancer(mode);
      const token = await deployment.token('--leaf', leaf);
      const folder = deployment.agentFolder(leaf, 'a1');
      const join_ = ['agent', 'join', '--token-file', '-', '--root', root, '--agent', 'a1', '--identity-dir', folder];
      const joined = await deployment.xylem(join_, token);
      assert.deepEqual([joined.status, joined.err], [0, '']);
      assert.match(joined.out, new RegExp(`^joined ${DOMAIN} as leaf/${leaf}/agent/a1; certificate until 20`));
      assert.equal(statSync(join(folder, 'key.pem')).mode & 0o777, 0o600);

      await deployment.startAgent(leaf, 'a1', root);
      const claimed = (): true | undefined =>
        deployment.recorder.events(EVENT.claimRecorded, `${leaf}/a1`).length >= proxies.length || undefined;
      await deployment.recorder.until('every root proxy claimed', claimed, DEADLINE_MS);
      for (const { addresses } of proxies) {
        const connection = await EchoConnection.open(addresses.frontDoor, `echo.${leaf}:${ECHO_PORT}`);
        await connection.exchange();
        await connection.end();
      }
      context.diagnostic(`from the token to the last echo: ${(performance.now() - started).toFixed(0)} ms`);

      const again = await deployment.xylem([...join_.slice(0, -1), `${folder}-2`], token);
      assert.deepEqual([again.status, again.out], [77, '']);
      assert.match(again.err, /^xylem: .*token/);
    });
  }

  test('no token, password or key is in what anybody prints or logs', () => {
    const shown = JSON.stringify(deployment.recorder.lines);
    for (const id of ['p1', 'p2']) {
      const token = readFileSync(join(deployment.folder, `${id}.token`), 'utf8');
      assert.ok(!shown.includes(token.split('.')[1] ?? ''), id);
    }
    assert.ok(!shown.includes('PRIVATE KEY'));
  });
});
