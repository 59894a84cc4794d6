import { setTimeout as sleep } from 'node:timers/promises';
import type { AuditLog } from '@xylem/audit';
import { decodeRevocation, revocationKey } from '@xylem/authority';
import type { Read } from '@xylem/authority';
import { RateQuota } from '@xylem/quota';
import { PasswordsBusyError } from '../access/passwords.ts';
import type { Passwords } from '../access/passwords.ts';
import type { UserRecord } from '../access/user-record.ts';
import type { Users } from '../access/users.ts';
import type { AuthorityStore } from '../authority/store.ts';
import type { Enrolled, Enrolments } from '../authority/enrolments.ts';
import { EnrolmentProblem } from '../enrolment/problem.ts';
import type { AccessTokens, IssuedToken } from './access-tokens.ts';
import { Guesses } from './guesses.ts';
import type { ExternalIdentity, OidcVerifier } from './oidc.ts';

export interface LoginParts {
  readonly store: AuthorityStore;
  readonly users: Users;
  readonly passwords: Passwords;
  readonly enrolments: Enrolments;
  readonly accessTokens: AccessTokens;
  readonly audit: AuditLog;
  /** undefined: no single sign-on. */
  readonly oidc: OidcVerifier | undefined;
}

/** What a login gives. */
export interface LoggedIn {
  readonly user: string;
  readonly enrolled: Enrolled;
  readonly accessToken: IssuedToken;
}

const MS_PER_SECOND = 1_000;
const BUSY_RETRY_S = 2;
/** Of one user at one replica, those that succeed as well. A person logs in once in twelve hours. */
const LOGINS_OF_A_USER = { perSecond: 0.5, burst: 30 } as const;
const MAX_USERS = 10_000;
/** How far ahead the clock of the replica that revoked may be. */
const MAX_SKEW_MS = 3_000;

/** Lets users in, by password or by the word of an OpenID provider. Every method rejects as an EnrolmentRoute does. */
export class Logins {
  readonly #parts: LoginParts;
  readonly #guesses: Guesses;
  readonly #rate = new RateQuota(LOGINS_OF_A_USER, MAX_USERS);

  constructor(parts: LoginParts) {
    this.#parts = parts;
    this.#guesses = new Guesses(parts.store);
  }

  get oidc(): OidcVerifier | undefined {
    return this.#parts.oidc;
  }

  /** @param request PKCS #10 in PEM. */
  async withPassword(user: string, password: string, request: string, address: string): Promise<LoggedIn> {
    this.#takePermit(user, address);
    const waitMs = await this.#guesses.begin(user);
    if (waitMs > 0) throw this.#refused(user, address, 'too many failed logins', tooMany('failed logins', waitMs));
    const read = await this.#parts.users.find(user);
    const { record } = read;
    const matches = await this.#matches(password, record);
    if (record === undefined || !matches) {
      const problem = new EnrolmentProblem(401, 'login-refused', 'user name or password is wrong', '');
      throw this.#refused(user, address, record === undefined ? 'unknown user' : 'wrong password', problem);
    }
    await this.#guesses.succeeded(user);
    return this.#enter(read, record, request, address);
  }

  /** @param salt What the token's nonce was made from, together with the requested key; see `loginNonce`. */
  async withIdToken(idToken: string, salt: string, request: string, address: string): Promise<LoggedIn> {
    const { oidc, users } = this.#parts;
    if (oidc === undefined) {
      throw new EnrolmentProblem(
        404,
        'no-single-sign-on',
        'there is no single sign-on here',
        'xylem login --user NAME',
      );
    }
    const identity = await this.#verified(oidc, idToken, salt, request, address);
    this.#takePermit(identity.user, address);
    try {
      await users.recordExternal(identity);
    } catch (error) {
      this.#record(identity.user, address, error instanceof Error ? error.message : 'single sign-on');
      throw error;
    }
    const read = await users.find(identity.user);
    if (read.record === undefined) throw this.#refused(identity.user, address, 'removed meanwhile', gone());
    return this.#enter(read, read.record, request, address);
  }

  /** A program that logs in over and over takes the password hashes from everybody else. */
  #takePermit(user: string, address: string): void {
    const answer = this.#rate.take(user, performance.now());
    if (answer.kind === 'granted') return;
    throw this.#refused(user, address, 'too many logins', tooMany('logins', answer.retryAfterMs));
  }

  async #verified(
    oidc: OidcVerifier,
    idToken: string,
    salt: string,
    request: string,
    address: string,
  ): Promise<ExternalIdentity> {
    const verdict = await oidc.verify(idToken, salt, request);
    if (verdict.kind === 'identity') return verdict;
    const status = verdict.kind === 'unavailable' ? 503 : 401;
    const code = verdict.kind === 'unavailable' ? 'unavailable' : 'login-refused';
    throw this.#refused(undefined, address, verdict.detail, new EnrolmentProblem(status, code, verdict.detail, ''));
  }

  /** The record as read is part of the transaction that gives the certificate: whoever is disabled meanwhile gets none. */
  async #enter(read: Read<UserRecord>, record: UserRecord, request: string, address: string): Promise<LoggedIn> {
    const { enrolments, accessTokens } = this.#parts;
    const user = record.name;
    if (record.disabled) {
      const problem = new EnrolmentProblem(403, 'user-disabled', 'the user is disabled', 'ask an administrator');
      throw this.#refused(user, address, 'disabled', problem);
    }
    await this.#pastRevocation(user);
    const enrolled = await enrolments.issueUser(read, request, address);
    return { user, enrolled, accessToken: await accessTokens.issue(user) };
  }

  /**
   * Certificates and tokens count their age in whole seconds. One that is made in the second of a revocation, as after a
   * new password, would be refused with what it replaces.
   */
  async #pastRevocation(user: string): Promise<void> {
    const { record } = await this.#parts.store.read(revocationKey(`user/${user}`), decodeRevocation);
    if (record === undefined) return;
    const waitMs = Math.ceil(record.beforeMs / MS_PER_SECOND) * MS_PER_SECOND - Date.now();
    if (waitMs > MAX_SKEW_MS) {
      const problem = 'the clocks of the registries differ';
      throw new EnrolmentProblem(503, 'unavailable', problem, 'try again', Math.ceil(waitMs / MS_PER_SECOND));
    }
    if (waitMs > 0) await sleep(waitMs);
  }

  async #matches(password: string, record: UserRecord | undefined): Promise<boolean> {
    try {
      return await this.#parts.passwords.matches(password, record?.password);
    } catch (error) {
      if (!(error instanceof PasswordsBusyError)) throw error;
      throw new EnrolmentProblem(503, 'busy', error.message, 'try again', BUSY_RETRY_S);
    }
  }

  #refused(user: string | undefined, address: string, cause: string, problem: EnrolmentProblem): EnrolmentProblem {
    this.#record(user, address, cause);
    return problem;
  }

  #record(user: string | undefined, address: string, cause: string): void {
    const actor = user === undefined ? 'anonymous' : `user/${user}`;
    const details = { address, cause: cause.slice(0, 200) };
    this.#parts.audit.record({ kind: 'user.login-refused', actor, subject: actor, outcome: 'denied', details });
  }
}

function tooMany(what: 'logins' | 'failed logins', waitMs: number): EnrolmentProblem {
  const seconds = Math.ceil(waitMs / MS_PER_SECOND);
  return new EnrolmentProblem(429, 'too-many', `too many ${what} of this user`, 'wait', seconds);
}

function gone(): EnrolmentProblem {
  return new EnrolmentProblem(401, 'login-refused', 'the user was removed meanwhile', '');
}
