/**
 * The eight points of the article that Xylem implements, each shown on real processes: a registry with its embedded
 * store, root proxies behind a round-robin balancer, leaf agents, nodes.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect as tlsConnect } from 'node:tls';
import { promisify } from 'node:util';
import type { Matrix } from '@xylem/matrix';
import { EVENT } from '@xylem/telemetry';
import { EchoConnection } from '../src/check/echo.ts';
import { fetchText } from '../src/check/transfer.ts';
import { findTools } from '../src/config.ts';
import { Deployment } from '../src/deployment.ts';
import type { ProxyPart } from '../src/deployment.ts';
import { DOMAIN, ECHO_PORT, HTTP_PORT, LEAVES } from '../src/layout.ts';
import { Observer, allClaimed } from '../src/observer.ts';
import type { LogLine } from '../src/processes/service.ts';

const MESH_DEADLINE_MS = 20_000;
const CLOSE_DEADLINE_MS = 10_000;
const run = promisify(execFile);

const directory = mkdtempSync(join(tmpdir(), 'xylem-article-'));
const lines: (LogLine & { readonly at: number })[] = [];
let deployment: Deployment;
let observer: Observer;

before(async () => {
  deployment = await Deployment.prepare({
    directory,
    preferDefaults: false,
    tools: findTools(),
    onLine: (line) => void lines.push({ ...line, at: performance.now() }),
  });
  await deployment.start();
  observer = new Observer(deployment.user, deployment.doors.access, DOMAIN);
});

after(async () => {
  await deployment.stop();
  rmSync(directory, { recursive: true, force: true });
});

/** Root proxies that run now and are not on their way out. */
function live(): readonly string[] {
  return [...deployment.proxies.keys()];
}

async function fullMesh(): Promise<Matrix> {
  const { reached, matrix } = await observer.until(allClaimed(live(), LEAVES), MESH_DEADLINE_MS);
  assert.ok(
    reached && matrix !== undefined,
    `not every one of ${live().join(', ')} was claimed: ${JSON.stringify(matrix?.leaves)}`,
  );
  return matrix;
}

function part(id: string): ProxyPart {
  const found = deployment.proxies.get(id);
  assert.ok(found, `no root proxy ${id}`);
  return found;
}

function events(name: string, service: string): typeof lines {
  return lines.filter((line) => line.event === name && line.service === service);
}

/** Inodes of the listening TCP sockets of this machine, with their ports. */
function listeningPorts(): ReadonlyMap<string, number> {
  const rows = ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((file) => readFileSync(file, 'utf8').split('\n').slice(1));
  const sockets = rows.map((row) => row.trim().split(/\s+/)).filter((columns) => columns[3] === '0A');
  return new Map(sockets.map((columns) => [columns[9] ?? '', Number.parseInt(columns[1]?.split(':')[1] ?? '', 16)]));
}

