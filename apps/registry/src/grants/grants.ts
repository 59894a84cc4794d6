import { status as Status } from '@grpc/grpc-js';
import { StatusError } from '@xylem/grpc';
import { isName, MAX_GRANT_LIFETIME_MS } from '@xylem/identity';
import type { StatementSigner, UserProofs } from '@xylem/identity';
import { denialText, sliceFor, withMembers } from '@xylem/policy';
import { RateQuota } from '@xylem/quota';
import type { registry as wire } from '@xylem/wire';
import type { PolicyInForce, Rules } from '../access/in-force.ts';
import { proofFromWire } from './proof.ts';

export interface GrantOptions {
  readonly signer: Pick<StatementSigner, 'grant' | 'standingGrant'>;
  readonly proofs: UserProofs;
  readonly policy: Pick<PolicyInForce, 'rules' | 'decide'>;
  /** Resolves, within `waitMs`, with whether the records of the store are known: nothing is denied for want of them. */
  readonly ready: (waitMs: number) => Promise<boolean>;
  /** Life of standing grants, 0: none are given; and how long this registry decides by what it knew when it lost the store. */
  readonly offlineMs: number;
  /** How old what this registry knows may be, milliseconds: 0 while it follows the store. */
  readonly behindMs: () => number;
  /** Whether a user's dial is granted only when the user's client signed for it. */
  readonly requireSigned: boolean;
  /** A standing grant cannot be made. */
  readonly onProblem: (detail: string) => void;
  /** Monotonic milliseconds, for quotas. Default: `performance.now()`. */
  readonly now?: () => number;
}

/** From the answer here to the check at the agent it takes milliseconds; the rest is for clocks and pauses. */
const GRANT_LIFETIME_MS = MAX_GRANT_LIFETIME_MS / 2;
/** Per root proxy. A grant costs a registry about 0.3 ms. */
const DIAL_LIMITS = { perSecond: 2_000, burst: 4_000 } as const;
const MAX_PROXIES = 4_096;
/** Per user, wherever its dials come in: a quarter of what one root proxy may ask for. */
const USER_LIMITS = { perSecond: 500, burst: 2_000 } as const;
const MAX_USERS = 10_000;
/** Per root proxy. One holds one for each leaf cluster that has a tunnel there, and asks for all when the policy changes. */
const STANDING_LIMITS = { perSecond: 200, burst: 10_000 } as const;
/** A change of etcd's leader, or its restart, must not refuse a dial, whatever `offlineMs` is. */
const MIN_BEHIND_MS = 30_000;
/** Reading the store takes milliseconds when it answers; a root proxy waits for two seconds. */
const READY_WAIT_MS = 1_000;
const MAX_CONNECTION_CHARACTERS = 128;
/** Leaf clusters whose part of the policy is kept at hand. */
const MAX_SLICES = 4_096;

/** Gives leave for dials: the decision about each is made here, by the policy in force, and signed. */
export class Grants {
  readonly #options: GrantOptions;
  readonly #quota = new RateQuota(DIAL_LIMITS, MAX_PROXIES);
  readonly #users = new RateQuota(USER_LIMITS, MAX_USERS);
  readonly #standing = new RateQuota(STANDING_LIMITS, MAX_PROXIES);
  /** Parts of `#slicesOf`, by leaf cluster, and the whole with all its groups. */
  readonly #slices = new Map<string, Rules['policy']>();
  #slicesOf: Rules | undefined;
  #whole: Rules['policy'] | undefined;

  constructor(options: GrantOptions) {
    this.#options = options;
  }

  /**
   * Rejects with a StatusError: FAILED_PRECONDITION while the policy is not known, or not any more, RESOURCE_EXHAUSTED, INVALID_ARGUMENT. Never with
   * a code that a root proxy would take for silence: it would go on by what was signed before.
   *
   * @param proxy The calling root proxy, by its certificate: the grant is good on its tunnels only.
   */
  async authorise(request: wire.AuthoriseDialRequest, proxy: string): Promise<wire.AuthoriseDialResponse> {
    this.#take(this.#quota, proxy, `root proxy ${proxy}`);
    const dial = readRequest(request);
    await this.#assertReady();
    const shown = proofFromWire(request.proof);
    if (shown === undefined) return { grant: '', detail: 'nothing says who dials', user: '' };
    const { signer, policy, proofs, requireSigned } = this.#options;
    const proof = await proofs.verify(shown, { ...dial, entry: entryOf(request, proxy) });
    if (proof.kind === 'refused') return { grant: '', detail: proof.detail, user: '' };
    if (requireSigned && proof.weakness !== undefined) {
      return { grant: '', detail: unsigned(proof.weakness), user: proof.user ?? '' };
    }
    const { user } = proof;
    // Who has no name counts for its root proxy, which counts it by address.
    if (user !== undefined) this.#take(this.#users, user, `user ${user}`);
    const question = { user, leaf: dial.leaf, node: dial.node, port: dial.port };
    const decision = policy.decide(question);
    if (!decision.allowed) return { grant: '', detail: denialText(decision, question), user: user ?? '' };
    const grant = signer.grant({ ...dial, user, proxy, policyVersion: policy.rules.version }, GRANT_LIFETIME_MS);
    return { grant, detail: '', user: user ?? '' };
  }

