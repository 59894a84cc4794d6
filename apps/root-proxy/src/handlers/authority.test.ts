import assert from 'node:assert/strict';
import { test } from 'node:test';
import { status } from '@grpc/grpc-js';
import { StatusError } from '@xylem/grpc';
import { identityUri } from '@xylem/identity';
import type { Identity } from '@xylem/identity';
import { AccessService, PeerService, TunnelService } from '@xylem/wire';
import { DOMAIN } from '../testing/credentials.ts';
import { authorise, ROLE_OF_METHOD } from './authority.ts';
import type { Denied, GuardedMethod } from './authority.ts';

const CALLERS: readonly Identity[] = [
  { kind: 'agent', leaf: 'berlin', agent: 'a1' },
  { kind: 'proxy', proxy: 'p1' },
  { kind: 'registry', registry: 'r1' },
  { kind: 'user', user: 'ada' },
];
const METHODS = Object.keys(ROLE_OF_METHOD).filter((path): path is GuardedMethod => path in ROLE_OF_METHOD);

const refusals: Denied[] = [];
const GUARD = { domain: DOMAIN, denied: (refusal: Denied) => void refusals.push(refusal) };

function peer(...uris: string[]) {
  return { address: '192.0.2.1:1', uris };
}

function denied(error: unknown): boolean {
  return error instanceof StatusError && error.code === status.PERMISSION_DENIED;
}

test('every method of every service has a role', () => {
  const served = [TunnelService, PeerService, AccessService].flatMap((service) =>
    Object.values(service).map(({ path }) => path),
  );
  assert.deepEqual(new Set(METHODS), new Set(served));
});

for (const method of METHODS) {
  for (const caller of CALLERS) {
    const allowed = ROLE_OF_METHOD[method] === caller.kind;
    test(`A3: ${allowed ? 'lets' : 'keeps'} ${caller.kind} ${allowed ? 'call' : 'from'} ${method}`, () => {
      const call = () => authorise(method, peer(identityUri(caller, DOMAIN)), GUARD);
      if (allowed) assert.deepEqual(call(), caller);
      else {
        assert.throws(call, denied);
        const actor = identityUri(caller, DOMAIN).slice(`spiffe://${DOMAIN}/`.length);
        assert.deepEqual([refusals.at(-1)?.actor, refusals.at(-1)?.subject], [actor, method]);
      }
    });
  }
}

for (const [what, uris] of [
  ['no name', []],
  ['two names', [`spiffe://${DOMAIN}/user/ada`, `spiffe://${DOMAIN}/user/eve`]],
  ['a name of another domain', ['spiffe://elsewhere/user/ada']],
  ['an escaped name', [`spiffe://${DOMAIN}/user/ada%2f..`]],
  ['upper case', [`spiffe://${DOMAIN}/USER/ada`]],
] as const) {
  test(`A1: denies a certificate with ${what}`, () => {
    assert.throws(() => authorise('/xylem.access.v1.AccessService/Dial', peer(...uris), GUARD), denied);
  });
}