/** How many TCP sockets a process listens on. */
function listensOn(pid: number): readonly number[] {
  const ports = listeningPorts();
  return readdirSync(`/proc/${String(pid)}/fd`).flatMap((descriptor) => {
    try {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${String(pid)}/fd/${descriptor}`))?.[1];
      const port = inode === undefined ? undefined : ports.get(inode);
      return port === undefined ? [] : [port];
    } catch {
      return [];
    }
  });
}

test('1. a leaf cluster connects out to the load balancer, and clients of the root cluster reach its nodes', async () => {
  await fullMesh();
  for (const leaf of LEAVES) {
    const page = await fetchText(deployment.doors.frontDoor, `web.${leaf}:${HTTP_PORT}`, '/');
    assert.match(page, new RegExp(`leaf cluster ${leaf}`));
  }
  const agents = deployment.services().filter(({ name }) => LEAVES.some((leaf) => name.startsWith(`${leaf}/a`)));
  assert.equal(agents.length, 3);
  for (const agent of agents) {
    assert.equal(listensOn(agent.pid).length, 1, `${agent.name} listens for more than its metrics`);
  }
});

test('2. the load balancer spreads connections round robin, the agent cannot choose: it meets whom it did not name', async () => {
  const succeeded = lines.filter((line) => line.event === EVENT.dialSucceeded);
  const unsteered = succeeded.filter((line) => line.fields['target'] === undefined);
  assert.ok(unsteered.length >= 3, 'every agent begins with an attempt that names nobody');
  // The one that relays is the one that the balancer chose.
  const chosen = succeeded.map((line) => line.fields['via'] ?? line.fields['proxy']);
  assert.equal(new Set(chosen).size, 3, `round robin sends attempts to every proxy, not only to ${chosen.join(', ')}`);
  const relayed = succeeded.filter((line) => line.fields['via'] !== undefined);
  for (const line of relayed)
    assert.equal(line.fields['proxy'], line.fields['target'], 'a relayed attempt ends at the proxy it names');
});

test('3. on connecting the root proxy sends the list of all proxies it knows, and again whenever that changes', async () => {
  const told = events(EVENT.gossipReceived, 'tokyo/a1').length;
  assert.ok(told >= 1, 'a root proxy has told its list');
  const added = await deployment.startProxy(deployment.newProxyId());
  await fullMesh();
  const found = events(EVENT.proxyFound, 'tokyo/a1').map((line) => line.fields['proxy']);
  assert.ok(found.includes(added.id), 'the new proxy was heard of by gossip');
  assert.ok(events(EVENT.gossipReceived, 'tokyo/a1').length > told, 'the change was told');
});

test('4. the agent keeps dialling until it has claimed every proxy, and then stops dialling', async () => {
  const matrix = await fullMesh();
  assert.deepEqual(
    matrix.leaves.map(({ leaf, unclaimed }) => [leaf, unclaimed]),
    LEAVES.map((leaf) => [leaf, []]),
  );
  const completed = lines.filter((line) => line.event === EVENT.meshCompleted);
  assert.ok(LEAVES.every((leaf) => completed.some((line) => line.service.startsWith(leaf))));
  const rows = matrix.leaves.flatMap(({ agents }) => agents);
  // One dial for each proxy, and one more where a relayed tunnel was tried directly.
  for (const row of rows) assert.ok(row.dials <= 2 * live().length, `${row.agent} needed ${String(row.dials)} dials`);
});

test('5. a claim is exclusive; the other agent does not get it before the connection of the first terminates', async (context) => {
  const matrix = await fullMesh();
  const berlin = matrix.leaves.find(({ leaf }) => leaf === 'berlin')?.agents ?? [];
  const holders = (proxy: string): readonly string[] =>
    berlin
      .filter(({ cells }) => cells.some((cell) => cell.proxy === proxy && cell.state === 'claimed'))
      .map(({ agent }) => agent);
  for (const proxy of live())
    assert.equal(holders(proxy).length, 1, `${proxy} has ${String(holders(proxy).length)} holders`);
  assert.ok(
    lines.some((line) => line.event === EVENT.claimHeld && line.service.startsWith('berlin/')),
    'the second agent was told who holds it',
  );

  const [holder] = holders(live()[0] ?? '');
  const service = deployment.services().find(({ name }) => name === `berlin/${String(holder)}`);
  assert.ok(service);
  const heir = holder === 'a1' ? 'berlin/a2' : 'berlin/a1';
  const promotedBefore = events(EVENT.standbyPromoted, heir).length;
  const killedAt = performance.now();
  service.kill('SIGKILL');
  const { reached } = await observer.until(
    (now) =>
      now.leaves.some(
        ({ leaf, agents, unclaimed }) =>
          leaf === 'berlin' && unclaimed.length === 0 && agents.every(({ agent }) => `berlin/${agent}` === heir),
      ),
    MESH_DEADLINE_MS,
  );
  assert.ok(reached, 'the standby agent holds every proxy now');
  assert.ok(events(EVENT.standbyPromoted, heir).length > promotedBefore, 'it was promoted, it did not have to dial');
  context.diagnostic(
    `promotions ${events(EVENT.standbyPromoted, heir)
      .slice(promotedBefore)
      .map(({ at }) => (at - killedAt).toFixed(0))
      .join(', ')} ms after the kill`,
  );
});

test('6. proxies are rotated in and out all the time, and the agents always end up connected to all of them', async () => {
  for (let round = 0; round < 3; round += 1) {
    const [oldest] = live();
    assert.ok(oldest !== undefined);
    const leaving = part(oldest);
    await deployment.startProxy(deployment.newProxyId());
    if (round % 2 === 0) leaving.service.kill('SIGKILL');
    else deployment.drainProxy(leaving);
    await leaving.service.exited;
    await fullMesh();
  }
  for (const leaf of LEAVES)
    assert.match(await fetchText(deployment.doors.frontDoor, `web.${leaf}:${HTTP_PORT}`, '/'), /leaf cluster/);
});

test('7. a root proxy authenticates, looks the node up and connects the client; any of them may die', async () => {
  const [first = '', second = ''] = live();
  const [host = '', port = ''] = part(first).addresses.access.split(':');
  const stranger = tlsConnect({
    host,
    port: Number(port),
    servername: DOMAIN,
    ALPNProtocols: ['h2'],
    rejectUnauthorized: false,
  });
  const alert = await once(stranger.resume(), 'end', { signal: AbortSignal.timeout(CLOSE_DEADLINE_MS) }).catch(String);
  assert.match(String(alert), /certificate required/, 'without a certificate the connection ends in the handshake');

  const connection = await EchoConnection.open(part(second).addresses.frontDoor, `echo.berlin:${ECHO_PORT}`);
  await connection.exchange();
  const killed = part(first);
  killed.service.kill('SIGKILL');
  await killed.service.exited;
  connection.close();
  // What ran through the one that died is lost; whoever comes next is served by the others.
  await fullMesh();
  const next = await EchoConnection.open(part(second).addresses.frontDoor, `echo.berlin:${ECHO_PORT}`);
  await next.exchange();
  await next.end();
  assert.match(await fetchText(part(second).addresses.frontDoor, `web.tokyo:${HTTP_PORT}`, '/'), /leaf cluster tokyo/);
});

test('8. users create shell sessions to nodes remotely, and connections between the clusters use TLS', async () => {
  const { ssh } = findTools();
  assert.ok(
    ssh !== undefined && deployment.sshConfig !== undefined,
    'OpenSSH client and server are needed: apt-get install openssh-client openssh-server',
  );
  const { stdout } = await run(ssh, ['-F', deployment.sshConfig, 'web.berlin', 'echo $((6 * 7))'], { timeout: 30_000 });
  assert.equal(stdout.trim(), '42');

  const [target = ''] = live();
  const [host = '', port = ''] = part(target).addresses.tunnel.split(':');
  const plain = connect({ host, port: Number(port) });
  plain.on('error', () => undefined);
  plain.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  await once(plain.resume(), 'end', { signal: AbortSignal.timeout(CLOSE_DEADLINE_MS) });
  assert.equal(plain.bytesRead, 0, 'the tunnel port answers nothing that is not TLS');
});