  /** Rejects as `authorise`. */
  async standing({ leaf }: wire.GetStandingGrantRequest, proxy: string): Promise<wire.GetStandingGrantResponse> {
    this.#take(this.#standing, proxy, `root proxy ${proxy}`);
    const { offlineMs, behindMs, signer, policy, onProblem } = this.#options;
    if (!isName(leaf)) throw new StatusError(Status.INVALID_ARGUMENT, 'the leaf cluster has no valid name');
    await this.#assertReady();
    // Whoever goes on by it goes on by what was known then.
    const validMs = Math.floor(offlineMs - behindMs());
    if (validMs <= 0) return { grant: '', validMs: 0 };
    const { version } = policy.rules;
    try {
      const content = { leaf, proxy, policyVersion: version, policy: this.#sliceOf(leaf) };
      return { grant: signer.standingGrant(content, validMs), validMs };
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      onProblem(`leaf cluster ${leaf} has no standing grant, and no dials while no registry answers: ${detail}`);
      throw new StatusError(Status.FAILED_PRECONDITION, detail, { cause: error });
    }
  }

  /** Throws RESOURCE_EXHAUSTED. */
  #take(quota: RateQuota, key: string, who: string): void {
    const answer = quota.take(key, this.#options.now?.() ?? performance.now());
    if (answer.kind === 'granted') return;
    const detail = `${who} asks for more than it may; try again in ${answer.retryAfterMs} ms`;
    throw new StatusError(Status.RESOURCE_EXHAUSTED, detail);
  }

  #sliceOf(leaf: string): Rules['policy'] {
    const { rules } = this.#options.policy;
    if (this.#slicesOf !== rules || this.#slices.size >= MAX_SLICES) {
      this.#slices.clear();
      this.#slicesOf = rules;
      this.#whole = undefined;
    }
    const known = this.#slices.get(leaf);
    if (known !== undefined) return known;
    this.#whole ??= withMembers(rules.policy, rules.groups);
    const slice = sliceFor(this.#whole, leaf);
    this.#slices.set(leaf, slice);
    return slice;
  }

  async #assertReady(): Promise<void> {
    const { ready, behindMs, offlineMs } = this.#options;
    if (behindMs() > Math.max(offlineMs, MIN_BEHIND_MS)) {
      const detail = 'this registry has lost the store for too long to know what is allowed; try again when it is back';
      throw new StatusError(Status.FAILED_PRECONDITION, detail);
    }
    if (await ready(READY_WAIT_MS)) return;
    throw new StatusError(Status.FAILED_PRECONDITION, 'this registry does not know the policy yet; try again');
  }
}

interface RequestedDial {
  readonly leaf: string;
  readonly node: string;
  readonly port: number;
  readonly agent: string;
  readonly instance: string;
  readonly connection: string;
}

/** The root proxy that the user came to: the calling one says who, and the user's signature says whether that is true. */
function entryOf({ entry }: wire.AuthoriseDialRequest, proxy: string): string {
  return entry === '' ? proxy : entry.replace(/^proxy\//, '');
}

function unsigned(weakness: string): string {
  return `${weakness}, and only signed dials are taken here; use xylem connect, forward or ssh`;
}

function readRequest({ target, connection, agent, instance }: wire.AuthoriseDialRequest): RequestedDial {
  const { leaf = '', node = '', port = 0 } = target ?? {};
  const isShort = (text: string): boolean => text !== '' && text.length <= MAX_CONNECTION_CHARACTERS;
  if ([leaf, node, agent].every(isName) && port >= 1 && port <= 65_535 && isShort(connection) && isShort(instance)) {
    return { leaf, node, port, agent, instance, connection };
  }
  throw new StatusError(Status.INVALID_ARGUMENT, 'the request names no valid target, agent or connection');
}
