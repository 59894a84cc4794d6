import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { status as Status } from '@grpc/grpc-js';
import { StatusError } from '@xylem/grpc';
import { canonicalPolicy, createAuthority, readPolicy, UserProofs } from '@xylem/identity';
import type { registry as wire } from '@xylem/wire';
import { OPEN_POLICY } from '../testing/policies.ts';
import { eventually } from '../testing/world.ts';
import { DialAuthority } from './dial-authority.ts';
import type { AuthorityPorts } from './dial-authority.ts';
import { PolicyGate } from './policy-gate.ts';
import { ANONYMOUS_PROOF } from './proof.ts';
import { StandingGrants } from './standing-grants.ts';

function told(yaml: string, revision = 1n): wire.Security {
  const outcome = readPolicy(yaml);
  assert.ok(outcome.ok);
  const policy = canonicalPolicy(outcome.policy);
  return {
    revision,
    policyVersion: revision,
    policy,
    groups: [],
    revocations: [],
    trust: '',
    intermediates: [],
    trustGeneration: 0n,
  };
}

const DIAL = { user: '', leaf: 'berlin', node: 'web', port: 80 };

describe('the policy gate', () => {
  it('is shut until a registry has spoken, and keeps what the newest said', () => {
    const gate = new PolicyGate(() => undefined);
    assert.match(gate.denial(DIAL) ?? '', /not heard from a registry yet/);
    assert.equal(gate.update(told(OPEN_POLICY, 5n)), true);
    assert.equal(gate.denial(DIAL), undefined);
    assert.equal(gate.update(told('rules: []', 4n)), false, 'older than what is known');
    assert.equal(gate.denial(DIAL), undefined);
    assert.equal(gate.update(told(OPEN_POLICY, 6n)), false, 'nothing is new');
    assert.equal(gate.update(told('rules: []', 7n)), true);
    assert.notEqual(gate.denial(DIAL), undefined);
  });

  it('is shut by a policy that it cannot read, and by one that was never set', () => {
    const problems: string[] = [];
    const gate = new PolicyGate((detail) => problems.push(detail));
    gate.update(told(OPEN_POLICY));
    gate.update({ ...told(OPEN_POLICY, 2n), policy: '{"rules": []} ' });
    assert.match(gate.denial(DIAL) ?? '', /cannot read the policy/);
    assert.equal(problems.length, 1);
    gate.update({ ...told(OPEN_POLICY, 3n), policy: '', policyVersion: 0n });
    assert.match(gate.denial(DIAL) ?? '', /nobody without a name/);
  });

  it('lets a dial pass whose port it does not know when there is one that it could be', () => {
    const gate = new PolicyGate(() => undefined);
    gate.update(told("rules: [{ name: web, allow: [anonymous], leaves: [berlin], nodes: ['web:80'] }]"));
    assert.equal(gate.denial({ ...DIAL, port: 0 }), undefined);
    assert.notEqual(gate.denial({ ...DIAL, port: 0, node: 'db' }), undefined);
    gate.update(told("rules: [{ name: web, allow: [anonymous], leaves: [berlin], nodes: ['*'] }]", 2n));
    assert.equal(gate.denial({ ...DIAL, port: 0 }), undefined);
  });
});

