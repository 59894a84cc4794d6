import type { AuditEntry, AuditLog } from '@xylem/audit';
import { USERS_PREFIX, encodeRecord, revocationKey, unchanged, userKey } from '@xylem/authority';
import type { PlanStep, Read } from '@xylem/authority';
import { isGroupName, isUserName } from '@xylem/identity';
import { ADMIN_PREFIX } from '../authority/own-identity.ts';
import type { AuthorityStore } from '../authority/store.ts';
import { AccessError } from './access-error.ts';
import type { Passwords } from './passwords.ts';
import { recorded } from './recorded.ts';
import { decodeUser, encodeUser } from './user-record.ts';
import type { UserRecord } from './user-record.ts';

export interface UsersParts {
  readonly store: AuthorityStore;
  readonly passwords: Passwords;
  readonly audit: AuditLog;
  /** Longest life of what a login gives out: revocations are kept so long. */
  readonly userTtlMs: number;
  /** Wall clock. */
  readonly now: () => number;
}

/** What an administrator asks for. */
export interface UserWish {
  readonly name: string;
  /** undefined: those there are. */
  readonly groups: readonly string[] | undefined;
  /** undefined: the one there is. */
  readonly password: string | undefined;
  readonly disabled: boolean;
  /** False: the user must be new. */
  readonly replace: boolean;
}

/** Who somebody is by the word of another: an OpenID provider's. */
export interface ExternalLogin {
  readonly user: string;
  readonly issuer: string;
  readonly subject: string;
  readonly groups: readonly string[];
}

interface Change {
  readonly record: UserRecord;
  /** Done in the same transaction. */
  readonly steps: readonly PlanStep[];
  /** undefined: a login, which is recorded by itself. */
  readonly line: Omit<AuditEntry, 'outcome'> | undefined;
}

const MIN_PASSWORD_CHARACTERS = 8;
const MAX_PASSWORD_BYTES = 1_024;
const MAX_GROUPS = 256;
const MAX_ROUNDS = 5;
/** Words of the policy, which nobody may bear as a name. */
const RESERVED: ReadonlySet<string> = new Set(['anonymous', 'everyone']);

/** The users that the registry keeps. Every method rejects with an AccessError or a StoreDownError. */
export class Users {
  readonly #parts: UsersParts;

  constructor(parts: UsersParts) {
    this.#parts = parts;
  }

  find(user: string): Promise<Read<UserRecord>> {
    return this.#parts.store.read(userKey(user), decodeUser);
  }

  /** All of them, by name. */
  async list(): Promise<readonly UserRecord[]> {
    const reads = await this.#parts.store.list(USERS_PREFIX, decodeUser);
    return reads.flatMap(({ record }) => record ?? []);
  }

  /** Creates or changes a user. Who is disabled by it loses what is open and what was given out. */
  async put(wish: UserWish, actor: string): Promise<UserRecord> {
    const { passwords, now } = this.#parts;
    checkUserName(wish.name);
    checkGroups(wish.groups ?? []);
    const password = wish.password === undefined ? undefined : await passwords.hash(checkedPassword(wish.password));
    return this.#change(wish.name, ({ record }) => {
      if (record !== undefined && !wish.replace) {
        throw new AccessError('exists', `user ${wish.name} is there already; replace it or choose another name`);
      }
      const kept = password ?? record?.password;
      const changed: UserRecord = {
        name: wish.name,
        groups: [...new Set(wish.groups ?? record?.groups ?? [])].sort(),
        ...(kept === undefined ? {} : { password: kept }),
        ...(record?.external === undefined ? {} : { external: record.external }),
        disabled: wish.disabled,
        changedBy: actor,
        changedAtMs: now(),
      };
      const details = {
        groups: changed.groups.join(',').slice(0, 200),
        disabled: changed.disabled,
        password: password === undefined ? 'kept' : 'set',
      };
      // A new password ends what was got with the old one: somebody may have known it.
      const ends = changed.disabled || (password !== undefined && record?.password !== undefined);
      const reason = changed.disabled ? 'the user was disabled' : 'the password was changed';
      const line = { kind: 'user.put', actor, subject: `user/${wish.name}`, details } as const;
      return { record: changed, steps: ends ? [this.#revocation(wish.name, reason)] : [], line };
    });
  }

