import assert from 'node:assert/strict';
import { test } from 'node:test';
import { carry } from '@xylem/wire';
import type { tunnel as wire } from '@xylem/wire';
import { checkHello } from './hello.ts';

const IDENTITY = { kind: 'agent', leaf: 'berlin', agent: 'a1' } as const;
const { Reason } = carry;

function hello(changes: Partial<wire.AgentHello> = {}): wire.AgentHello {
  return {
    minVersion: 1,
    maxVersion: 1,
    leaf: 'berlin',
    agent: 'a1',
    instanceNonce: 'nonce-1',
    tunnelId: 't1',
    replacesTunnelId: '',
    wantedProxy: 'p1',
    nodes: [{ name: 'web', ports: [80, 443] }],
    software: 'test',
    traceparent: '',
    ...changes,
  };
}

test('accepts a hello that names what the certificate says', () => {
  const check = checkHello(hello({ replacesTunnelId: 't0' }), IDENTITY, 'p1');
  assert.ok(check.ok);
  assert.deepEqual(check.hello.nodes, [{ name: 'web', ports: [80, 443] }]);
  assert.equal(check.hello.tunnel, 'berlin/a1/nonce-1/t1');
  assert.equal(check.hello.replaces, 'berlin/a1/nonce-1/t0');
});

test('names tunnels so that no two agents can mean the same one', () => {
  const other = checkHello(hello({ agent: 'a2' }), { ...IDENTITY, agent: 'a2' }, 'p1');
  const own = checkHello(hello(), IDENTITY, 'p1');
  assert.ok(other.ok && own.ok && other.hello.tunnel !== own.hello.tunnel);
});

test('chooses the highest version that both speak', () => {
  const check = checkHello(hello({ minVersion: 1, maxVersion: 9 }), IDENTITY, 'p1');
  assert.ok(check.ok && check.hello.version === 1);
});

const refused: readonly (readonly [string, Partial<wire.AgentHello>, carry.Reason, RegExp])[] = [
  ['only later versions', { minVersion: 2, maxVersion: 3 }, Reason.REASON_VERSION, /speaks versions 2 to 3/],
  ['no version', { minVersion: 0, maxVersion: 0 }, Reason.REASON_VERSION, /versions 0 to 0/],
  ['another leaf', { leaf: 'tokyo' }, Reason.REASON_DENIED, /agent berlin\/a1.*"tokyo"/],
  ['another agent', { agent: 'a2' }, Reason.REASON_DENIED, /"a2"/],
  ['control characters for a leaf', { leaf: 'x\n{"level":1}' }, Reason.REASON_DENIED, /\\n/],
  ['an empty nonce', { instanceNonce: '' }, Reason.REASON_PROTOCOL_ERROR, /instance_nonce/],
  ['a tunnel id with a slash', { tunnelId: 'a/b' }, Reason.REASON_PROTOCOL_ERROR, /tunnel_id/],
  ['a tunnel that replaces itself', { replacesTunnelId: 't1' }, Reason.REASON_PROTOCOL_ERROR, /itself/],
  [
    'another proxy wanted',
    { wantedProxy: 'p2' },
    Reason.REASON_PROTOCOL_ERROR,
    /"p2" was wanted, this is root proxy p1/,
  ],
  ['a node that is no label', { nodes: [{ name: 'Web', ports: [80] }] }, Reason.REASON_PROTOCOL_ERROR, /"Web"/],
  [
    'a node twice',
    {
      nodes: [
        { name: 'web', ports: [80] },
        { name: 'web', ports: [81] },
      ],
    },
    Reason.REASON_PROTOCOL_ERROR,
    /twice/,
  ],
  ['port 0', { nodes: [{ name: 'web', ports: [0] }] }, Reason.REASON_PROTOCOL_ERROR, /port 0/],
  ['port 65536', { nodes: [{ name: 'web', ports: [65_536] }] }, Reason.REASON_PROTOCOL_ERROR, /65536/],
  ['a node without ports', { nodes: [{ name: 'web', ports: [] }] }, Reason.REASON_PROTOCOL_ERROR, /0 ports/],
  [
    'too many nodes',
    { nodes: Array.from({ length: 4_097 }, (_, index) => ({ name: `n${index}`, ports: [1] })) },
    Reason.REASON_PROTOCOL_ERROR,
    /4097/,
  ],
];

for (const [what, changes, reason, detail] of refused) {
  test(`A2: refuses a hello with ${what}`, () => {
    const check = checkHello(hello(changes), IDENTITY, 'p1');
    assert.ok(!check.ok);
    assert.equal(check.refusal.reason, reason);
    assert.match(check.refusal.detail, detail);
    assert.doesNotMatch(check.refusal.detail, /\n/);
  });
}
