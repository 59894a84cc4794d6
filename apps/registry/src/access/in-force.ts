import { POLICY_KEY, USERS_PREFIX } from '@xylem/authority';
import { canonicalPolicy, readPolicy, readPolicyInSteps } from '@xylem/identity';
import type { PolicyOutcome } from '@xylem/identity';
import { decide, isAdmin } from '@xylem/policy';
import type { Decision, DialQuestion, Policy } from '@xylem/policy';
import type { Mirror } from '../authority/mirror.ts';
import { decodePolicyRecord } from './policy-record.ts';
import type { PolicyRecord } from './policy-record.ts';
import { decodeUser, groupsOf } from './user-record.ts';
import type { UserRecord } from './user-record.ts';

/** What the store says about who may do what, ready for deciding. Never changes; a newer one replaces it. */
export interface Rules {
  /** 0: none was ever set. */
  readonly version: number;
  readonly policy: Policy;
  /** The policy as canonical JSON: what root proxies get, who read it ten times faster than YAML. */
  readonly canonical: string;
  /** Groups of users that are kept by the registry, for users in any; by name. */
  readonly groups: ReadonlyMap<string, readonly string[]>;
}

export interface InForceHooks {
  /** The store holds something that is no policy of this version: everything is denied until it is corrected. */
  readonly onUnreadable: (detail: string) => void;
  /** Wall clock. */
  readonly now: () => number;
}

const NOTHING: Policy = { groups: new Map(), admins: [], rules: [], cutOpenConnections: true };
const NONE_SET: Omit<Rules, 'groups'> = { version: 0, policy: NOTHING, canonical: canonicalPolicy(NOTHING) };
const NO_RULES: Rules = { ...NONE_SET, groups: new Map() };
/** Changes of other records come in hundreds when agents renew: after one look the next comes so much later. */
const SETTLE_MS = 50;
/** Longer policies are read in steps, so that nobody waits for them: the longest takes a second or two. This one takes 20 ms. */
const READ_AT_ONCE_CHARACTERS = 16_384;
/** Groups of single sign-on end by themselves. */
const RECHECK_MS = 15_000;

/**
 * The policy and the users as this replica's mirror of the store has them: at most a moment old. Decides everything that is
 * not a login: the admins of AdminService, `policy check`, grants.
 */
export class PolicyInForce {
  readonly #mirror: Mirror;
  readonly #hooks: InForceHooks;
  readonly #listeners = new Set<(rules: Rules) => void>();
  readonly #stop: () => void;
  #rules = NO_RULES;
  #policyText: string | undefined;
  /** The store's records have been read once. */
  #told = false;
  /** Once closed, nothing that is being read counts. */
  #closed = false;
  /** Records by their text, so that only changed ones are read. */
  #users: ReadonlyMap<string, UserRecord> = new Map();
  /** Runs after each look; what changes meanwhile is looked at when it ends. */
  #settling: NodeJS.Timeout | undefined;
  #missed = false;
  readonly #recheck: NodeJS.Timeout;

  constructor(mirror: Mirror, hooks: InForceHooks) {
    this.#mirror = mirror;
    this.#hooks = hooks;
    this.#stop = mirror.onChange(() => this.#mirrorChanged());
    this.#recheck = setInterval(() => this.#refresh(), RECHECK_MS);
    this.#refresh();
  }

  get rules(): Rules {
    return this.#rules;
  }

  /** The groups of a user besides those of the policy. */
  groupsOf(user: string): readonly string[] {
    return this.#rules.groups.get(user) ?? [];
  }

