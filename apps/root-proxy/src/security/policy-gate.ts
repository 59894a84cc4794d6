import { readCanonicalPolicy } from '@xylem/identity';
import { decide, decideSomePort, denialText, isAdmin } from '@xylem/policy';
import type { DialQuestion, Policy } from '@xylem/policy';
import type { registry as wire } from '@xylem/wire';

/** A dial that somebody asks for. `user` empty: nobody in particular. `port` 0: the node's only port, not known yet. */
export interface AskedDial {
  readonly user: string;
  readonly leaf: string;
  readonly node: string;
  readonly port: number;
}

type PolicyPart = Pick<wire.Security, 'revision' | 'policyVersion' | 'policy' | 'groups'>;

const NOTHING: Policy = { groups: new Map(), admins: [], rules: [], cutOpenConnections: true };
const UNKNOWN =
  'this root proxy has not heard from a registry yet, so it allows nothing; try again soon or another one';
const UNREADABLE = 'this root proxy cannot read the policy of the registry, so it allows nothing; update it';

/**
 * Who may dial what, as the registries told last. Denies everything until they have; without them what they told last stays.
 */
export class PolicyGate {
  #policy = NOTHING;
  #groups: ReadonlyMap<string, readonly string[]> = new Map();
  #problem: string | undefined = UNKNOWN;
  /** Of the newest message; they may come over another session. */
  #revision = -1n;
  /** Of the policy in force; undefined before the first. */
  #text: string | undefined;
  #groupsText = '';
  #version: number | undefined;
  readonly #onProblem: (detail: string) => void;

  /** @param onProblem Told when the policy cannot be read. */
  constructor(onProblem: (detail: string) => void) {
    this.#onProblem = onProblem;
  }

  /** Of the policy in force here; 0 when none was ever set, undefined before the first word of a registry. */
  get version(): number | undefined {
    return this.#version;
  }

  /** Whether connections that a new policy would deny are to be cut. */
  get cutsOpenConnections(): boolean {
    return this.#policy.cutOpenConnections;
  }

  /** True when somebody may dial more or less than before, or might. */
  update({ revision, policyVersion, policy, groups }: PolicyPart): boolean {
    if (revision < this.#revision) return false;
    this.#revision = revision;
    this.#version = Number(policyVersion);
    const groupsText = JSON.stringify(groups);
    if (policy === this.#text && groupsText === this.#groupsText) return false;
    this.#groupsText = groupsText;
    this.#groups = new Map(groups.map((entry) => [entry.user, entry.groups]));
    if (policy !== this.#text) this.#read(policy);
    return true;
  }

  /** Takes a tenth of a second for the largest, so only when it is another one. */
  #read(policy: string): void {
    this.#text = policy;
    const read = policy === '' ? NOTHING : readCanonicalPolicy(policy);
    this.#problem = read === undefined ? UNREADABLE : undefined;
    if (read === undefined) this.#onProblem(UNREADABLE);
    this.#policy = read ?? NOTHING;
  }

  /** Why this may not be dialled, in words for the user; undefined when it may. */
  denial(dial: AskedDial): string | undefined {
    if (this.#problem !== undefined) return this.#problem;
    const question = this.#questionOf(dial);
    // Which port it is only the root proxy with the tunnel knows, and decides again.
    const decision = dial.port === 0 ? decideSomePort(this.#policy, question) : decide(this.#policy, question);
    return decision.allowed ? undefined : denialText(decision, question);
  }

  mayDial(dial: AskedDial): boolean {
    return this.denial(dial) === undefined;
  }

  isAdmin(user: string): boolean {
    return isAdmin(this.#policy, user, this.#groups.get(user) ?? []);
  }

  #questionOf({ user, leaf, node, port }: AskedDial): DialQuestion {
    return { user: user === '' ? undefined : user, groups: this.#groups.get(user) ?? [], leaf, node, port };
  }
}
