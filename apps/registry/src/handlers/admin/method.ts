import { status as Status } from '@grpc/grpc-js';
import type { MethodDefinition } from '@grpc/grpc-js';
import { AuditError } from '@xylem/audit';
import { handleUnary, StatusError } from '@xylem/grpc';
import type { MethodBinding } from '@xylem/grpc';
import { AccessError } from '../../access/access-error.ts';
import { PasswordsBusyError } from '../../access/passwords.ts';
import { ROLE_OF_METHOD } from '../../authorise.ts';
import type { Guard } from '../../authorise.ts';
import { AuthorityError } from '../../authority/problem.ts';
import type { AuthorityCode } from '../../authority/problem.ts';
import { RecordError, StoreDownError } from '../../authority/store.ts';

type AdminMethod = Parameters<Guard['admin']>[0];

/**
 * One method of AdminService: for administrators only, with what authority refuses turned into a status.
 *
 * @param handle Gets the administrator's identity, such as `user/alice`, for the audit log.
 */
export function adminMethod<Request, Response>(
  guard: Guard,
  method: MethodDefinition<Request, Response>,
  handle: (request: Request, actor: string) => Promise<Response>,
): MethodBinding {
  const { path } = method;
  if (!isAdminMethod(path)) throw new Error(`bug in registry: ${path} has no row for administrators`);
  return handleUnary(method, async (request, { peer }) => {
    const actor = guard.admin(path, peer);
    try {
      return await handle(request, actor);
    } catch (error) {
      throw statusOf(error);
    }
  });
}

function isAdminMethod(path: string): path is AdminMethod {
  return Object.entries(ROLE_OF_METHOD).some(([method, role]) => method === path && role === 'admin');
}

const CODES: Readonly<Record<AuthorityCode, number>> = {
  invalid: Status.INVALID_ARGUMENT,
  'token-refused': Status.PERMISSION_DENIED,
  'token-mismatch': Status.PERMISSION_DENIED,
  'certificate-refused': Status.PERMISSION_DENIED,
  locked: Status.FAILED_PRECONDITION,
  revoked: Status.FAILED_PRECONDITION,
  'name-taken': Status.ALREADY_EXISTS,
  generation: Status.ABORTED,
  behind: Status.FAILED_PRECONDITION,
  elsewhere: Status.FAILED_PRECONDITION,
  unavailable: Status.UNAVAILABLE,
};

const ACCESS_CODES: Readonly<Record<AccessError['code'], number>> = {
  invalid: Status.INVALID_ARGUMENT,
  exists: Status.ALREADY_EXISTS,
  conflict: Status.ABORTED,
  denied: Status.PERMISSION_DENIED,
};

/** Errors of ours stay what they are: they are logged, and hidden from the peer. */
function statusOf(error: unknown): unknown {
  if (error instanceof AuthorityError) {
    const detail = error.remedy === '' ? error.message : `${error.message}; ${error.remedy}`;
    return new StatusError(CODES[error.code], detail, { cause: error });
  }
  if (error instanceof AccessError) return new StatusError(ACCESS_CODES[error.code], error.message, { cause: error });
  if (error instanceof PasswordsBusyError) {
    return new StatusError(Status.RESOURCE_EXHAUSTED, `${error.message}; try again`, { cause: error });
  }
  if (error instanceof StoreDownError || error instanceof AuditError) {
    return new StatusError(Status.UNAVAILABLE, error.message, { cause: error });
  }
  if (error instanceof RecordError) return new StatusError(Status.INTERNAL, error.message, { cause: error });
  return error;
}
