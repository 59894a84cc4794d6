/** Tools that people have, against a running deployment: curl, ssh, scp, iperf3; and what they see of a wrong address. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { after, before, describe, test } from 'node:test';
import { EVENT } from '@xylem/telemetry';
import { z } from 'zod';
import { openConnect } from '../src/check/connect.ts';
import { CLOSED_PORT, DOMAIN, LEAVES } from '../src/layout.ts';
import { RunningDemo, output, run } from './support/running-demo.ts';

const DEADLINE_MS = 20_000;
const FILE_BYTES = 100_000_000;
const IPERF_SECONDS = 2;
const IPERF_BYTES_MIN = 10_000_000;
const iperfReport = z.object({ end: z.object({ sum_received: z.object({ bytes: z.number(), seconds: z.number() }) }) });

let demo: RunningDemo;

before(async () => {
  demo = await RunningDemo.start();
});

after(() => demo.stop());

async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}

const megabytesPerSecond = (bytes: number, ms: number): string => `${(bytes / 1_000 / ms).toFixed(0)} MB/s`;

describe('curl', () => {
  const viaDoor = (...more: readonly string[]): readonly string[] => ['-sS', '--max-time', '15', '-p', ...more];

  test('reaches a node through the front door in plaintext on loopback', async () => {
    for (const leaf of LEAVES) {
      const page = await output(
        'curl',
        viaDoor('-x', `http://${demo.deployment.doors.frontDoor}`, `http://web.${leaf}/`),
      );
      assert.match(page, new RegExp(`leaf cluster ${leaf}`));
    }
  });

  test('reaches a node through the front door in TLS, with and without a user certificate', async () => {
    const port = demo.proxy('p1').addresses.frontDoor.split(':')[1] ?? '';
    const door = ['-x', `https://${DOMAIN}:${port}`, '--resolve', `${DOMAIN}:${port}:127.0.0.1`];
    const trusted = [...door, '--proxy-cacert', demo.fileOf('you', 'ca.pem')];
    const identified = ['--proxy-cert', demo.fileOf('you', 'cert.pem'), '--proxy-key', demo.fileOf('you', 'key.pem')];
    assert.match(await output('curl', viaDoor(...trusted, ...identified, 'http://web.berlin/')), /leaf cluster berlin/);
    const opened = demo.recorder.events(EVENT.connectionOpened, 'p1').at(-1);
    assert.equal(opened?.fields['user'], 'you', 'the certificate names the user');
    assert.match(await output('curl', viaDoor(...trusted, 'http://web.tokyo/')), /leaf cluster tokyo/);
    const untrusted = await run('curl', viaDoor(...door, 'http://web.berlin/'));
    assert.match(untrusted.stderr, /certificate/, 'curl believes nobody else');
  });

  for (const [what, url, status, outcome, line] of [
    ['an unknown leaf cluster', 'http://web.nowhere/', 404, 'no-such-leaf', /nowhere/],
    ['an unknown node', 'http://nobody.berlin/', 404, 'no-such-node', /nobody/],
    ['an unknown port', 'http://web.berlin:82/', 404, 'no-such-node', /82/],
    ['a node that refuses', `http://web.berlin:${CLOSED_PORT}/`, 502, 'refused', /refused/],
    ['an address without a leaf cluster', 'http://berlin/', 400, 'invalid', /write <node>\.<leaf>:<port>/],
    ['a name that no node can have', 'http://web_1.berlin/', 400, 'invalid', /holds "_"/],
  ] as const) {
    test(`is told of ${what}: ${status} ${outcome}, and why in one line`, async () => {
      const args = viaDoor('-v', '-x', `http://${demo.deployment.doors.frontDoor}`, url);
      const { code, stderr } = await run('curl', args);
      assert.equal(code, 56, stderr);
      assert.match(stderr, new RegExp(`< HTTP/1.1 ${status} [^]*< Xylem-Outcome: ${outcome}\\r?\\n`));
      const authority = url.slice('http://'.length, -1);
      const body = await connectAnswer(/:\d+$/.test(authority) ? authority : `${authority}:80`);
      assert.match(body, line);
      assert.equal(body.trimEnd().split('\n').length, 1);
    });
  }
});

/** The body of the front door's answer to CONNECT, which curl does not show. */
async function connectAnswer(authority: string): Promise<string> {
  const [host = '', port = ''] = demo.deployment.doors.frontDoor.split(':');
  const socket = connect({ host, port: Number(port) });
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(socket, 'end', { signal: AbortSignal.timeout(DEADLINE_MS) });
  return Buffer.concat(chunks).toString().split('\r\n\r\n')[1] ?? '';
}