describe('leave for a dial', () => {
  const chosen = { ...DIAL, connection: 'c1', proof: ANONYMOUS_PROOF, entry: '', agent: 'a1', instance: 'i1' };

  async function authority(changes: Partial<AuthorityPorts>): Promise<DialAuthority> {
    const { ca } = await createAuthority({ domain: 'xylem.internal' });
    const gate = new PolicyGate(() => undefined);
    gate.update(told(OPEN_POLICY));
    const options = { domain: 'xylem.internal', trust: () => ca, intermediates: () => [], refusal: () => undefined };
    return new DialAuthority({
      gate,
      proofs: new UserProofs(options),
      ask: async () => ({ grant: 'granted', detail: '', user: '' }),
      standing: () => 'standing',
      answered: () => undefined,
      ...changes,
    });
  }
  const failing = (code: number) => async () => {
    throw new StatusError(code, 'because');
  };

  it('is the grant of the registry that answers', async () => {
    assert.deepEqual(await (await authority({})).authorise(chosen), { kind: 'granted', grant: 'granted', user: '' });
  });

  it('is the standing grant only when none answers at all', async () => {
    for (const code of [Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED, Status.CANCELLED]) {
      const answer = await (await authority({ ask: failing(code) })).authorise(chosen);
      assert.deepEqual(answer, { kind: 'granted', grant: 'standing', user: '' });
    }
    for (const [code, outcome] of [
      [Status.PERMISSION_DENIED, 'denied'],
      [Status.INTERNAL, 'denied'],
      [Status.INVALID_ARGUMENT, 'denied'],
      [Status.RESOURCE_EXHAUSTED, 'overloaded'],
    ] as const) {
      const answer = await (await authority({ ask: failing(code) })).authorise(chosen);
      assert.equal(answer.kind === 'refused' && answer.outcome, outcome);
    }
  });

  it('is not given where a registry denies, or nothing is known of the leaf cluster and none answers', async () => {
    const denying = await authority({ ask: async () => ({ grant: '', detail: 'no', user: '' }) });
    assert.deepEqual(await denying.authorise(chosen), { kind: 'refused', outcome: 'denied', detail: 'no' });
    const alone = await authority({ ask: failing(Status.UNAVAILABLE), standing: () => undefined });
    const answer = await alone.authorise(chosen);
    assert.equal(answer.kind === 'refused' && answer.outcome, 'leaf-offline');
  });

  it('is not by the standing grant while a registry answers that it does not know the policy yet', async () => {
    const answer = await (await authority({ ask: failing(Status.FAILED_PRECONDITION) })).authorise(chosen);
    assert.ok(answer.kind === 'refused');
    assert.equal(answer.outcome, 'overloaded', 'to be tried again, not denied');
    assert.match(answer.detail, /because/);
  });

  it('waits for a registry that is silent once, not for every dial', async () => {
    let asked = 0;
    const silent = await authority({
      ask: async () => {
        asked += 1;
        throw new StatusError(Status.DEADLINE_EXCEEDED, 'silence');
      },
    });
    for (let dial = 0; dial < 10; dial += 1) await silent.authorise(chosen);
    assert.equal(asked, 1);
  });

  it('is not even asked for with the proof of somebody else', async () => {
    let asked = 0;
    const asking = await authority({
      ask: async () => {
        asked += 1;
        return { grant: 'granted', detail: '', user: '' };
      },
    });
    const answer = await asking.authorise({ ...chosen, user: 'alice' });
    assert.equal(answer.kind === 'refused' && answer.detail, 'the proof is that of another user');
    assert.equal(asked, 0);
  });
});

describe('standing grants', () => {
  it('are asked for with the first tunnel, anew after a change, and kept for their time when the tunnels go', async () => {
    const asked: string[] = [];
    const standing = new StandingGrants({
      ask: async (leaf) => {
        asked.push(leaf);
        return { grant: `${leaf} ${asked.length}`, validMs: 60_000 };
      },
      onProblem: assert.ifError,
    });
    standing.keep(new Set(['berlin']));
    await eventually('the first', () => standing.get('berlin') === 'berlin 1');
    standing.renewAll();
    await eventually('another', () => standing.get('berlin') === 'berlin 2');
    standing.keep(new Set());
    assert.equal(standing.get('berlin'), 'berlin 2');
    standing.renewAll();
    assert.deepEqual(asked, ['berlin', 'berlin']);
    assert.equal(standing.get('tokyo'), undefined);
    standing.close();
  });

  it('are asked for a few at a time, and again when a registry is back', async () => {
    let [running, most, failing] = [0, 0, true];
    const problems: string[] = [];
    const standing = new StandingGrants({
      ask: async (leaf) => {
        running += 1;
        most = Math.max(most, running);
        await new Promise((resolve) => setImmediate(resolve));
        running -= 1;
        if (failing) throw new Error('no registry');
        return { grant: leaf, validMs: 60_000 };
      },
      onProblem: (leaf) => problems.push(leaf),
    });
    const leaves = new Set(Array.from({ length: 100 }, (_, index) => `leaf-${index}`));
    standing.keep(leaves);
    await eventually('all have failed', () => problems.length === 100);
    failing = false;
    standing.fill();
    await eventually('all are there', () => [...leaves].every((leaf) => standing.get(leaf) === leaf));
    assert.equal(most, 8);
    standing.close();
  });

  it('are not asked for in a loop when what comes is good for no time at all', async () => {
    let asked = 0;
    const standing = new StandingGrants({
      ask: async (leaf) => {
        asked += 1;
        return { grant: leaf, validMs: asked % 2 };
      },
      onProblem: assert.ifError,
    });
    standing.keep(new Set(['berlin']));
    for (let turn = 0; turn < 100; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    assert.equal(asked, 1);
    assert.equal(standing.get('berlin'), undefined);
    standing.close();
  });
});
