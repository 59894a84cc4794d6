import type { RefusalCode } from '@xylem/authority';

/** Codes of docs/PROTOCOL.md, "Enrolment". */
export type AuthorityCode = RefusalCode | 'certificate-refused' | 'unavailable' | 'behind' | 'elsewhere';

/** Authority refuses, or cannot do, what somebody asked for. Message and remedy hold nothing that they sent. */
export class AuthorityError extends Error {
  readonly code: AuthorityCode;
  /** Empty when there is none. */
  readonly remedy: string;

  constructor(code: AuthorityCode, message: string, remedy: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'AuthorityError';
    this.code = code;
    this.remedy = remedy;
  }
}
