import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { StatusError } from '@xylem/grpc';
import {
  createAuthority,
  derOfPem,
  memoryTlsSource,
  readPolicy,
  signDial,
  StatementSigner,
  StatementVerifier,
  UserProofs,
} from '@xylem/identity';
import type { Authority, Identity } from '@xylem/identity';
import { decide } from '@xylem/policy';
import type { Policy } from '@xylem/policy';
import type { carry, registry as wire } from '@xylem/wire';
import type { Rules } from '../access/in-force.ts';
import { Grants } from './grants.ts';
import type { GrantOptions } from './grants.ts';

const DOMAIN = 'xylem.internal';
const HOUR_MS = 3_600_000;
const YAML = `
groups: { dba: [alice] }
rules:
  - { name: databases, allow: ['group:dba', 'group:kept'], leaves: [berlin], nodes: ['db:5432'] }
  - { name: tokyo, allow: [everyone], leaves: [tokyo], nodes: ['*'] }
`;

function policyOf(yaml: string): Policy {
  const outcome = readPolicy(yaml);
  assert.ok(outcome.ok);
  return outcome.policy;
}

describe('the registry asked for leave', () => {
  let authority: Authority;
  let signer: StatementSigner;
  let verifier: StatementVerifier;
  let rules: Rules;
  const problems: string[] = [];
  const revoked = new Set<string>();

  before(async () => {
    authority = await createAuthority({ domain: DOMAIN });
    const { ca, cert, key } = await authority.issue({ kind: 'registry', registry: 'r1' }, HOUR_MS);
    const source = memoryTlsSource({ ca, cert, key: key.reveal() });
    signer = new StatementSigner({ domain: DOMAIN, current: () => source.current() });
    verifier = new StatementVerifier({ domain: DOMAIN, trust: () => ca });
    rules = { version: 3, policy: policyOf(YAML), canonical: '', groups: new Map([['carol', ['kept']]]) };
  });

  function grants(
    changes: Partial<Pick<GrantOptions, 'now' | 'offlineMs' | 'requireSigned'>> & {
      readonly ready?: boolean;
      readonly behindMs?: number;
    } = {},
  ): Grants {
    return new Grants({
      signer,
      proofs: new UserProofs({
        domain: DOMAIN,
        trust: () => authority.ca,
        intermediates: () => [],
        refusal: (identity) => (revoked.has(identity) ? 'revoked' : undefined),
      }),
      policy: {
        get rules() {
          return rules;
        },
        decide: (question) =>
          decide(rules.policy, { ...question, groups: rules.groups.get(question.user ?? '') ?? [] }),
      },
      ready: async () => changes.ready ?? true,
      behindMs: () => changes.behindMs ?? 0,
      offlineMs: changes.offlineMs ?? 900_000,
      requireSigned: changes.requireSigned ?? false,
      onProblem: (detail) => problems.push(detail),
      ...(changes.now === undefined ? {} : { now: changes.now }),
    });
  }

  async function certificate(identity: Identity, from = authority): Promise<carry.UserProof> {
    const { cert } = await from.issue(identity, HOUR_MS);
    const certificates = derOfPem(cert).map((der) => Buffer.from(der));
    return { kind: { $case: 'certificate', value: { certificates, signed: '' } } };
  }

  const user = (name: string): Promise<carry.UserProof> => certificate({ kind: 'user', user: name });
  const request = (
    proof: carry.UserProof | undefined,
    changes: Partial<wire.AuthoriseDialRequest> = {},
  ): wire.AuthoriseDialRequest => ({
    target: { leaf: 'berlin', node: 'db', port: 5432 },
    proof,
    connection: 'c1',
    entry: '',
    agent: 'a1',
    instance: 'i1',
    ...changes,
  });

  it('grants what the policy allows, to exactly this dial on this tunnel', async () => {
    const { grant, detail, user: name } = await grants().authorise(request(await user('alice')), 'p1');
    assert.deepEqual([detail, name], ['', 'alice']);
    const verdict = await verifier.grant(grant);
    assert.ok(verdict.kind === 'verified');
    assert.deepEqual(verdict.content, {
      user: 'alice',
      leaf: 'berlin',
      agent: 'a1',
      instance: 'i1',
      proxy: 'p1',
      node: 'db',
      port: 5432,
      connection: 'c1',
      policyVersion: 3,
    });
    assert.equal((verdict.expiresAtMs ?? 0) - verdict.issuedAtMs, 30_000);
  });

  it('knows the groups that the registry keeps, and access tokens', async () => {
    const token = signer.accessToken({ user: 'carol', domain: DOMAIN, login: 'l1' }, HOUR_MS);
    const { grant, user: name } = await grants().authorise(
      request({ kind: { $case: 'accessToken', value: token } }),
      'p1',
    );
    assert.equal(name, 'carol');
    assert.notEqual(grant, '');
  });

  it('denies what the policy does not allow, and says nothing of what it allows to others', async () => {
    const answer = await grants().authorise(request(await user('bob')), 'p1');
    assert.deepEqual([answer.grant, answer.user], ['', 'bob']);
    assert.doesNotMatch(answer.detail, /dba|alice|databases/);
    const nobody = await grants().authorise(request({ kind: { $case: 'anonymous', value: {} } }), 'p1');
    assert.equal(nobody.grant, '');
  });

  it('denies a dial whose proof proves nothing, with the reason', async () => {
    const stranger = await createAuthority({ domain: DOMAIN });
    const cases: readonly (readonly [carry.UserProof | undefined, RegExp])[] = [
      [undefined, /nothing says who dials/],
      [{ kind: undefined }, /nothing says who dials/],
      [{ kind: { $case: 'certificate', value: { certificates: [], signed: '' } } }, /no certificate was shown/],
      [
        { kind: { $case: 'certificate', value: { certificates: [Buffer.from('x')], signed: '' } } },
        /no X\.509 certificate/,
      ],
      [await certificate({ kind: 'user', user: 'alice' }, stranger), /root that is trusted/],
      [await certificate({ kind: 'agent', leaf: 'berlin', agent: 'a1' }), /only users dial/],
      [await certificate({ kind: 'proxy', proxy: 'p1' }), /only users dial/],
      [{ kind: { $case: 'accessToken', value: 'x' } }, /access token was refused/],
      [
        {
          kind: { $case: 'accessToken', value: signer.membership({ epoch: 1n, revision: 1n, sha256: 'a'.repeat(64) }) },
        },
        /refused/,
      ],
    ];
    for (const [proof, expected] of cases) {
      const { grant, detail } = await grants().authorise(request(proof), 'p1');
      assert.equal(grant, '');
      assert.match(detail, expected);
    }
    revoked.add('user/alice');
    assert.equal((await grants().authorise(request(await user('alice')), 'p1')).grant, '');
    revoked.clear();
  });

  it('refuses a request that is none', async () => {
    const proof = await user('alice');
    for (const changes of [
      { target: undefined },
      { target: { leaf: 'berlin', node: 'db', port: 0 } },
      { target: { leaf: 'berlin', node: 'db', port: 65_536 } },
      { target: { leaf: '../x', node: 'db', port: 1 } },
      { connection: '' },
      { connection: 'c'.repeat(129) },
      { agent: '' },
      { instance: '' },
    ]) {
      await assert.rejects(grants().authorise(request(proof, changes), 'p1'), (error: unknown) => {
        assert.ok(error instanceof StatusError);
        return /no valid target/.test(error.detail);
      });
    }
  });

  it('neither grants nor denies while it does not know the policy', async () => {
    const unaware = grants({ ready: false });
    await assert.rejects(unaware.authorise(request(await user('alice')), 'p1'), /FAILED_PRECONDITION/);
    await assert.rejects(unaware.standing({ leaf: 'berlin' }, 'p1'), /FAILED_PRECONDITION/);
  });

  it('bounds what one user dials, wherever its dials come in, without harm to others', async () => {
    const bounded = grants({ now: () => 0 });
    const [loop, calm] = [await user('alice'), await user('bob')];
    const ask = (proof: carry.UserProof, proxy: string) => bounded.authorise(request(proof), proxy);
    const answers = await Promise.allSettled(Array.from({ length: 2_100 }, (_, index) => ask(loop, `p${index % 5}`)));
    const refused = answers.flatMap((answer) => (answer.status === 'rejected' ? [String(answer.reason)] : []));
    assert.ok(refused.length > 0 && refused.every((why) => /user alice asks for more than it may/.test(why)));
    await ask(calm, 'p1');
  });

  it('bounds the standing grants that one root proxy asks for, without harm to others', async () => {
    const bounded = grants({ now: () => 0 });
    let asked = 0;
    const again = async (): Promise<never> => {
      for (; asked < 20_000; asked += 1) await bounded.standing({ leaf: '../x' }, 'p1').catch(exhausted);
      throw new Error('it was never refused');
    };
    const exhausted = (error: unknown): void => {
      if (!/no valid name/.test(String(error))) throw error;
    };
    await assert.rejects(again(), /root proxy p1 asks for more than it may/);
    assert.ok(asked >= 10_000);
    await assert.rejects(bounded.standing({ leaf: '../x' }, 'p2'), /no valid name/);
  });

  it('goes on without the store for as long as standing grants would, and no longer', async () => {
    const proof = await user('alice');
    const behind = (behindMs: number, offlineMs = 900_000): Grants => grants({ behindMs, offlineMs });
    assert.notEqual((await behind(899_000).authorise(request(proof), 'p1')).grant, '');
    await assert.rejects(behind(900_001).authorise(request(proof), 'p1'), /FAILED_PRECONDITION.*lost the store/);
    assert.notEqual((await behind(29_000, 0).authorise(request(proof), 'p1')).grant, '', 'a leader changes in less');
    await assert.rejects(behind(30_001, 0).authorise(request(proof), 'p1'), /FAILED_PRECONDITION/);
    const { grant, validMs } = await behind(600_000).standing({ leaf: 'berlin' }, 'p1');
    assert.equal(validMs, 300_000, 'together no longer than that');
    const verdict = await verifier.standingGrant(grant);
    assert.ok(verdict.kind === 'verified');
    assert.equal((verdict.expiresAtMs ?? 0) - verdict.issuedAtMs, 300_000);
  });

  it('bounds what one root proxy asks for, without harm to others', async () => {
    const bounded = grants({ now: () => 0 });
    const proof: carry.UserProof = { kind: undefined };
    const answers = await Promise.allSettled(
      Array.from({ length: 5_000 }, () => bounded.authorise(request(proof), 'p1')),
    );
    assert.ok(answers.some(({ status }) => status === 'rejected'));
    assert.equal((await bounded.authorise(request(proof), 'p2')).grant, '');
  });

  describe('where only signed dials are taken', () => {
    const entryP1 = { entry: 'p1', leaf: 'berlin', node: 'db', port: 5432 };

    async function alice() {
      const { ca, cert, key } = await authority.issue({ kind: 'user', user: 'alice' }, HOUR_MS);
      const own = { ca, cert, key: key.reveal() };
      const certificates = derOfPem(cert).map((der) => Buffer.from(der));
      const shown = (signed: string): carry.UserProof => ({
        kind: { $case: 'certificate', value: { certificates, signed } },
      });
      return { own, shown };
    }
    const ask = (proof: carry.UserProof, proxy = 'p1', entry = '') =>
      grants({ requireSigned: true }).authorise(request(proof, { entry }), proxy);

    it('grants what the user signed for, to the root proxy that it was signed for, also over a hop', async () => {
      const { own, shown } = await alice();
      const proof = shown(signDial(own, DOMAIN, entryP1));
      assert.notEqual((await ask(proof)).grant, '');
      assert.notEqual((await ask(proof, 'p2', 'proxy/p1')).grant, '', 'p1 forwarded it to p2');
      assert.notEqual((await ask(shown(signDial(own, DOMAIN, { ...entryP1, port: 0 })))).grant, '', 'the only port');
      assert.match((await ask(proof, 'p2')).detail, /for another root proxy/);
    });

    it('refuses what can be shown without the key, and what was signed for something else', async () => {
      const { own, shown } = await alice();
      const token = signer.accessToken({ user: 'alice', domain: DOMAIN, login: 'l1' }, HOUR_MS);
      const other = await alice();
      const signed = signDial(own, DOMAIN, entryP1);
      const cases: readonly (readonly [carry.UserProof, RegExp])[] = [
        [shown(''), /has not signed .*only signed dials are taken here; use xylem connect/],
        [{ kind: { $case: 'accessToken', value: token } }, /whoever has seen it/],
        [shown('a.b.c'), /not signed by the certificate's key/],
        [shown(signDial(other.own, DOMAIN, entryP1)), /not signed by the certificate's key/],
        [shown(`${signed.slice(0, -2)}AA`), /not signed by the certificate's key/],
        [shown(signDial(own, DOMAIN, { ...entryP1, node: 'web' })), /for another dial/],
        [shown(signDial(own, DOMAIN, { ...entryP1, port: 22 })), /for another dial/],
        [shown(signDial(own, DOMAIN, { ...entryP1, leaf: 'tokyo' })), /for another dial/],
        [shown(signDial(own, DOMAIN, entryP1, Date.now() - 2 * 60_000)), /not made just now; check the clock/],
        [shown(signDial(own, DOMAIN, entryP1, Date.now() + 2 * 60_000)), /not made just now/],
        [shown(signer.membership({ epoch: 1n, revision: 1n, sha256: 'a'.repeat(64) })), /not signed by/],
      ];
      for (const [proof, expected] of cases) {
        const { grant, detail } = await ask(proof);
        assert.equal(grant, '');
        assert.match(detail, expected);
      }
    });

    it('leaves nobody in particular to the policy, and elsewhere a weak proof is enough', async () => {
      const { shown } = await alice();
      assert.notEqual((await grants().authorise(request(shown('')), 'p1')).grant, '');
      const { detail } = await ask({ kind: { $case: 'anonymous', value: {} } });
      assert.match(detail, /nobody without a name/);
    });
  });

  it('gives a standing grant with the part of the policy that concerns the leaf cluster, and no other', async () => {
    const { grant, validMs } = await grants().standing({ leaf: 'berlin' }, 'p1');
    assert.equal(validMs, 900_000);
    const verdict = await verifier.standingGrant(grant);
    assert.ok(verdict.kind === 'verified');
    const { policy, proxy, leaf } = verdict.content;
    assert.deepEqual([proxy, leaf, policy.rules.map(({ name }) => name)], ['p1', 'berlin', ['databases']]);
    const ask = (name: string) => decide(policy, { user: name, groups: [], leaf, node: 'db', port: 5432 }).allowed;
    assert.deepEqual(['alice', 'carol', 'bob'].map(ask), [true, true, false]);
  });

  it('gives none when that is switched off, or when it would be too long, which is a problem', async () => {
    assert.deepEqual(await grants({ offlineMs: 0 }).standing({ leaf: 'berlin' }, 'p1'), { grant: '', validMs: 0 });
    const members = Array.from({ length: 5_000 }, (_, index) => `somebody-${index}`);
    rules = { ...rules, policy: { ...rules.policy, groups: new Map([['dba', members]]) } };
    await assert.rejects(grants().standing({ leaf: 'berlin' }, 'p1'), StatusError);
    assert.match(problems.join('\n'), /berlin has no standing grant/);
  });
});
