import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { carry as carryFrames } from '@xylem/carrier';
import { carry } from '@xylem/wire';
import type { tunnel } from '@xylem/wire';
import { Duplex } from 'node:stream';
import { startTestAgent, startTestNode } from './testing/agent.ts';
import type { TestAgent, TestNode } from './testing/agent.ts';
import { makeIdentity, outcomeOf, soon, startScriptedRoot } from './testing/root.ts';
import type { ScriptedRoot, ScriptedTunnel, TestIdentity } from './testing/root.ts';

const { OutcomeCode, Reason } = carry;

describe('an agent asked to dial', { timeout: 30_000 }, () => {
  let identity: TestIdentity;
  let root: ScriptedRoot;
  let node: TestNode;
  let agent: TestAgent;
  let tunnel: ScriptedTunnel;
  let serial = 0;

  before(async () => {
    identity = await makeIdentity('berlin', 'a1');
  });
  after(() => identity.remove());
  beforeEach(async () => {
    root = await startScriptedRoot(identity.authority);
    node = await startTestNode();
    agent = await startTestAgent({
      identity,
      rootPort: root.port,
      changes: { maxConnectionsPerTunnel: 2 },
      overrides: { resolve: (host) => resolve(host) },
      nodes: [
        { name: 'echo', ports: [{ port: 7, address: node.address }] },
        { name: 'closed', ports: [{ port: 1, address: '127.0.0.1:1' }] },
        { name: 'slow', ports: [{ port: 80, address: 'slow.example:80' }] },
        {
          name: 'named',
          ports: [
            { port: 80, address: 'rebind.example:80' },
            { port: 81, address: 'missing.example:81' },
          ],
        },
      ],
    });
    tunnel = await root.attached();
    tunnel.accept();
    tunnel.send({ $case: 'claimRecorded', value: { slot: 0, token: 12n, incarnation: 7n } });
    await soon(agent.log.has({ event: 'claim.recorded' }), 'the claim');
  });
  afterEach(async () => {
    await agent.agent.stop();
    await root.close();
    await node.close();
  });

  let lookups: string[] = [];
  const resolve = async (host: string): Promise<readonly string[]> => {
    lookups.push(host);
    if (host === 'slow.example') return new Promise(() => {});
    if (host === 'rebind.example') return ['10.0.0.1', '169.254.169.254'];
    throw Object.assign(new Error('not found'), { code: 'ENOTFOUND' });
  };

  const request = (
    target: { node: string; port: number; leaf?: string },
    changes: Partial<Omit<tunnel.DialRequest, 'grant'>> = {},
  ): string => {
    serial += 1;
    const connection = `c${serial}`;
    const value = {
      connection,
      target: { leaf: 'berlin', ...target },
      user: 'ada',
      timeoutMs: 1_000,
      incarnation: 7n,
      token: 12n,
      traceparent: '',
      ...changes,
    };
    tunnel.dial(value, target.port === 0 ? { port: 7 } : {});
    return value.connection;
  };

  const outcome = async (
    target: { node: string; port: number; leaf?: string },
    changes?: Partial<Omit<tunnel.DialRequest, 'grant'>>,
  ) => {
    const connection = request(target, changes);
    const carried = await root.carried();
    assert.equal(carried.connection, connection);
    return outcomeOf(carried.frames);
  };

  test('connects once and says so, with its own name', async () => {
    const result = await outcome({ node: 'echo', port: 7 });
    assert.deepEqual([result.code, result.via], [OutcomeCode.OUTCOME_CODE_CONNECTED, ['a1']]);
    assert.equal(node.connections, 1);
  });

  test('takes port 0 for the only port of a node', async () => {
    assert.equal((await outcome({ node: 'echo', port: 0 })).code, OutcomeCode.OUTCOME_CODE_CONNECTED);
    const several = await outcome({ node: 'named', port: 0 });
    assert.equal(several.code, OutcomeCode.OUTCOME_CODE_INVALID);
    assert.match(several.detail, /has several ports, name one of: 80, 81/);
  });

  test('does not dial the same connection twice', async () => {
    const connection = request({ node: 'echo', port: 7 });
    request({ node: 'echo', port: 7 }, { connection });
    await outcomeOf((await root.carried()).frames);
    await node.accepted();
    assert.equal(node.connections, 1);
  });

  for (const [what, target, code] of [
    ['a node that refuses', { node: 'closed', port: 1 }, OutcomeCode.OUTCOME_CODE_REFUSED],
    ['a node that it does not list', { node: 'secret', port: 22 }, OutcomeCode.OUTCOME_CODE_NO_SUCH_NODE],
    ['a port that it does not list', { node: 'echo', port: 8 }, OutcomeCode.OUTCOME_CODE_NO_SUCH_NODE],
    ['a name that leads to a metadata address', { node: 'named', port: 80 }, OutcomeCode.OUTCOME_CODE_DENIED],
    ['a name that does not exist', { node: 'named', port: 81 }, OutcomeCode.OUTCOME_CODE_UNREACHABLE],
    ['another leaf cluster', { node: 'echo', port: 7, leaf: 'tokyo' }, OutcomeCode.OUTCOME_CODE_DENIED],
  ] as const) {
    test(`answers precisely for ${what}`, async () => {
      lookups = [];
      const result = await outcome(target);
      assert.equal(result.code, code);
      assert.notEqual(result.detail, '');
      assert.equal(/\d+\.\d+\.\d+\.\d+/.test(result.detail), false, 'no address of the leaf cluster leaves it');
      assert.equal(lookups.length <= 1, true);
      assert.equal(node.connections, 0);
    });
  }

  test('answers timed out within the budget of the request', async () => {
    const started = performance.now();
    const { code } = await outcome({ node: 'slow', port: 80 }, { timeoutMs: 100 });
    assert.equal(code, OutcomeCode.OUTCOME_CODE_TIMED_OUT);
    assert.equal(performance.now() - started < 2_000, true);
  });

  test('serves a process that is not registered until another with its name is', async () => {
    const unregistered = { incarnation: 0n, token: 0n };
    const served = await outcome({ node: 'echo', port: 7 }, unregistered);
    assert.equal(served.code, OutcomeCode.OUTCOME_CODE_CONNECTED);
    await outcome({ node: 'echo', port: 7 }, { incarnation: 8n, token: 20n });
    const stale = await outcome({ node: 'echo', port: 7 }, unregistered);
    assert.equal(stale.code, OutcomeCode.OUTCOME_CODE_DENIED);
    assert.match(stale.detail, /unregistered life of root proxy p1 is stale, 8 has been seen/);
  });

  test('refuses a stale incarnation and a stale token, and takes newer ones', async () => {
    const stale = await outcome({ node: 'echo', port: 7 }, { incarnation: 6n, token: 11n });
    assert.equal(stale.code, OutcomeCode.OUTCOME_CODE_DENIED);
    assert.match(stale.detail, /incarnation 6 of root proxy p1 is stale, 7 has been seen/);
    const old = await outcome({ node: 'echo', port: 7 }, { token: 11n });
    assert.match(old.detail, /fencing token 11 of root proxy p1 is stale, 12 has been seen/);
    assert.equal(node.connections, 0);
    assert.equal((await outcome({ node: 'echo', port: 7 }, { token: 0n })).code, OutcomeCode.OUTCOME_CODE_CONNECTED);
    assert.equal(
      (await outcome({ node: 'echo', port: 7 }, { incarnation: 8n, token: 20n })).code,
      OutcomeCode.OUTCOME_CODE_CONNECTED,
    );
  });

  test('bounds the connections of one tunnel', async () => {
    await outcome({ node: 'echo', port: 7 });
    await outcome({ node: 'echo', port: 7 });
    const third = await outcome({ node: 'echo', port: 7 });
    assert.equal(third.code, OutcomeCode.OUTCOME_CODE_OVERLOADED);
    assert.match(third.detail, /carries 2 connections/);
  });

  test('gives up a dial that nobody waits for, and opens no stream for it', async () => {
    const connection = request({ node: 'slow', port: 80 }, { timeoutMs: 20_000 });
    tunnel.send({ $case: 'dialCancelled', value: { connection } });
    // The next stream is that of the next dial.
    assert.equal((await outcome({ node: 'echo', port: 7 })).code, OutcomeCode.OUTCOME_CODE_CONNECTED);
  });

  test('carries bytes both ways and keeps half-close', async () => {
    request({ node: 'echo', port: 7 });
    const { frames } = await root.carried();
    await outcomeOf(frames);
    const atNode = await node.accepted();
    const { user, received, finished } = userEnd();
    const carried = carryFrames({ socket: user, frames, role: 'requester', outcome: 'connected' });
    received.end('question');
    atNode.resume();
    await soon(once(atNode, 'end'), 'FIN at the node');
    atNode.end('answer');
    assert.equal(await soon(finished, 'the answer'), 'answer');
    const end = await soon(carried.closed, 'the end');
    assert.deepEqual([end.kind, end.sentBytes, end.receivedBytes], ['clean', 8, 6]);
  });

  test('still serves a dial that was on its way when it began to leave', async () => {
    const stopped = agent.agent.stop();
    const result = await outcome({ node: 'echo', port: 7 });
    assert.equal(result.code, OutcomeCode.OUTCOME_CODE_CONNECTED);
    await soon(stopped, 'the agent to stop');
  });

  test('resets open connections at the drain deadline', async () => {
    request({ node: 'echo', port: 7 });
    const { frames } = await root.carried();
    await outcomeOf(frames);
    const atNode = await node.accepted();
    const { user } = userEnd();
    const carried = carryFrames({ socket: user, frames, role: 'requester', outcome: 'connected' });
    const reset = once(atNode, 'error');
    await agent.agent.stop();
    assert.equal((await soon(carried.closed, 'the end')).reason, 'drain-deadline');
    assert.equal((await soon(reset, 'the reset'))[0].code, 'ECONNRESET');
  });

  test('resets its nodes when the tunnel is lost', async () => {
    request({ node: 'echo', port: 7 });
    await outcomeOf((await root.carried()).frames);
    const atNode = await node.accepted();
    const reset = once(atNode, 'error');
    atNode.resume();
    tunnel.stream.cancel('crash');
    assert.equal((await soon(reset, 'the reset'))[0].code, 'ECONNRESET');
  });

  test('accepts a proxy that says goodbye for a newer life of itself', async () => {
    tunnel.send({ $case: 'goodbye', value: { reason: Reason.REASON_STALE_INCARNATION, detail: '' } });
    await soon(agent.log.has({ event: 'tunnel.closed', graceful: true, reason: 'stale-incarnation' }), 'the goodbye');
  });
});

/** A user's socket without a network: what is written to `received` is what the user sends. */
function userEnd(): { user: Duplex; received: Duplex; finished: Promise<string> } {
  const parts: Buffer[] = [];
  const finished = Promise.withResolvers<string>();
  const sends = new Duplex({
    allowHalfOpen: true,
    read() {},
    write(chunk: Buffer, _encoding, done) {
      user.push(chunk);
      done();
    },
    final(done) {
      user.push(null);
      done();
    },
  });
  const user = new Duplex({
    allowHalfOpen: true,
    read() {},
    write(chunk: Buffer, _encoding, done) {
      parts.push(chunk);
      done();
    },
    final(done) {
      finished.resolve(Buffer.concat(parts).toString());
      done();
    },
  });
  return { user, received: sends, finished: finished.promise };
}
