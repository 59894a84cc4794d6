import type { MethodBinding } from '@xylem/grpc';
import { isName, isUserName } from '@xylem/identity';
import { AdminService } from '@xylem/wire';
import type { admin } from '@xylem/wire';
import { AccessError } from '../../access/access-error.ts';
import type { PolicyInForce } from '../../access/in-force.ts';
import type { Policies, SetOutcome } from '../../access/policies.ts';
import { StoreDownError } from '../../authority/store.ts';
import type { Guard } from '../../authorise.ts';
import { adminMethod } from './method.ts';

const ANONYMOUS = 'anonymous';
/** A watch takes milliseconds. */
const SETTLE_MS = 2_000;

/** GetPolicy, SetPolicy, ListPolicies, CheckPolicy. */
export function policyMethods(guard: Guard, policies: Policies, inForce: PolicyInForce): readonly MethodBinding[] {
  return [
    adminMethod(guard, AdminService.getPolicy, async ({ version }) => {
      const policy = await policies.get(Number(version));
      return {
        version: BigInt(policy.version),
        yaml: policy.yaml,
        setBy: policy.setBy,
        setAtMs: BigInt(policy.setAtMs),
      };
    }),
    adminMethod(guard, AdminService.setPolicy, async ({ yaml, expectedVersion, checkOnly }, actor) => {
      const outcome = await policies.set(yaml, Number(expectedVersion), actor, checkOnly);
      // Who asks this replica next is answered by what was just set.
      if (outcome.kind === 'set') await inForce.reaches(outcome.version, SETTLE_MS);
      return outcomeToWire(outcome);
    }),
    adminMethod(guard, AdminService.listPolicies, async () => ({
      versions: (await policies.history()).map(({ version, setBy, setAtMs }) => ({
        version: BigInt(version),
        setBy,
        setAtMs: BigInt(setAtMs),
      })),
    })),
    adminMethod(guard, AdminService.checkPolicy, async (request) => Promise.resolve(checkPolicy(inForce, request))),
  ];
}

/** What anybody's dial would be answered, by the policy that this replica decides with. Throws an AccessError. */
function checkPolicy(inForce: PolicyInForce, request: admin.CheckPolicyRequest): admin.CheckPolicyResponse {
  if (!inForce.known) throw new StoreDownError('the policy has not been read yet; try again');
  const { user, leaf, node, port, groups } = request;
  if (user !== ANONYMOUS && !isUserName(user)) throw new AccessError('invalid', 'that is no user name; or anonymous');
  if (!isName(leaf) || !isName(node)) throw new AccessError('invalid', 'name a node and its leaf cluster');
  if (port < 1 || port > 65_535) throw new AccessError('invalid', 'a port is a number from 1 to 65535');
  const question = { user: user === ANONYMOUS ? undefined : user, leaf, node, port };
  const { allowed, rule, reason } = inForce.decide(question, groups);
  return { allowed, rule: rule ?? '', reason, version: BigInt(inForce.rules.version) };
}

function outcomeToWire(outcome: SetOutcome): admin.SetPolicyResponse {
  switch (outcome.kind) {
    case 'set':
      return { version: BigInt(outcome.version), warnings: [...outcome.warnings], problems: [] };
    case 'valid':
      return { version: 0n, warnings: [...outcome.warnings], problems: [] };
    case 'invalid':
      return { version: 0n, warnings: [], problems: [...outcome.problems] };
  }
}
