import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { carry, MAX_PROBE_BYTES, PROBE_NODE } from '@xylem/wire';
import { startTestAgent, startTestNode } from '../testing/agent.ts';
import type { TestAgent, TestNode } from '../testing/agent.ts';
import { makeIdentity, outcomeOf, soon, startScriptedRoot } from '../testing/root.ts';
import type { ScriptedRoot, ScriptedTunnel, TestIdentity } from '../testing/root.ts';

const WAIT_MS = 5_000;

describe('an agent asked whether it serves', { timeout: 30_000 }, () => {
  let identity: TestIdentity;
  let root: ScriptedRoot;
  let node: TestNode;
  let agent: TestAgent;
  let tunnel: ScriptedTunnel;

  before(async () => {
    identity = await makeIdentity('berlin', 'a1');
  });
  after(() => identity.remove());
  beforeEach(async () => {
    root = await startScriptedRoot(identity.authority);
    node = await startTestNode();
    const nodes = [{ name: 'web', ports: [{ port: 80, address: node.address }] }];
    agent = await startTestAgent({ identity, rootPort: root.port, nodes });
    tunnel = await root.attached();
    tunnel.accept();
    await soon(agent.log.has({ event: 'claim.granted' }), 'the claim');
  });
  afterEach(async () => {
    await agent.agent.stop();
    await root.close();
    await node.close();
  });

  function ask(connection: string): void {
    const target = { leaf: 'berlin', node: PROBE_NODE, port: 0 };
    const fence = { incarnation: 0n, token: 0n, traceparent: '' };
    tunnel.dial({ connection, target, user: '', timeoutMs: 5_000, ...fence }, '');
  }

  test('opens Carry and sends back what it gets, without a grant and without a dial', async () => {
    ask('probe-1');
    const { connection, frames } = await root.carried();
    assert.equal(connection, 'probe-1');
    const { code, via } = await outcomeOf(frames);
    assert.deepEqual([code, via], [carry.OutcomeCode.OUTCOME_CODE_CONNECTED, ['a1']]);
    const payload = Buffer.from('is anybody there?');
    frames.send({ kind: { $case: 'data', value: payload } });
    const echo = await frames.first(WAIT_MS);
    assert.ok(echo.kind === 'frame' && echo.frame.kind?.$case === 'data' && payload.equals(echo.frame.kind.value));
    frames.end();
    assert.equal(node.connections, 0);
  });

  test('A26: sends back no more than one small message', async () => {
    ask('probe-1');
    const { frames } = await root.carried();
    await outcomeOf(frames);
    frames.send({ kind: { $case: 'data', value: Buffer.alloc(MAX_PROBE_BYTES + 1) } });
    const answer = await frames.first(WAIT_MS);
    assert.equal(answer.kind, 'over');
  });

  test('A26: answers a few at once only, whatever a root proxy asks for', async () => {
    for (let probe = 0; probe < 40; probe += 1) ask(`probe-${probe}`);
    const opened = await Promise.all([1, 2, 3, 4].map(() => root.carried()));
    const target = { leaf: 'berlin', node: 'web', port: 80 };
    const fence = { incarnation: 7n, token: 0n, traceparent: '' };
    tunnel.dial({ connection: 'dial-1', target, user: '', timeoutMs: 5_000, ...fence });
    assert.equal((await root.carried()).connection, 'dial-1', 'the next stream is a real dial, not a fifth probe');
    for (const { frames } of opened) frames.cancel('seen enough');
  });
});
