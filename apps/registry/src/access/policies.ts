import { randomBytes } from 'node:crypto';
import type { AuditLog } from '@xylem/audit';
import { POLICY_KEY, USERS_PREFIX, unchanged } from '@xylem/authority';
import type { Read } from '@xylem/authority';
import { problemText, readPolicyInSteps } from '@xylem/identity';
import type { KnownNames } from '@xylem/identity';
import { isAdmin } from '@xylem/policy';
import type { Policy } from '@xylem/policy';
import type { AuthorityStore } from '../authority/store.ts';
import { AccessError } from './access-error.ts';
import { recorded } from './recorded.ts';
import { MAX_HISTORY, decodePolicyRecord, encodePolicyRecord, policyTextKey } from './policy-record.ts';
import type { PolicyRecord, PolicyVersion } from './policy-record.ts';
import { decodeUser, groupsOf } from './user-record.ts';
import type { UserRecord } from './user-record.ts';

export interface PoliciesParts {
  readonly store: AuthorityStore;
  readonly audit: AuditLog;
  /** Wall clock. */
  readonly now: () => number;
}

/** A policy as it was set; version 0 with an empty text while none was. */
export interface StoredPolicy {
  readonly version: number;
  readonly yaml: string;
  readonly setBy: string;
  readonly setAtMs: number;
}

export type SetOutcome =
  | { readonly kind: 'set'; readonly version: number; readonly warnings: readonly string[] }
  /** Valid, and not set because only a check was asked for. */
  | { readonly kind: 'valid'; readonly warnings: readonly string[] }
  | { readonly kind: 'invalid'; readonly problems: readonly string[] };

/** etcd takes 1.5 MiB per transaction by default, and the record has a frame and a history. */
const MAX_RECORD_BYTES = 1_400_000;
const NONE: StoredPolicy = { version: 0, yaml: '', setBy: '', setAtMs: 0 };

/** The policy in the store, version by version. Every method rejects with an AccessError or a StoreDownError. */
export class Policies {
  readonly #parts: PoliciesParts;

  constructor(parts: PoliciesParts) {
    this.#parts = parts;
  }

  /** @param version 0: the one in force. */
  async get(version = 0): Promise<StoredPolicy> {
    const { record } = await this.#read();
    if (version === 0) return record ?? NONE;
    if (record?.version === version) return record;
    const kept = record?.history.find((entry) => entry.version === version);
    if (kept === undefined) throw new AccessError('invalid', `version ${version} is not kept; see the history`);
    const text = await this.#parts.store.read(policyTextKey(kept.text), (value) => value);
    if (text.record === undefined) throw new AccessError('invalid', `the text of version ${version} is gone`);
    return { ...kept, yaml: text.record };
  }

  /** The version in force and those before it, the newest first. */
  async history(): Promise<readonly PolicyVersion[]> {
    const { record } = await this.#read();
    return record === undefined ? [] : [record, ...record.history];
  }

