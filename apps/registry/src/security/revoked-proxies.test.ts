import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { REVOCATIONS_PREFIX, encodeRecord } from '@xylem/authority';
import {
  createAuthority,
  MAX_REVOKED_PROXIES,
  memoryTlsSource,
  StatementSigner,
  StatementVerifier,
} from '@xylem/identity';
import type { RevokedProxiesStatement } from '@xylem/identity';
import type { EtcdEvent } from '@xylem/etcd';
import { Mirror } from '../authority/mirror.ts';
import { RevokedProxiesNotice } from './revoked-proxies.ts';

const DOMAIN = 'xylem.internal';
const HOUR_MS = 3_600_000;

type Change = Extract<EtcdEvent, { type: 'watchAdvanced' }>['events'][number];

/** A notice over a store that tests write to, and what it told as agents would read it. */
async function notice(t: TestContext) {
  const authority = await createAuthority({ domain: DOMAIN });
  const { ca, cert, key } = await authority.issue({ kind: 'registry', registry: 'r1' }, HOUR_MS);
  const source = memoryTlsSource({ ca, cert, key: key.reveal() });
  const signer = new StatementSigner({ domain: DOMAIN, current: () => source.current() });
  const verifier = new StatementVerifier({ domain: DOMAIN, trust: () => ca });
  let revision = 7n;
  const mirror = new Mirror({
    list: async () => Promise.resolve({ kvs: [], revision }),
    openWatch: () => undefined,
    onLost: assert.ifError,
  });
  const made = new RevokedProxiesNotice({ mirror, epoch: () => 1n, signer, onProblem: assert.ifError });
  const listed = new Promise<void>((resolve) => void mirror.onChange(resolve));
  mirror.start();
  await listed;
  t.after(() => mirror.close());
  t.after(() => made.close());
  const told: string[] = [];
  made.subscribe((statement) => told.push(statement));
  const write = (...events: Change[]): void => {
    revision += 1n;
    mirror.told({ type: 'watchAdvanced', watch: 1, revision, events });
  };
  const last = async (): Promise<RevokedProxiesStatement> => {
    const verdict = await verifier.revokedProxies(told.at(-1) ?? '');
    assert.ok(verdict.kind === 'verified');
    return verdict.content;
  };
  return { made, told, write, last };
}

function revoked(identity: string, beforeMs: number): Change {
  const key = `${REVOCATIONS_PREFIX}${identity}`;
  const value = encodeRecord({ identity, beforeMs, reason: 'stolen' });
  return { type: 'put', kv: { key, value, createRevision: 1n, modRevision: 1n, lease: 0n } };
}

test('agents are told of root proxies that were revoked, and of nobody else', async (t) => {
  const { told, write, last } = await notice(t);
  assert.deepEqual(told, [], 'nothing before the first');
  write(revoked('user/alice', 5));
  assert.deepEqual(told, []);
  write(revoked('proxy/p2', 6), revoked('proxy/p1', 7));
  assert.deepEqual(await last(), {
    epoch: 1n,
    revision: 9n,
    proxies: new Map([
      ['p1', 7],
      ['p2', 6],
    ]),
  });
  write(revoked('user/bob', 8));
  assert.equal(told.length, 1, 'the same is not told again');
});

test('they are told when the last record has lapsed, whoever subscribes later as well', async (t) => {
  const { made, told, write, last } = await notice(t);
  write(revoked('proxy/p1', 7));
  write({ type: 'delete', key: `${REVOCATIONS_PREFIX}proxy/p1`, modRevision: 9n });
  assert.deepEqual((await last()).proxies, new Map());
  const late: string[] = [];
  made.subscribe((statement) => late.push(statement));
  assert.deepEqual(late, told.slice(-1));
});

test('the same is signed anew with a new certificate', async (t) => {
  const { made, told, write, last } = await notice(t);
  made.renewed();
  assert.deepEqual(told, []);
  write(revoked('proxy/p1', 7));
  made.renewed();
  assert.equal(told.length, 2);
  assert.deepEqual((await last()).proxies, new Map([['p1', 7]]));
});

test('the most that one statement holds, with the longest names, can be signed: those revoked last', async (t) => {
  const { write, last } = await notice(t);
  const name = (index: number): string => `p${String(index).padStart(62, '0')}`;
  const count = MAX_REVOKED_PROXIES + 10;
  write(...Array.from({ length: count }, (_, index) => revoked(`proxy/${name(index)}`, 1_900_000_000_000 + index)));
  const { proxies } = await last();
  assert.equal(proxies.size, MAX_REVOKED_PROXIES);
  assert.equal(proxies.has(name(9)), false);
  assert.equal(proxies.has(name(10)), true);
});
