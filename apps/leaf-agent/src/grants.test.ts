import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, test } from 'node:test';
import { createAuthority } from '@xylem/identity';
import type { DialGrant } from '@xylem/identity';
import type { Policy } from '@xylem/policy';
import { carry } from '@xylem/wire';
import type { tunnel } from '@xylem/wire';
import { startTestAgent, startTestNode } from './testing/agent.ts';
import type { TestAgent, TestNode } from './testing/agent.ts';
import { SigningRegistry } from './testing/registry.ts';
import { makeIdentity, onlyProxy, outcomeOf, proxyInfo, soon, startScriptedRoot } from './testing/root.ts';
import type { ScriptedRoot, ScriptedTunnel, TestIdentity } from './testing/root.ts';

/** A root proxy with a good certificate that does what no registry allowed (FAULTS.md A15, A16, A26). */

const { OutcomeCode } = carry;
const DENIED = OutcomeCode.OUTCOME_CODE_DENIED;
const CONNECTED = OutcomeCode.OUTCOME_CODE_CONNECTED;
const MINUTE_MS = 60_000;

describe('an agent with a malicious root proxy', { timeout: 60_000 }, () => {
  let identity: TestIdentity;
  let folder: string;
  let root: ScriptedRoot;
  let node: TestNode;
  let agent: TestAgent;
  let tunnel: ScriptedTunnel;
  let serial = 0;

  before(async () => {
    identity = await makeIdentity('berlin', 'a1');
    folder = mkdtempSync(join(tmpdir(), 'xylem-grants-'));
  });
  after(() => {
    identity.remove();
    rmSync(folder, { recursive: true });
  });
  const audit = (): string => join(folder, `audit-${serial}.jsonl`);
  beforeEach(async () => {
    serial += 1;
    root = await startScriptedRoot(identity.authority);
    node = await startTestNode();
    agent = await startTestAgent({
      identity,
      rootPort: root.port,
      changes: { audit: { file: audit(), required: false } },
      nodes: [
        {
          name: 'web',
          ports: [
            { port: 80, address: node.address },
            { port: 443, address: node.address },
          ],
        },
        { name: 'db', ports: [{ port: 5432, address: node.address }] },
      ],
    });
    tunnel = await root.attached();
    tunnel.accept();
    await soon(agent.log.has({ event: 'claim.granted' }), 'the claim');
    await soon(agent.log.has({ event: 'gossip.received' }), 'the first gossip');
  });
  afterEach(async () => {
    await agent.agent.stop();
    await root.close();
    await node.close();
  });

  let connections = 0;
  const wanted = (changes: Partial<tunnel.DialRequest> = {}): Omit<tunnel.DialRequest, 'grant'> => {
    connections += 1;
    const { grant: _, ...rest } = changes;
    return {
      connection: `c${connections}`,
      target: { leaf: 'berlin', node: 'web', port: 80 },
      user: 'alice',
      timeoutMs: 2_000,
      incarnation: 7n,
      token: 0n,
      traceparent: '',
      ...rest,
    };
  };
  const outcomeFor = async (
    request: Omit<tunnel.DialRequest, 'grant'>,
    grant?: Partial<DialGrant> | string,
  ): Promise<carry.Outcome> => {
    tunnel.dial(request, grant);
    const carried = await root.carried();
    assert.equal(carried.connection, request.connection);
    return outcomeOf(carried.frames);
  };
  const auditLines = async (): Promise<Record<string, unknown>[]> => {
    await agent.agent.stop();
    return readFileSync(audit(), 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line));
  };

  test('takes a dial that a registry allowed, for a user and for nobody in particular', async () => {
    assert.equal((await outcomeFor(wanted())).code, CONNECTED);
    assert.equal((await outcomeFor(wanted({ user: '' }))).code, CONNECTED);
    assert.equal(node.connections, 2);
  });

  const OTHERS: readonly (readonly [what: string, changes: Partial<DialGrant>])[] = [
    ['another node', { node: 'db' }],
    ['a wider port', { port: 443 }],
    ['another leaf cluster', { leaf: 'tokyo' }],
    ['another agent of the leaf cluster', { agent: 'a2' }],
    ['another life of the agent', { instance: 'before-the-restart' }],
    ['another root proxy', { proxy: 'p2' }],
    ['another connection', { connection: 'c0' }],
    ['another user', { user: 'bob' }],
    ['nobody in particular', { user: undefined }],
  ];
  for (const [what, changes] of OTHERS) {
    test(`A26: refuses a dial with the grant for ${what}`, async () => {
      const { code, detail } = await outcomeFor(wanted(), changes);
      assert.equal(code, DENIED);
      assert.match(detail, /the grant of this dial is for another/);
      assert.equal(node.connections, 0);
    });
  }

  test('A26: refuses a dial without a grant, with a text that is none, and with statements of other kinds', async () => {
    const stamp = { epoch: 1n, revision: 10n };
    for (const text of ['', 'grant', 'a.b.c', root.registry.statement(stamp, [proxyInfo('p1')])]) {
      assert.equal((await outcomeFor(wanted(), text)).code, DENIED, text);
    }
    assert.equal(node.connections, 0);
    const refused = (await auditLines()).filter(({ kind }) => kind === 'grant.refused');
    assert.equal(refused.length, 4);
    assert.equal(refused[0]?.['actor'], 'proxy/p1');
  });

  test('A26: refuses a grant that another authority signed', async () => {
    const stranger = await SigningRegistry.of(await createAuthority({ domain: 'xylem.internal' }));
    const request = wanted();
    const content: DialGrant = {
      user: 'alice',
      leaf: 'berlin',
      agent: 'a1',
      instance: tunnel.hello.instanceNonce,
      proxy: 'p1',
      node: 'web',
      port: 80,
      connection: request.connection,
      policyVersion: 1,
    };
    const { code, detail } = await outcomeFor(request, stranger.grant(content));
    assert.equal(code, DENIED);
    assert.match(detail, /does not lead to a root that is trusted/);
    assert.equal(node.connections, 0);
  });

  test('A16: refuses a grant long after its end, and one from the future', async () => {
    for (const shiftMs of [-3 * MINUTE_MS, 3 * MINUTE_MS]) {
      const elsewhen = await SigningRegistry.of(identity.authority, () => Date.now() + shiftMs);
      const request = wanted();
      const grant = elsewhen.grant({ ...contentOf(request), instance: tunnel.hello.instanceNonce });
      const { code, detail } = await outcomeFor(request, grant);
      assert.equal(code, DENIED);
      assert.match(detail, /expired|in the future/);
    }
    assert.equal(node.connections, 0);
  });

  test('A16: makes a dial once, however often its grant is shown, and writes the replay down', async () => {
    const request = wanted();
    const grant = root.registry.grant({ ...contentOf(request), instance: tunnel.hello.instanceNonce });
    tunnel.dial(request, grant);
    const { frames } = await root.carried();
    assert.equal((await outcomeOf(frames)).code, CONNECTED);
    // While the connection is open it is not even answered; after its end it is refused.
    tunnel.dial(request, grant);
    await soon(agent.log.has({ event: 'grant.refused', cause: 'replay' }), 'the first replay');
    frames.cancel('the user has gone');
    await soon(agent.log.has({ event: 'connection.closed' }), 'the end of the connection');
    const { code, detail } = await outcomeFor(request, grant);
    assert.deepEqual([code, detail], [DENIED, 'the grant of this dial was used before']);
    assert.equal(node.connections, 1);
    const replays = (await auditLines()).filter(({ kind }) => kind === 'grant.refused');
    assert.equal(replays.length, 2);
    for (const line of replays) assert.match(JSON.stringify(line), /"cause":"replay"/);
  });

  test('A16: refuses on another tunnel what was granted for this one, with the grant still unused', async () => {
    const other = await startScriptedRoot(identity.authority, 'p2');
    const second = await startTestAgent({
      identity,
      rootPort: other.port,
      nodes: [{ name: 'web', ports: [{ port: 80, address: node.address }] }],
    });
    const elsewhere = await other.attached();
    elsewhere.accept();
    await soon(second.log.has({ event: 'claim.granted' }), 'the claim');
    const request = wanted();
    elsewhere.dial(request, root.registry.grant({ ...contentOf(request), instance: elsewhere.hello.instanceNonce }));
    const { code, detail } = await outcomeOf((await other.carried()).frames);
    assert.deepEqual([code, detail], [DENIED, 'the grant of this dial is for another root proxy']);
    await second.agent.stop();
    await other.close();
  });

  test('A26: dials nothing that it does not list, whatever was granted', async () => {
    const secret = { leaf: 'berlin', node: 'vault', port: 22 };
    assert.equal((await outcomeFor(wanted({ target: secret }))).code, OutcomeCode.OUTCOME_CODE_NO_SUCH_NODE);
    const port = { leaf: 'berlin', node: 'web', port: 22 };
    assert.equal((await outcomeFor(wanted({ target: port }))).code, OutcomeCode.OUTCOME_CODE_NO_SUCH_NODE);
    assert.equal(node.connections, 0);
  });

  describe('by its standing grant', () => {
    const POLICY: Policy = {
      groups: new Map([['dba', ['alice']]]),
      admins: [],
      rules: [
        {
          name: 'web',
          effect: 'allow',
          subjects: [{ kind: 'group', group: 'dba' }],
          leaves: ['berlin'],
          targets: [{ node: 'web', ports: [80] }],
        },
      ],
      cutOpenConnections: true,
    };

    test('dials what the policy allows to that user, and marks it in the audit log', async () => {
      const standing = root.registry.standing(POLICY, 'p1');
      assert.equal((await outcomeFor(wanted(), standing)).code, CONNECTED);
      assert.equal((await outcomeFor(wanted(), standing)).code, CONNECTED, 'it is good for any number of dials');
      const allowed = (await auditLines()).filter(({ kind }) => kind === 'dial.allowed');
      assert.match(JSON.stringify(allowed[0]), /"grant":"standing, registry\/r1"/);
    });

    test('A26: dials nothing else', async () => {
      const standing = root.registry.standing(POLICY, 'p1');
      const other = { leaf: 'berlin', node: 'web', port: 443 };
      for (const request of [wanted({ user: 'bob' }), wanted({ user: '' }), wanted({ target: other })]) {
        const { code, detail } = await outcomeFor(request, standing);
        assert.equal(code, DENIED);
        assert.match(detail, /its standing grant says: /);
      }
      for (const foreign of [root.registry.standing(POLICY, 'p2'), root.registry.standing(POLICY, 'p1', 'tokyo')]) {
        assert.match((await outcomeFor(wanted(), foreign)).detail, /the standing grant is for another/);
      }
      const old = await SigningRegistry.of(identity.authority, () => Date.now() - 20 * MINUTE_MS);
      assert.match((await outcomeFor(wanted(), old.standing(POLICY, 'p1'))).detail, /expired/);
      assert.equal(node.connections, 0);
    });
  });

  describe('believes no gossip', () => {
    const stamp = { epoch: 1n, revision: 99n };
    const forged = (statement: string, members = [proxyInfo('p1'), proxyInfo('evil')]): tunnel.DiscoveryRequest => ({
      kind: { $case: 'snapshot', value: { stamp, proxies: members, statement } },
    });
    const CASES: readonly (readonly [
      what: string,
      make: () => tunnel.DiscoveryRequest | Promise<tunnel.DiscoveryRequest>,
    ])[] = [
      ['that nobody signed', () => forged('')],
      ['with the statement of another list', () => forged(root.registry.statement(stamp, [proxyInfo('p1')]))],
      [
        'with the statement of another stamp',
        () => forged(root.registry.statement({ epoch: 1n, revision: 98n }, [proxyInfo('p1'), proxyInfo('evil')])),
      ],
      [
        'that another authority signed',
        async () => {
          const other = await SigningRegistry.of(await createAuthority({ domain: 'xylem.internal' }));
          return other.snapshot(stamp, [proxyInfo('p1'), proxyInfo('evil')]);
        },
      ],
      [
        'of more root proxies than there may be',
        () =>
          forged(
            'x',
            Array.from({ length: 5_000 }, (_, index) => proxyInfo(`evil-${index}`)),
          ),
      ],
      [
        'of the greatest revision there is',
        () => {
          const far = { epoch: 2n ** 64n - 1n, revision: 2n ** 63n - 1n };
          return { kind: { $case: 'snapshot', value: { stamp: far, proxies: [], statement: '' } } };
        },
      ],
      [
        'in a delta whose result is not what was signed',
        () => ({
          kind: {
            $case: 'delta',
            value: {
              from: { epoch: 1n, revision: 10n },
              to: stamp,
              changed: [proxyInfo('evil')],
              removed: [],
              statement: root.registry.statement(stamp, [proxyInfo('p1')]),
            },
          },
        }),
      ],
    ];
    for (const [what, make] of CASES) {
      test(`A15: gossip ${what}: the view stays, the tunnel is flagged`, async () => {
        const { entries, stamp: believed } = agent.agent.status();
        tunnel.send({ $case: 'discoveryRequest', value: await make() });
        await soon(agent.log.has({ event: 'gossip.rejected', proxy: 'p1' }), 'the refusal');
        const now = agent.agent.status();
        assert.deepEqual(
          [now.entries.map(({ proxy }) => proxy), now.stamp],
          [entries.map(({ proxy }) => proxy), believed],
        );
        // For a while nothing from there is looked at, not even what is true.
        tunnel.send({ $case: 'discoveryRequest', value: onlyProxy(root.registry, 'p1', 200n) });
        assert.equal((await outcomeFor(wanted())).code, CONNECTED, 'the tunnel itself goes on');
        assert.deepEqual(agent.agent.status().stamp, believed);
        const lines = (await auditLines()).filter(({ kind }) => kind === 'gossip.refused');
        assert.equal(lines.length, 1);
      });
    }

    const OLDER: readonly (readonly [what: string, stamp: tunnel.Stamp])[] = [
      ['revision', { epoch: 1n, revision: 9n }],
      ['epoch', { epoch: 0n, revision: 2n ** 62n }],
    ];
    for (const [what, old] of OLDER) {
      test(`A15: gossip of an older ${what}, though a registry signed it once, brings nobody back`, async () => {
        const { stamp: believed } = agent.agent.status();
        const value = root.registry.snapshot(old, [proxyInfo('p1'), proxyInfo('gone')]);
        tunnel.send({ $case: 'discoveryRequest', value });
        tunnel.send({ $case: 'discoveryRequest', value: onlyProxy(root.registry, 'p1', 12n) });
        await soon(agent.log.has({ event: 'gossip.received', stamp: '1.12' }), 'the gossip behind it');
        assert.notDeepEqual(agent.agent.status().stamp, believed);
        assert.deepEqual(
          agent.agent.status().entries.map(({ proxy }) => proxy),
          ['p1'],
        );
      });
    }

    test('but takes a delta that leads to what was signed', async () => {
      const statement = root.registry.statement(stamp, [proxyInfo('p1'), proxyInfo('p2')]);
      const value = {
        from: { epoch: 1n, revision: 10n },
        to: stamp,
        changed: [proxyInfo('p2')],
        removed: [],
        statement,
      };
      tunnel.send({ $case: 'discoveryRequest', value: { kind: { $case: 'delta', value } } });
      await soon(agent.log.has({ event: 'discovery.dial_started', target: 'p2' }), 'a dial to p2');
      assert.deepEqual(agent.agent.status().stamp, stamp);
    });
  });

  function contentOf(request: Omit<tunnel.DialRequest, 'grant'>): Omit<DialGrant, 'instance'> {
    return {
      user: 'alice',
      leaf: 'berlin',
      agent: 'a1',
      proxy: 'p1',
      node: 'web',
      port: 80,
      connection: request.connection,
      policyVersion: 1,
    };
  }
});
