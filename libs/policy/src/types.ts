/** Somebody a rule speaks of. `anonymous` is whoever showed no identity; `everyone` is every user who did. */
export type Subject =
  | { readonly kind: 'user'; readonly user: string }
  | { readonly kind: 'group'; readonly group: string }
  | { readonly kind: 'everyone' }
  | { readonly kind: 'anonymous' };

/** A name, or a name with `*` for any run of characters in it. */
export type Pattern = string;

export interface TargetPattern {
  readonly node: Pattern;
  /** undefined: every port. */
  readonly ports: readonly number[] | undefined;
}

export interface Rule {
  /** Unique in the policy; named in decisions, audit lines and messages. */
  readonly name: string;
  /** A rule that denies wins over every rule that allows, wherever it stands. */
  readonly effect: 'allow' | 'deny';
  readonly subjects: readonly Subject[];
  readonly leaves: readonly Pattern[];
  readonly targets: readonly TargetPattern[];
}

/** Who may dial what. Whatever no rule allows is denied. */
export interface Policy {
  /** Members by group; groups that a login brings along are added to these. */
  readonly groups: ReadonlyMap<string, readonly string[]>;
  /** Who may call AdminService: users and groups only. */
  readonly admins: readonly Subject[];
  readonly rules: readonly Rule[];
  /** Whether open connections that a new policy would deny are cut. Default true. */
  readonly cutOpenConnections: boolean;
}

export interface DialQuestion {
  /** undefined: anonymous. */
  readonly user: string | undefined;
  /** Groups known from elsewhere than the policy: the registry's records, single sign-on. */
  readonly groups: readonly string[];
  readonly leaf: string;
  readonly node: string;
  readonly port: number;
}

export interface Decision {
  readonly allowed: boolean;
  /** The rule that decided; undefined when none matched. */
  readonly rule: string | undefined;
  /** One line for a person. Found when it is read. */
  readonly reason: string;
}