  /**
   * The one answer that everybody gets.
   *
   * @param extra Groups that a single sign-on would bring; for trying out only.
   */
  decide(question: Omit<DialQuestion, 'groups'>, extra: readonly string[] = []): Decision {
    const kept = question.user === undefined ? [] : this.groupsOf(question.user);
    return decide(this.#rules.policy, { ...question, groups: [...kept, ...extra] });
  }

  isAdmin(user: string): boolean {
    return isAdmin(this.#rules.policy, user, this.groupsOf(user));
  }

  /** False until the store's records have been read once: what is said before is not what they say. */
  get known(): boolean {
    return this.#mirror.revision > 0n;
  }

  /** Resolves with whether the store's records have been read once: at once when they have, after `waitMs` at the latest. */
  async becomesKnown(waitMs: number): Promise<boolean> {
    if (this.known) return true;
    const { promise, resolve } = Promise.withResolvers<void>();
    const late = setTimeout(resolve, waitMs);
    const stop = this.#mirror.onChange(resolve);
    await promise;
    clearTimeout(late);
    stop();
    return this.known;
  }

  /** Resolves when this version of the policy, or a later one, is in force here; after `waitMs` in any case. */
  async reaches(version: number, waitMs: number): Promise<void> {
    if (this.#rules.version >= version) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const late = setTimeout(resolve, waitMs);
    const stop = this.onChange((rules) => {
      if (rules.version >= version) resolve();
    });
    await promise;
    clearTimeout(late);
    stop();
  }

  /** Called after each change; returns the way to stop. */
  onChange(listener: (rules: Rules) => void): () => void {
    const entry = (rules: Rules): void => listener(rules);
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
  }

  /** Idempotent. */
  close(): void {
    this.#closed = true;
    this.#stop();
    clearTimeout(this.#settling);
    clearInterval(this.#recheck);
    this.#listeners.clear();
  }

  #mirrorChanged(): void {
    if (this.#settling !== undefined) {
      this.#missed = true;
      return;
    }
    this.#refresh();
    this.#settling = setTimeout(() => {
      this.#settling = undefined;
      if (!this.#missed) return;
      this.#missed = false;
      this.#mirrorChanged();
    }, SETTLE_MS);
  }

  #refresh(): void {
    const groups = this.#groups();
    const policy = this.#policy();
    this.#told ||= this.known;
    if (policy === undefined && sameGroups(groups, this.#rules.groups)) return;
    this.#put({ ...(policy ?? this.#rules), groups });
  }

  #put(rules: Rules): void {
    this.#rules = rules;
    for (const listener of [...this.#listeners]) listener(rules);
  }

  /** undefined: as before, at least until a long one has been read. */
  #policy(): Omit<Rules, 'groups'> | undefined {
    const text = this.#mirror.get(POLICY_KEY);
    if (text === this.#policyText) return undefined;
    this.#policyText = text;
    if (text === undefined) return NONE_SET;
    const record = decodePolicyRecord(text);
    // What the first list says is in force at once: nothing may be decided or told before.
    if (record !== undefined && this.#told && record.yaml.length > READ_AT_ONCE_CHARACTERS) {
      void this.#readInSteps(text, record);
      return undefined;
    }
    return this.#rulesOf(record, record && readPolicy(record.yaml));
  }

  /** What was in force stays so meanwhile. */
  async #readInSteps(text: string, record: PolicyRecord): Promise<void> {
    const outcome = await readPolicyInSteps(record.yaml);
    // Another one was set since.
    if (this.#closed || text !== this.#policyText) return;
    this.#put({ ...this.#rulesOf(record, outcome), groups: this.#rules.groups });
  }

  #rulesOf(record: PolicyRecord | undefined, outcome: PolicyOutcome | undefined): Omit<Rules, 'groups'> {
    if (record !== undefined && outcome?.ok === true) {
      const { policy } = outcome;
      return { version: record.version, policy, canonical: canonicalPolicy(policy) };
    }
    this.#hooks.onUnreadable(`${POLICY_KEY} holds no policy of this version; all is denied; set the policy again`);
    return { ...NONE_SET, version: record?.version ?? 0 };
  }

  #groups(): ReadonlyMap<string, readonly string[]> {
    const users = new Map<string, UserRecord>();
    for (const text of this.#mirror.under(USERS_PREFIX)) {
      const record = this.#users.get(text) ?? decodeUser(text);
      if (record !== undefined) users.set(text, record);
    }
    this.#users = users;
    const nowMs = this.#hooks.now();
    const groups = new Map<string, readonly string[]>();
    for (const record of users.values()) {
      const own = groupsOf(record, nowMs);
      if (own.length > 0) groups.set(record.name, own);
    }
    return groups;
  }
}

function sameGroups(a: ReadonlyMap<string, readonly string[]>, b: ReadonlyMap<string, readonly string[]>): boolean {
  if (a.size !== b.size) return false;
  return [...a].every(([user, groups]) => b.get(user)?.join('\n') === groups.join('\n'));
}
