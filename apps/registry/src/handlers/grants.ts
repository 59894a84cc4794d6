import { handleUnary } from '@xylem/grpc';
import type { MethodBinding } from '@xylem/grpc';
import { RegistryService } from '@xylem/wire';
import type { Guard } from '../authorise.ts';
import type { Grants } from '../grants/grants.ts';

/** AuthoriseDial and GetStandingGrant, for root proxies: each gets grants for its own tunnels only. */
export function grantMethods(grants: Grants, guard: Guard): readonly MethodBinding[] {
  return [
    handleUnary(RegistryService.authoriseDial, async (request, { peer }) =>
      grants.authorise(request, guard.proxy('/xylem.registry.v1.RegistryService/AuthoriseDial', peer)),
    ),
    handleUnary(RegistryService.getStandingGrant, async (request, { peer }) =>
      grants.standing(request, guard.proxy('/xylem.registry.v1.RegistryService/GetStandingGrant', peer)),
    ),
  ];
}
