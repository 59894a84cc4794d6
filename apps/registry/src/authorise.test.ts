import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import type { AuditEntry } from '@xylem/audit';
import { StatusError } from '@xylem/grpc';
import type { StreamPeer } from '@xylem/grpc';
import { identityUri } from '@xylem/identity';
import type { Identity } from '@xylem/identity';
import { AdminService, RegistryService } from '@xylem/wire';
import { Guard, ROLE_OF_METHOD } from './authorise.ts';
import type { GuardedMethod } from './authorise.ts';

const DOMAIN = 'xylem.internal';
const CALLERS: readonly (Identity & { readonly may: string })[] = [
  { kind: 'agent', leaf: 'berlin', agent: 'a1', may: '' },
  { kind: 'proxy', proxy: 'p1', may: 'proxy' },
  { kind: 'registry', registry: 'r1', may: '' },
  { kind: 'user', user: 'ada', may: '' },
  { kind: 'user', user: 'root', may: 'admin' },
];
const METHODS = Object.keys(ROLE_OF_METHOD).filter((path): path is GuardedMethod => path in ROLE_OF_METHOD);

function peer(...uris: string[]): StreamPeer {
  return {
    address: '192.0.2.1:1',
    uris,
    notBeforeMs: 0,
    notAfterMs: undefined,
    certificates: [],
    onEnding: () => () => undefined,
  };
}

function guardOf(entries: AuditEntry[], refusal?: string): Guard {
  return new Guard({
    domain: DOMAIN,
    isAdmin: (user) => user === 'root',
    refusal: () => refusal,
    audit: { record: (entry) => void entries.push(entry) },
  });
}

type AdminMethod = Parameters<Guard['admin']>[0];

function isForAdmins(method: GuardedMethod): method is AdminMethod {
  return ROLE_OF_METHOD[method] === 'admin';
}

function call(guard: Guard, method: GuardedMethod, caller: StreamPeer): string {
  return isForAdmins(method) ? guard.admin(method, caller) : guard.proxy(method, caller);
}

function denied(error: unknown): boolean {
  return error instanceof StatusError && error.code === status.PERMISSION_DENIED;
}

test('every method of every service has a role', () => {
  const served = [RegistryService, AdminService].flatMap((service) => Object.values(service).map(({ path }) => path));
  assert.deepEqual(new Set(METHODS), new Set(served));
});

for (const method of METHODS) {
  test(`A3: ${method} is for callers of its role only, and refusals are audited`, () => {
    for (const { may, ...caller } of CALLERS) {
      const entries: AuditEntry[] = [];
      const guard = guardOf(entries);
      const from = peer(identityUri(caller, DOMAIN));
      if (may === ROLE_OF_METHOD[method]) {
        call(guard, method, from);
        assert.deepEqual(entries, []);
      } else {
        assert.throws(() => call(guard, method, from), denied, caller.kind);
        assert.deepEqual(
          entries.map(({ kind, subject, outcome }) => [kind, subject, outcome]),
          [['request.denied', method, 'denied']],
        );
      }
    }
  });

  test(`A21: ${method} refuses certificates that count no longer`, () => {
    for (const { may: _may, ...caller } of CALLERS) {
      const guard = guardOf([], 'its certificate was revoked');
      assert.throws(() => call(guard, method, peer(identityUri(caller, DOMAIN))), denied);
    }
  });
}

for (const [what, uris] of [
  ['no name', []],
  ['two names', [`spiffe://${DOMAIN}/user/root`, `spiffe://${DOMAIN}/user/eve`]],
  ['a name of another domain', ['spiffe://elsewhere/user/root']],
  ['an escaped name', [`spiffe://${DOMAIN}/user/root%2f..`]],
  ['upper case', [`spiffe://${DOMAIN}/USER/root`]],
] as const) {
  test(`A1: denies a certificate with ${what}`, () => {
    for (const method of METHODS) assert.throws(() => call(guardOf([]), method, peer(...uris)), denied);
  });
}

test('an administrator in a loop is told to wait, and another one is served', () => {
  const admins = new Guard({
    domain: DOMAIN,
    isAdmin: () => true,
    refusal: () => undefined,
    audit: { record: () => undefined },
  });
  const [loop, calm] = ['loop', 'calm'].map((user) => peer(identityUri({ kind: 'user', user }, DOMAIN)));
  assert.ok(loop !== undefined && calm !== undefined);
  for (const method of [
    '/xylem.admin.v1.AdminService/SetPolicy',
    '/xylem.admin.v1.AdminService/ListIdentities',
  ] as const) {
    let calls = 0;
    const again = (): never => {
      for (; calls < 20_000; calls += 1) admins.admin(method, loop);
      throw new Error('it was never refused');
    };
    assert.throws(again, (error) => error instanceof StatusError && error.code === status.RESOURCE_EXHAUSTED);
    assert.ok(calls >= 60);
    assert.equal(admins.admin(method, calm), 'user/calm');
  }
  assert.equal(admins.admin('/xylem.admin.v1.AdminService/Revoke', calm), 'user/calm');
});
