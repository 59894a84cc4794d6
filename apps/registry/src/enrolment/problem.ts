import { AuditError } from '@xylem/audit';
import { AccessError } from '../access/access-error.ts';
import { AuthorityError } from '../authority/problem.ts';
import type { AuthorityCode } from '../authority/problem.ts';
import { StoreDownError } from '../authority/store.ts';

/** A request that is answered with an error. `message` and `remedy` hold nothing that the client sent. */
export class EnrolmentProblem extends Error {
  readonly status: number;
  readonly code: string;
  readonly remedy: string;
  /** Seconds; undefined: no such header. */
  readonly retryAfter: number | undefined;

  constructor(status: number, code: string, message: string, remedy: string, retryAfter?: number) {
    super(message);
    this.name = 'EnrolmentProblem';
    this.status = status;
    this.code = code;
    this.remedy = remedy;
    this.retryAfter = retryAfter;
  }
}

const STATUS: Readonly<Record<AuthorityCode, number>> = {
  invalid: 400,
  'token-refused': 401,
  'token-mismatch': 403,
  'certificate-refused': 401,
  locked: 403,
  revoked: 403,
  'name-taken': 409,
  generation: 409,
  behind: 409,
  elsewhere: 409,
  unavailable: 503,
};

const RETRY_AFTER_S = 2;

/** The funnel: what the client is told about something a route threw; undefined for an error of ours. */
export function problemOf(error: unknown): EnrolmentProblem | undefined {
  if (error instanceof EnrolmentProblem) return error;
  if (error instanceof AuthorityError) {
    const retryAfter = error.code === 'unavailable' ? RETRY_AFTER_S : undefined;
    return new EnrolmentProblem(STATUS[error.code], error.code, error.message, error.remedy, retryAfter);
  }
  if (error instanceof AccessError) {
    const status = error.code === 'invalid' ? 400 : error.code === 'denied' ? 403 : 409;
    return new EnrolmentProblem(status, error.code, error.message, '');
  }
  if (error instanceof StoreDownError) {
    return new EnrolmentProblem(503, 'unavailable', 'the store does not answer', 'try again', RETRY_AFTER_S);
  }
  if (error instanceof AuditError) {
    const message = 'the audit line cannot be written, and nobody joins unrecorded';
    return new EnrolmentProblem(503, 'unavailable', message, 'try again', RETRY_AFTER_S);
  }
  return undefined;
}
