import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { carry } from '@xylem/wire';
import { startTestAgent, startTestNode } from './testing/agent.ts';
import type { TestAgent, TestAgentOptions } from './testing/agent.ts';
import { makeIdentity, onlyProxy, proxyInfo, soon, startScriptedRoot } from './testing/root.ts';
import type { ScriptedRoot, TestIdentity } from './testing/root.ts';

const { Reason } = carry;
/** Of the test runner. */
const OWN_TIMERS = 1;

describe('an agent attaching', { timeout: 30_000 }, () => {
  let identity: TestIdentity;
  let root: ScriptedRoot;
  let running: TestAgent[] = [];

  before(async () => {
    identity = await makeIdentity('berlin', 'a1');
  });
  after(() => identity.remove());
  beforeEach(async () => {
    root = await startScriptedRoot(identity.authority);
  });
  afterEach(async () => {
    await Promise.all(running.map(({ agent }) => agent.stop()));
    running = [];
    await root.close();
  });

  const startAgent = async (options: Partial<TestAgentOptions> = {}): Promise<TestAgent> => {
    const started = await startTestAgent({ identity, rootPort: root.port, ...options });
    running.push(started);
    return started;
  };

  test('says who it is and what it offers', async () => {
    await startAgent({
      nodes: [
        {
          name: 'web',
          ports: [
            { port: 443, address: '10.0.0.5:8443' },
            { port: 80, address: '10.0.0.5:8080' },
          ],
        },
      ],
    });
    const { hello } = await root.attached();
    assert.deepEqual([hello.leaf, hello.agent, hello.minVersion, hello.maxVersion], ['berlin', 'a1', 1, 1]);
    assert.deepEqual(
      hello.nodes.map(({ name, ports }) => ({ name, ports })),
      [{ name: 'web', ports: [80, 443] }],
    );
    assert.notEqual(hello.instanceNonce, '');
    assert.equal(JSON.stringify(hello).includes('10.0.0.5'), false);
  });

  test('claims, and finds every proxy that gossip names', async () => {
    const { agent, log } = await startAgent();
    const tunnel = await root.attached();
    tunnel.accept();
    await soon(log.has({ event: 'claim.granted', proxy: 'p1', slot: 0 }), 'the claim');
    await soon(log.has({ event: 'discovery.mesh_completed', claimed: 1 }), 'the mesh');
    tunnel.send({ $case: 'claimRecorded', value: { slot: 0, token: 12n, incarnation: 7n } });
    await soon(log.has({ event: 'claim.recorded', proxy: 'p1' }), 'the record');
    assert.equal(agent.status().entries[0]?.token, 12n);
    const { value: report } = await tunnel.next('poolReport');
    assert.equal(
      report.entries.every(({ proxy }) => proxy === 'p1'),
      true,
    );
    const members = [proxyInfo('p1'), proxyInfo('p2', 15n)];
    tunnel.send({ $case: 'discoveryRequest', value: root.registry.snapshot({ epoch: 1n, revision: 20n }, members) });
    await soon(log.has({ event: 'discovery.dial_started', target: 'p2' }), 'a steered dial');
    await soon(
      log.has({ event: 'discovery.dial_failed', target: 'p2', reason: 'handshake' }),
      'its failure: this server is not p2',
    );
  });

  test('reports a live second instance with its id by name', async () => {
    const { agent, log } = await startAgent();
    const tunnel = await root.attached();
    tunnel.send({
      $case: 'refused',
      value: {
        reason: Reason.REASON_DUPLICATE_ID,
        detail: 'berlin/a1 is attached from 10.1.1.1',
        retryAfterMs: 60_000,
      },
    });
    await soon(
      log.has({
        event: 'discovery.dial_failed',
        reason: 'duplicate-id',
        detail: 'berlin/a1 is attached from 10.1.1.1',
      }),
      'the refusal',
    );
    assert.match(agent.status().problem ?? '', /another live instance uses the id a1 of leaf berlin/);
    const answer = await fetch(`http://127.0.0.1:${agent.opsPort}/readyz`);
    assert.equal(answer.status, 503);
    assert.match(await answer.text(), /another live instance/);
  });

  for (const [what, changes, detail] of [
    ['a version it does not speak', { version: 9 }, /protocol version 9, this agent speaks 1 to 1/],
    ['another name than the certificate has', { proxy: 'p9' }, /welcome says root proxy p9, the certificate says p1/],
    ['an impossible ping interval', { pingIntervalMs: 0 }, /ping every 0 ms/],
  ] as const) {
    test(`refuses a welcome with ${what}`, async () => {
      const { log } = await startAgent();
      (await root.attached()).welcome(changes);
      await soon(log.has({ event: 'discovery.dial_failed', reason: 'handshake' }), 'the failure');
      const line = log.lines.find(({ event }) => event === 'discovery.dial_failed');
      assert.match(String(line?.['detail']), detail);
    });
  }

  test('gives up a proxy that never welcomes, by the deadline of the dial', async () => {
    const { log } = await startAgent({ overrides: { discovery: { dialTimeoutMs: 200 } } });
    await root.attached();
    await soon(log.has({ event: 'discovery.dial_failed', reason: 'timeout' }), 'the deadline');
  });

  test('answers PING, and gives up a proxy that does not', async () => {
    const { log } = await startAgent();
    const tunnel = await root.attached();
    tunnel.accept({ pingIntervalMs: 20, deadAfterMs: 2_000 });
    tunnel.send({ $case: 'ping', value: { nonce: 99n } });
    assert.equal((await tunnel.next('pong')).value.nonce, 99n);
    await tunnel.next('ping');
    assert.equal(
      log.lines.some(({ event }) => event === 'peer.silent'),
      false,
    );
  });

  test('keeps a standby tunnel when another agent holds the claim, and takes the promotion', async () => {
    const { log } = await startAgent();
    const tunnel = await root.attached();
    tunnel.welcome();
    tunnel.send({ $case: 'claimHeld', value: { holder: 'a2' } });
    tunnel.send({ $case: 'discoveryRequest', value: onlyProxy(root.registry, 'p1') });
    await tunnel.next('standby');
    tunnel.send({ $case: 'claimGranted', value: { slot: 0 } });
    await soon(log.has({ event: 'standby.promoted', proxy: 'p1' }), 'the promotion');
  });

  test('asks for a snapshot after a delta that leaves a gap', async () => {
    await startAgent();
    const tunnel = await root.attached();
    tunnel.accept();
    const stamp = (revision: bigint) => ({ epoch: 1n, revision });
    tunnel.send({
      $case: 'discoveryRequest',
      value: {
        kind: {
          $case: 'delta',
          value: {
            from: stamp(50n),
            to: stamp(60n),
            changed: [],
            removed: [],
            statement: root.registry.statement(stamp(60n), []),
          },
        },
      },
    });
    assert.equal((await tunnel.next('snapshotWanted')).value.have?.revision, 10n);
  });

  test('rejects malformed gossip and keeps the tunnel', async () => {
    const { agent, log } = await startAgent();
    const tunnel = await root.attached();
    tunnel.accept();
    tunnel.send({ $case: 'discoveryRequest', value: onlyProxy(root.registry, '../etc', 99n) });
    await soon(log.has({ event: 'gossip.rejected', proxy: 'p1' }), 'the rejection');
    assert.equal(agent.status().claimed, 1);
  });

  test('leaves in order: drain, GOODBYE last', async () => {
    const { agent, log } = await startAgent();
    const tunnel = await root.attached();
    tunnel.accept();
    await soon(log.has({ event: 'claim.granted' }), 'the claim');
    running = [];
    const stopped = agent.stop();
    assert.equal((await tunnel.next('drain')).value.deadlineMs <= 300, true);
    assert.equal((await tunnel.next('goodbye')).value.reason, Reason.REASON_SHUTDOWN);
    await soon(tunnel.over, 'the end of the stream');
    await soon(stopped, 'the agent to stop');
    await soon(log.has({ event: 'tunnel.closed', graceful: true, reason: 'leaving' }), 'the log line');
  });

  test('tells a loss from a GOODBYE', async () => {
    const { log } = await startAgent();
    const first = await root.attached();
    first.accept();
    first.send({ $case: 'goodbye', value: { reason: Reason.REASON_OVERLOADED, detail: 'too many tunnels' } });
    await soon(
      log.has({ event: 'tunnel.closed', graceful: true, reason: 'overloaded: too many tunnels' }),
      'the goodbye',
    );
    const second = await root.attached();
    second.accept();
    second.stream.cancel('crash');
    await soon(log.has({ event: 'tunnel.closed', graceful: false }), 'the loss');
  });

  test('refuses to start with the certificate of another agent', async () => {
    await assert.rejects(
      startTestAgent({ identity, rootPort: root.port, changes: { agent: 'a2' } }),
      /is the certificate of agent berlin\/a1, the configuration says agent berlin\/a2/,
    );
  });

  test('says GOODBYE to a root proxy whose certificate is over, and takes it no more', async () => {
    const short = await startScriptedRoot(identity.authority, 'p1', 1_000);
    const { log } = await startAgent({
      rootPort: short.port,
      overrides: { lifetime: { graceMs: 600, lastWordsMs: 300 } },
    });
    const tunnel = await short.attached();
    tunnel.accept();
    const { value } = await tunnel.next('goodbye');
    assert.equal(value.reason, Reason.REASON_DENIED);
    await soon(log.has({ event: 'tunnel.closed', proxy: 'p1', graceful: true }), 'the end of the tunnel');
    await soon(log.has({ event: 'discovery.dial_failed', reason: 'handshake' }), 'the refusal of the certificate');
    await short.close();
  });

  test('leaves no timer behind when a tunnel is lost while it drains', async () => {
    const node = await startTestNode();
    const nodes = [{ name: 'web', ports: [{ port: 80, address: node.address }] }];
    const { agent, log } = await startAgent({ nodes, changes: { drain: { deadlineMs: 60_000 } } });
    const tunnel = await root.attached();
    tunnel.accept();
    tunnel.send({ $case: 'claimRecorded', value: { slot: 0, token: 12n, incarnation: 7n } });
    await soon(log.has({ event: 'claim.recorded' }), 'the claim');
    const target = { leaf: 'berlin', node: 'web', port: 80 };
    const dial = { connection: 'c1', target, user: '', timeoutMs: 1_000, incarnation: 7n, token: 12n };
    tunnel.dial({ ...dial, traceparent: '' });
    await root.carried();
    const stopped = agent.stop();
    await tunnel.next('drain');
    await root.close();
    await soon(stopped, 'the end of the agent');
    await node.close();
    const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    const deadline = performance.now() + 5_000;
    while (timers() > OWN_TIMERS) {
      assert.ok(performance.now() < deadline, `${timers()} timers keep the process`);
      await sleep(20);
    }
  });
});
