/**
 * `xylem policy check` says what the door does: random policies are set at a real registry, and every question is asked both of its
 * AdminService and, as a CONNECT request, of the front door of a real root proxy. No agent is there, so a dial that is allowed ends as
 * "no such leaf cluster", and one that is not as "denied".
 */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { createChannel } from '@xylem/grpc';
import type { GrpcChannel } from '@xylem/grpc';
import { StatementSigner, canonicalPolicy } from '@xylem/identity';
import type { Policy, Rule, Subject, TargetPattern } from '@xylem/policy';
import { AdminService } from '@xylem/wire';
import fc from 'fast-check';
import { DOMAIN } from './testing/credentials.ts';
import { World, eventually } from './testing/world.ts';
import type { WorldProxy } from './testing/world.ts';

const POLICIES = 1_000;
/** Policies that are set as one: each speaks of leaf clusters and groups of its own, by a prefix. */
const AT_ONCE = 20;
const QUESTIONS = 2;
/** Fixed, so that a failure is seen again. */
const SEED = 20_251_123;
const DEADLINE_MS = 10_000;
const HOUR_MS = 3_600_000;

// Few names, so that rules and questions meet often. The registry keeps groups of its own for bob and carol.
const USERS = ['alice', 'bob', 'carol'] as const;
const KEPT_GROUPS: Readonly<Record<string, readonly string[]>> = { bob: ['ops'], carol: ['dba', 'web'] };
const user = fc.constantFrom(...USERS);
const group = fc.constantFrom('dba', 'ops', 'web');
const leaf = fc.constantFrom('berlin', 'tokyo', 'edge-1', 'edge-2');
const node = fc.constantFrom('db', 'db-1', 'vault', 'web');
const port = fc.constantFrom(22, 80, 5432);

const subject: fc.Arbitrary<Subject> = fc.oneof(
  { weight: 3, arbitrary: user.map((name): Subject => ({ kind: 'user', user: name })) },
  { weight: 4, arbitrary: group.map((name): Subject => ({ kind: 'group', group: name })) },
  { weight: 1, arbitrary: fc.constantFrom<Subject>({ kind: 'everyone' }, { kind: 'anonymous' }) },
);
const target: fc.Arbitrary<TargetPattern> = fc.record({
  node: fc.oneof(node, fc.constantFrom('*', 'db*', '*b', 'v*t')),
  ports: fc.option(fc.uniqueArray(port, { minLength: 1, maxLength: 2 }), { nil: undefined }),
});
const rule: fc.Arbitrary<Omit<Rule, 'name'>> = fc.record({
  effect: fc.constantFrom('allow', 'allow', 'deny'),
  subjects: fc.array(subject, { minLength: 1, maxLength: 3 }),
  leaves: fc.array(fc.oneof(leaf, fc.constantFrom('*', 'edge-*')), { minLength: 1, maxLength: 2 }),
  targets: fc.array(target, { minLength: 1, maxLength: 3 }),
});
const rules = fc.array(rule, { maxLength: 6 });
const groups = fc.dictionary(group, fc.uniqueArray(user, { maxLength: 2 }), { noNullPrototype: true });
const question = fc.record({ user: fc.option(user, { nil: undefined, freq: 5 }), leaf, node, port });

interface Question {
  readonly user: string | undefined;
  readonly leaf: string;
  readonly node: string;
  readonly port: number;
}

type Random = Pick<Policy, 'groups' | 'rules'>;

const policies: fc.Arbitrary<Random> = fc.record({
  groups: groups.map((members) => new Map(Object.entries(members))),
  rules: rules.map((each) => each.map((one, index) => ({ ...one, name: `r${index}` }))),
});

function own(index: number, name: string): string {
  return `s${index}-${name}`;
}

function ownRule(each: Rule, index: number): Rule {
  return {
    ...each,
    name: own(index, each.name),
    leaves: each.leaves.map((pattern) => own(index, pattern)),
    subjects: each.subjects.map((one) => (one.kind === 'group' ? { ...one, group: own(index, one.group) } : one)),
  };
}