  /** False: there was none. What the user has open is cut. */
  async remove(name: string, actor: string): Promise<boolean> {
    const { store, audit } = this.#parts;
    for (let rounds = 0; rounds < MAX_ROUNDS; rounds += 1) {
      const read = await this.find(name);
      if (read.record === undefined) return false;
      const steps: PlanStep[] = [{ type: 'delete', key: read.key }, this.#revocation(name, 'the user was removed')];
      const line = { kind: 'user.removed', actor, subject: `user/${name}` } as const;
      const plan = { compares: [unchanged(read)], steps };
      if (await recorded(audit, line, () => store.commit(plan))) return true;
    }
    throw keepsChanging();
  }

  /**
   * Takes over what an OpenID provider says of a user; makes the user when there is none. A name belongs to the first
   * subject that came with it, and one with a password here to nobody from elsewhere: a provider at which people choose
   * their names must not be able to give them somebody else's.
   */
  recordExternal(login: ExternalLogin): Promise<UserRecord> {
    const { now, userTtlMs } = this.#parts;
    checkUserName(login.user);
    return this.#change(login.user, ({ record }) => {
      if (record?.disabled === true) throw new AccessError('denied', 'the user is disabled; ask an administrator');
      if (record?.password !== undefined) {
        throw new AccessError('denied', `user ${login.user} logs in with a password; an administrator can change that`);
      }
      const { issuer, subject } = record?.external ?? login;
      if (issuer !== login.issuer || subject !== login.subject) {
        throw new AccessError('denied', `the name ${login.user} belongs to another subject; ask an administrator`);
      }
      const groups = [...new Set(login.groups.filter(isGroupName))].sort().slice(0, MAX_GROUPS);
      const changed: UserRecord = {
        name: login.user,
        groups: record?.groups ?? [],
        external: { issuer, subject, groups, untilMs: now() + userTtlMs },
        disabled: false,
        changedBy: record?.changedBy ?? 'single sign-on',
        changedAtMs: record?.changedAtMs ?? now(),
      };
      return { record: changed, steps: [], line: undefined };
    });
  }

  async #change(name: string, decide: (read: Read<UserRecord>) => Change): Promise<UserRecord> {
    const { store, audit } = this.#parts;
    for (let rounds = 0; rounds < MAX_ROUNDS; rounds += 1) {
      const read = await this.find(name);
      const { record, steps, line } = decide(read);
      const put: PlanStep = { type: 'put', key: userKey(name), value: encodeUser(record), lease: 0n };
      const plan = { compares: [unchanged(read)], steps: [put, ...steps] };
      const commit = (): Promise<boolean> => store.commit(plan);
      if (await (line === undefined ? commit() : recorded(audit, line, commit))) return record;
    }
    throw keepsChanging();
  }

  /** Certificates and tokens from before now count no longer; in the same transaction as the reason for it. */
  #revocation(name: string, reason: string): PlanStep {
    const identity = `user/${name}`;
    const value = encodeRecord({ identity, beforeMs: this.#parts.now(), reason });
    return { type: 'putFor', key: revocationKey(identity), value, ttlMs: this.#parts.userTtlMs };
  }
}

function checkUserName(name: string): void {
  if (!isUserName(name)) throw new AccessError('invalid', 'that is no user name; use 1 to 128 of a-z 0-9 . _ @ -');
  if (RESERVED.has(name)) throw new AccessError('invalid', `${name} has a meaning in policies; choose another name`);
  if (name.startsWith(ADMIN_PREFIX)) {
    throw new AccessError(
      'invalid',
      `names that begin with ${ADMIN_PREFIX} are those of registries' own administrators`,
    );
  }
}

function checkGroups(groups: readonly string[]): void {
  if (groups.length > MAX_GROUPS) throw new AccessError('invalid', `a user has at most ${MAX_GROUPS} groups`);
  if (!groups.every(isGroupName)) {
    throw new AccessError('invalid', 'a group has 1 to 128 of A-Z a-z 0-9 . _ @ / + : - and spaces inside');
  }
}

function checkedPassword(password: string): string {
  if (password.length < MIN_PASSWORD_CHARACTERS) {
    throw new AccessError('invalid', `a password has at least ${MIN_PASSWORD_CHARACTERS} characters`);
  }
  if (Buffer.byteLength(password) > MAX_PASSWORD_BYTES) {
    throw new AccessError('invalid', `a password has at most ${MAX_PASSWORD_BYTES} bytes`);
  }
  return password;
}

function keepsChanging(): AccessError {
  return new AccessError('conflict', 'the record kept changing; try again');
}