describe('OpenSSH', () => {
  const config = (): string => {
    assert.ok(
      demo.deployment.sshConfig !== undefined,
      'OpenSSH is needed: apt-get install openssh-client openssh-server',
    );
    return demo.deployment.sshConfig;
  };

  test('ssh runs a command through xylem connect, with its status and both its streams', async () => {
    const { code, stdout, stderr } = await run('ssh', ['-F', config(), 'web.berlin', 'echo out; echo err >&2; exit 7']);
    assert.deepEqual([code, stdout, stderr], [7, 'out\n', 'err\n']);
  });

  test('scp carries 100 MB there and back with equal SHA-256', { timeout: 180_000 }, async (context) => {
    const [here, there, back] = ['here', 'there', 'back'].map((name) => join(demo.directory, `${name}.bin`));
    assert.ok(here !== undefined && there !== undefined && back !== undefined);
    writeFileSync(here, randomBytes(FILE_BYTES));
    const expected = await sha256(here);
    for (const [from, to, what] of [
      [here, `web.berlin:${there}`, 'up'],
      [`web.berlin:${there}`, back, 'down'],
    ] as const) {
      const earlier = performance.now();
      await output('scp', ['-q', '-F', config(), from, to]);
      context.diagnostic(`${what} ${megabytesPerSecond(FILE_BYTES, performance.now() - earlier)}`);
    }
    assert.equal(await sha256(there), expected);
    assert.equal(await sha256(back), expected);
  });

  test('ssh to an unknown node ends with the reason', async () => {
    const { code, stderr } = await run('ssh', ['-F', config(), 'nobody.berlin', 'true']);
    assert.equal(code, 255);
    assert.match(stderr, /nobody/);
  });
});

for (const [direction, more] of [
  ['user to node', []],
  ['node to user', ['-R']],
] as const) {
  test(`iperf3 measures ${direction} through the tunnel`, async (context) => {
    // Port 81 of web is in the agents' lists, and nothing listens there until now.
    const bind = ['-B', '127.0.0.1', '-p', closedAddress('tokyo-a1').split(':')[1] ?? ''];
    const server = spawn('iperf3', ['-s', '-1', ...bind, '--forceflush'], { stdio: ['ignore', 'pipe', 'inherit'] });
    const forwarder = createServer({ allowHalfOpen: true }, (local) => void forward(local, `web.tokyo:${CLOSED_PORT}`));
    try {
      await once(server.stdout, 'data', { signal: AbortSignal.timeout(DEADLINE_MS) });
      forwarder.listen(0, '127.0.0.1');
      await once(forwarder, 'listening');
      const { port } = forwarder.address() as AddressInfo;
      const args = ['-c', '127.0.0.1', '-p', String(port), '-t', String(IPERF_SECONDS), '-J', ...more];
      const report = await output('iperf3', args);
      const { bytes, seconds } = received(report);
      assert.ok(bytes >= IPERF_BYTES_MIN, report);
      context.diagnostic(megabytesPerSecond(bytes, 1_000 * seconds));
    } finally {
      forwarder.close();
      server.kill('SIGKILL');
    }
  });
}

/** iperf3's own summary of what its receiving end got. */
function received(report: string): { readonly bytes: number; readonly seconds: number } {
  return iperfReport.parse(JSON.parse(report)).end.sum_received;
}

async function forward(local: Socket, authority: string): Promise<void> {
  local.on('error', () => local.destroy());
  const remote = await openConnect(demo.deployment.doors.frontDoor, authority).catch(() => undefined);
  if (remote === undefined) return void local.destroy();
  remote.on('error', () => local.destroy());
  local.pipe(remote).pipe(local);
}

function closedAddress(part: string): string {
  const text = JSON.stringify(demo.configOf(part));
  return new RegExp(`"port":${CLOSED_PORT},"address":"([^"]+)"`).exec(text)?.[1] ?? '';
}