describe('policy check and the front door', { timeout: 240_000 }, () => {
  let world: World;
  let proxy: WorldProxy;
  let admin: GrpcChannel;
  const tokens = new Map<string, string>();

  before(async () => {
    world = await World.create(undefined, 'rules: []');
    proxy = await world.proxy('p1');
    const tls = await world.credentials.source({ kind: 'user', user: 'admin@r1' });
    admin = createChannel({ address: `127.0.0.1:${world.registryPort}`, tls, serverName: `registry.${DOMAIN}` });
    const registry = await world.credentials.material({ kind: 'registry', registry: 'r1' });
    const signer = new StatementSigner({ domain: DOMAIN, current: () => registry });
    for (const name of USERS) {
      tokens.set(name, signer.accessToken({ user: name, domain: DOMAIN, login: 'test' }, HOUR_MS / 2));
      const kept = KEPT_GROUPS[name] ?? [];
      const everywhere = Array.from({ length: AT_ONCE }, (_, index) => kept.map((each) => own(index, each))).flat();
      const wish = { name, groups: everywhere, password: '', disabled: false };
      await admin.unary(AdminService.putUser, { ...wish, replace: false, keepGroups: false }, DEADLINE_MS);
    }
  });
  after(async () => {
    admin.close();
    await world.close();
  });

  async function set(together: readonly Random[], version: number): Promise<void> {
    const yaml = canonicalPolicy({
      groups: new Map(
        together.flatMap((policy, index) => [...policy.groups].map(([name, of]) => [own(index, name), of])),
      ),
      admins: [],
      rules: together.flatMap((policy, index) => policy.rules.map((each) => ownRule(each, index))),
      cutOpenConnections: true,
    });
    const request = { yaml, expectedVersion: BigInt(version - 1), checkOnly: false };
    const { problems } = await admin.unary(AdminService.setPolicy, request, DEADLINE_MS);
    assert.deepEqual(problems, []);
    await eventually(`version ${version}`, () => proxy.status().policyVersion === version);
  }

  async function isAllowedAtDoor(asked: Question): Promise<boolean> {
    const authority = `${asked.node}.${asked.leaf}:${asked.port}`;
    const token = asked.user === undefined ? undefined : tokens.get(asked.user);
    const login = token === undefined ? '' : `Proxy-Authorization: Bearer ${token}\r\n`;
    const socket = connect({ port: proxy.ports.frontDoor, host: '127.0.0.1' });
    socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${login}\r\n`);
    const answer = await text(socket);
    const [, status, outcome] = /^HTTP\/1\.1 (\d+) [^]*?\r\nXylem-Outcome: (\S+)\r\n/.exec(answer) ?? [];
    if (status === '403' && outcome === 'denied') return false;
    assert.equal(`${status} ${outcome}`, '404 no-such-leaf', answer);
    return true;
  }

  it(`agree on ${POLICIES} random policies`, async (t) => {
    const asked = fc.array(question, { minLength: QUESTIONS, maxLength: QUESTIONS });
    const cases = fc.sample(fc.tuple(policies, asked), { numRuns: POLICIES, seed: SEED });
    const started = performance.now();
    let allowed = 0;
    // Version 1 is the empty one that the world starts with.
    for (let version = 2, next = 0; next < POLICIES; version += 1, next += AT_ONCE) {
      const together = cases.slice(next, next + AT_ONCE);
      await set(
        together.map(([policy]) => policy),
        version,
      );
      const questions = together.flatMap(([, each], index) =>
        each.map((one) => ({ ...one, leaf: own(index, one.leaf) })),
      );
      const answers = await Promise.all(
        questions.map(async (each) => {
          const request = { ...each, user: each.user ?? 'anonymous', groups: [] };
          const check = await admin.unary(AdminService.checkPolicy, request, DEADLINE_MS);
          return { each, check, door: await isAllowedAtDoor(each) };
        }),
      );
      for (const { each, check, door } of answers) {
        assert.equal(check.version, BigInt(version));
        assert.equal(door, check.allowed, `${JSON.stringify(each)}: ${check.reason}`);
        if (door) allowed += 1;
      }
    }
    const seconds = ((performance.now() - started) / 1_000).toFixed(1);
    t.diagnostic(`${POLICIES * QUESTIONS} questions, ${allowed} allowed, in ${seconds} s`);
    assert.ok(allowed > POLICIES * QUESTIONS * 0.05, 'too few were allowed: the property says little');
  });
});