  /**
   * Replaces the policy when `expected` is the version in force; AccessError `conflict` otherwise. A policy under which nobody
   * administers is taken with a warning: the registries' own administrators always remain.
   */
  async set(yaml: string, expected: number, actor: string, checkOnly = false): Promise<SetOutcome> {
    const users = await this.#users();
    const outcome = await readPolicyInSteps(yaml, knownNames(users, this.#parts.now()));
    if (!outcome.ok) return { kind: 'invalid', problems: outcome.problems.map(problemText) };
    const warnings = [...outcome.warnings, ...lockOuts(outcome.policy, users, actor, this.#parts.now())];
    if (checkOnly) return { kind: 'valid', warnings };
    const read = await this.#read();
    if ((read.record?.version ?? 0) !== expected) throw conflict(read.record?.version ?? 0, expected);
    const version = await this.#replace(read, yaml, actor);
    return { kind: 'set', version, warnings };
  }

  /**
   * Sets the first policy. False when there is one already, whoever set it: from then on it changes through `set` only.
   *
   * @param source For the history, e.g. `policy.file`.
   */
  async initialise(yaml: string, source: string): Promise<boolean> {
    const read = await this.#read();
    if (read.record !== undefined) return false;
    try {
      await this.#replace(read, yaml, source);
      return true;
    } catch (error) {
      if (error instanceof AccessError && error.code === 'conflict') return false;
      throw error;
    }
  }

  async #replace(read: Read<PolicyRecord>, yaml: string, actor: string): Promise<number> {
    const { store, audit, now } = this.#parts;
    const before = read.record;
    const version = (before?.version ?? 0) + 1;
    const text = randomBytes(16).toString('hex');
    const earlier = before === undefined ? [] : [versionOf(before), ...before.history];
    const history = earlier.slice(0, MAX_HISTORY);
    const value = encodePolicyRecord({ version, yaml, setBy: actor, setAtMs: now(), text, history });
    if (Buffer.byteLength(value) > MAX_RECORD_BYTES) {
      throw new AccessError(
        'invalid',
        'the policy is too long for the store; use groups and patterns to make it shorter',
      );
    }
    // The text first, under a name that nobody else makes up: a record never points to nothing.
    const copy = { type: 'put' as const, key: policyTextKey(text), value: yaml, lease: 0n };
    await store.commit({ compares: [], steps: [copy] });
    const details = { version, before: version - 1 };
    const put = { type: 'put' as const, key: POLICY_KEY, value, lease: 0n };
    const plan = { compares: [unchanged(read)], steps: [put] };
    const done = await recorded(audit, { kind: 'policy.set', actor, subject: 'policy', details }, () =>
      store.commit(plan),
    );
    await this.#forget(done ? earlier.slice(MAX_HISTORY) : [{ text }]);
    if (done) return version;
    throw conflict(undefined, version - 1);
  }

  /** What stays behind when this fails is a text that nobody finds. */
  async #forget(entries: readonly { readonly text: string }[]): Promise<void> {
    const steps = entries.map(({ text }) => ({ type: 'delete' as const, key: policyTextKey(text) }));
    if (steps.length > 0) await this.#parts.store.commit({ compares: [], steps }).catch(() => false);
  }

  #read(): Promise<Read<PolicyRecord>> {
    return this.#parts.store.read(POLICY_KEY, decodePolicyRecord);
  }

  async #users(): Promise<readonly UserRecord[]> {
    const reads = await this.#parts.store.list(USERS_PREFIX, decodeUser);
    return reads.flatMap(({ record }) => record ?? []);
  }
}

function versionOf({ version, setBy, setAtMs, text }: PolicyVersion): PolicyVersion {
  return { version, setBy, setAtMs, text };
}

function conflict(found: number | undefined, expected: number): AccessError {
  const is = found === undefined ? 'another one was set meanwhile' : `version ${found} is`;
  return new AccessError('conflict', `version ${expected} is not in force any more, ${is}; get it, and change that`);
}

function knownNames(users: readonly UserRecord[], nowMs: number): KnownNames {
  return {
    users: new Set(users.map(({ name }) => name)),
    groups: new Set(users.flatMap((user) => groupsOf(user, nowMs))),
  };
}

function lockOuts(policy: Policy, users: readonly UserRecord[], actor: string, nowMs: number): readonly string[] {
  if (policy.admins.length === 0) return [];
  const members = new Set([...policy.groups.values()].flat());
  const named = policy.admins.flatMap((subject) => (subject.kind === 'user' ? [subject.user] : []));
  const known = users.filter(({ disabled }) => !disabled);
  const groups = new Map(known.map((user) => [user.name, groupsOf(user, nowMs)]));
  const somebody = [...new Set([...members, ...named, ...groups.keys()])].some((user) =>
    isAdmin(policy, user, groups.get(user) ?? []),
  );
  if (!somebody) return ["the admins are nobody that is known: only the registry's own administrator remains"];
  const user = actor.startsWith('user/') ? actor.slice('user/'.length) : undefined;
  if (user === undefined || user.startsWith('admin@') || isAdmin(policy, user, groups.get(user) ?? [])) return [];
  return [`you (${user}) are no administrator under this policy`];
}
