import type { Behind } from '@xylem/authority';
import type { MethodBinding } from '@xylem/grpc';
import { AdminService, admin } from '@xylem/wire';
import type { Guard } from '../../authorise.ts';
import { AuthorityError } from '../../authority/problem.ts';
import type { Rotation } from '../../authority/rotation.ts';
import { adminMethod } from './method.ts';

/** GetAuthority, RotateAuthority. */
export function authorityMethods(guard: Guard, domain: string, rotation: Rotation): readonly MethodBinding[] {
  return [
    adminMethod(guard, AdminService.getAuthority, async () => {
      const { trust, behind } = await rotation.describe();
      return {
        domain,
        phase: trust.phase,
        generation: BigInt(trust.generation),
        roots: trust.roots.map(({ fingerprint, notAfterMs, state }) => ({
          fingerprint,
          notAfterMs: BigInt(notAfterMs),
          state,
        })),
        ...behindToWire(behind),
      };
    }),
    adminMethod(guard, AdminService.rotateAuthority, async ({ step, force }, actor) => {
      const { trust, behind } = await rotation.step(directionFrom(step), force, actor);
      return { phase: trust.phase, ...behindToWire(behind) };
    }),
  ];
}

function behindToWire({
  members,
  users,
  usersUntilMs,
}: Behind): Pick<admin.RotateAuthorityResponse, 'behind' | 'usersUntilMs'> {
  return { behind: [...members, ...users], usersUntilMs: BigInt(usersUntilMs) };
}

function directionFrom(step: admin.RotationStep): 'forward' | 'back' {
  switch (step) {
    case admin.RotationStep.ROTATION_STEP_FORWARD:
      return 'forward';
    case admin.RotationStep.ROTATION_STEP_BACK:
      return 'back';
    default:
      throw new AuthorityError('invalid', 'a rotation goes forward or back', 'name the step');
  }
}
