import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { StatusError, createServer, handleUnary } from '@xylem/grpc';
import type { GrpcServer } from '@xylem/grpc';
import { memoryTlsSource } from '@xylem/identity';
import { AccessService, AdminService, access, admin, tunnel } from '@xylem/wire';
import { StandInRootProxy } from './testing/root-proxy.ts';

/** Root proxies and registries that put what acts on terminals into every text that they answer with. */

const BIN = fileURLToPath(new URL('../bin/xylem.js', import.meta.url));
/** A second log line, a clipboard write (OSC 52), a link (OSC 8), a cleared screen in C0 and C1, a writing direction, line separators. */
const NASTY =
  'a\n{"level":"error"}\r\u001b]52;c;eA==\u0007\u001b]8;;http://evil\u001b\\\u001b[2J\u009b2J\u202eb\u2028c\u2066\u0000d';
/** What no line of any output may hold; its own line feeds apart. */
const ACTS = /[^\P{C}\n]|[\u2028\u2029]/u;

const node = { name: NASTY, ports: [80] };
const pool = {
  entries: [{ proxy: NASTY, state: NASTY, why: NASTY, via: NASTY }],
  dialsTotal: 1n,
  wastedDialsTotal: 0n,
};
const TUNNEL = {
  leaf: NASTY,
  agent: NASTY,
  state: NASTY,
  slot: 0,
  token: 1n,
  via: NASTY,
  ageMs: 1n,
  openConnections: 0,
  nodes: [node],
  pool,
};
const STATUS = access.GetStatusResponse.fromPartial({
  answeredBy: NASTY,
  stamp: { epoch: 1n, revision: 2n },
  registryConnected: true,
  proxies: [
    {
      proxy: { id: NASTY, incarnation: 1n, state: tunnel.ProxyState.PROXY_STATE_READY },
      answered: false,
      detail: NASTY,
      tunnels: [TUNNEL],
    },
    {
      proxy: { id: 'p1', incarnation: 1n, state: tunnel.ProxyState.PROXY_STATE_READY },
      answered: true,
      tunnels: [TUNNEL],
    },
  ],
});

describe('xylem, answered with terminal sequences', { timeout: 120_000 }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'xylem-cli-hostile-'));
  let proxy: StandInRootProxy;
  let registry: GrpcServer;
  let user: string;
  let address: string;
  let refusing: string;
  let refuser: GrpcServer;

  before(async () => {
    proxy = await StandInRootProxy.start();
    user = await proxy.identity(directory, { kind: 'user', user: 'ann' });
    registry = await hostileRegistry(proxy);
    address = `127.0.0.1:${await registry.listen('127.0.0.1:0')}`;
    refuser = await hostileRegistry(proxy, new StatusError(9, NASTY));
    refusing = `127.0.0.1:${await refuser.listen('127.0.0.1:0')}`;
  });
  after(async () => {
    await Promise.all([proxy.close(), registry.close(0), refuser.close(0)]);
    rmSync(directory, { recursive: true });
  });

  async function harmless(args: readonly string[]): Promise<string> {
    const env = { PATH: process.env['PATH'], HOME: directory };
    const child = spawn(process.execPath, [BIN, ...args], { stdio: ['ignore', 'pipe', 'pipe'], env });
    const [out, err] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
    const shown = out + err;
    assert.doesNotMatch(shown, ACTS, JSON.stringify(shown));
    // A policy is a document of lines.
    if (!args.includes('get'))
      assert.doesNotMatch(shown, /^\{"level":"error"\}/m, 'no line of its own for what was put behind a line feed');
    return shown;
  }
  const atProxy = (...args: string[]): string[] => ['--root', proxy.address, '--identity-dir', user, ...args];

  test('A24: tables of nodes, claims and what the doctor finds show them escaped', async () => {
    proxy.status = STATUS;
    proxy.nodes = access.ListNodesResponse.fromPartial({ leaves: [{ leaf: NASTY, nodes: [node] }] });
    for (const args of [['ls'], ['status'], ['doctor']])
      assert.match(await harmless(atProxy(...args)), /\\u\{1b\}/, args.join());
  });

  test('A24: so do errors of a root proxy', async () => {
    proxy.refusal = new StatusError(9, NASTY);
    await harmless(atProxy('status'));
    proxy.refusal = undefined;
    proxy.answers.set('web.berlin', { outcome: 'refused', detail: NASTY });
    await harmless(atProxy('connect', 'web.berlin:80'));
  });

  const ADMINISTRATION: readonly (readonly string[])[] = [
    ['tokens', 'ls'],
    ['tokens', 'add', '--leaf', 'berlin'],
    ['users', 'ls'],
    ['policy', 'get'],
    ['policy', 'history'],
    ['policy', 'check', 'ann', 'web.berlin:80'],
    ['identities', 'ls'],
    ['ca', 'status'],
  ];
  for (const args of ADMINISTRATION) {
    test(`A24: xylem ${args.join(' ')} shows them escaped, in answers and in errors`, async () => {
      for (const each of [address, refusing]) await harmless([...args, '--registry', each, '--admin-dir', user]);
    });
  }
});

async function hostileRegistry(proxy: StandInRootProxy, refusal?: StatusError): Promise<GrpcServer> {
  const own = await proxy.issue({ kind: 'registry', registry: 'r1' });
  const answer =
    <T>(value: T) =>
    (): Promise<T> =>
      refusal === undefined ? Promise.resolve(value) : Promise.reject(refusal);
  const record = { identity: NASTY, generation: 1n, issuedAtMs: 1n, notAfterMs: 2n, state: NASTY, detail: NASTY };
  const root = { fingerprint: NASTY, notAfterMs: 2n, state: NASTY };
  return createServer({
    tls: memoryTlsSource(own),
    services: [
      handleUnary(AccessService.getStatus, answer(STATUS)),
      handleUnary(
        AdminService.listTokens,
        answer(
          admin.ListTokensResponse.fromPartial({
            tokens: [
              { fingerprint: NASTY, leaf: NASTY, name: NASTY, createdBy: NASTY, sources: [NASTY], expiresAtMs: 9n },
            ],
          }),
        ),
      ),
      handleUnary(
        AdminService.addToken,
        answer(admin.AddTokenResponse.fromPartial({ token: NASTY, fingerprint: NASTY, expiresAtMs: 9n })),
      ),
      handleUnary(
        AdminService.listUsers,
        answer(
          admin.ListUsersResponse.fromPartial({
            users: [{ name: NASTY, groups: [NASTY], externalGroups: [NASTY], issuer: NASTY }],
          }),
        ),
      ),
      handleUnary(
        AdminService.getPolicy,
        answer(admin.GetPolicyResponse.fromPartial({ version: 1n, yaml: NASTY, setBy: NASTY, setAtMs: 1n })),
      ),
      handleUnary(
        AdminService.listPolicies,
        answer(admin.ListPoliciesResponse.fromPartial({ versions: [{ version: 1n, setBy: NASTY, setAtMs: 1n }] })),
      ),
      handleUnary(
        AdminService.checkPolicy,
        answer(admin.CheckPolicyResponse.fromPartial({ allowed: false, rule: NASTY, reason: NASTY, version: 1n })),
      ),
      handleUnary(
        AdminService.listIdentities,
        answer(admin.ListIdentitiesResponse.fromPartial({ identities: [record] })),
      ),
      handleUnary(
        AdminService.getAuthority,
        answer(admin.GetAuthorityResponse.fromPartial({ domain: NASTY, phase: NASTY, roots: [root], behind: [NASTY] })),
      ),
    ],
  });
}
