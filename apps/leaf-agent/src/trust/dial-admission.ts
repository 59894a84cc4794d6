import { statementKind } from '@xylem/identity';
import type { DialGrant, StandingGrant, StatementVerifier } from '@xylem/identity';
import { decide } from '@xylem/policy';
import type { tunnel } from '@xylem/wire';
import type { SeenConnections } from './seen-connections.ts';

export interface AdmissionOptions {
  readonly leaf: string;
  readonly agent: string;
  /** Nonce of this process: a grant for another life of the agent is worth nothing. */
  readonly instance: string;
  readonly verifier: Pick<StatementVerifier, 'grant' | 'standingGrant'>;
  readonly seen: SeenConnections;
  /** Monotonic milliseconds. Default performance.now. */
  readonly now?: () => number;
}

export type DialVerdict =
  /** `offline`: by the root proxy's standing grant. */
  | { readonly kind: 'granted'; readonly registry: string; readonly offline: boolean; readonly issuedAtMs: number }
  | { readonly kind: 'refused'; readonly cause: GrantRefusal; readonly detail: string };

/** For the audit log: `missing` no grant at all; `invalid` not a registry's, or expired; `mismatch` for another dial than this one. */
export type GrantRefusal = 'missing' | 'invalid' | 'mismatch' | 'policy' | 'replay' | 'full';

/** A dial as it would be made. */
export interface WantedDial {
  readonly request: tunnel.DialRequest;
  /** Root proxy at the other end of the tunnel, by its certificate. */
  readonly proxy: string;
  readonly node: string;
  /** Never 0. */
  readonly port: number;
}

const SET_BACK =
  'the grant is older than others used minutes ago, so a clock was set back; if that was a correction, restart the agent';

/** Makes sure that a registry allowed each dial, so that a root proxy cannot dial on its own. */
export class DialAdmission {
  readonly #options: AdmissionOptions;

  constructor(options: AdmissionOptions) {
    this.#options = options;
  }

  /** Never rejects. A dial that is granted cannot be granted again. */
  async check(dial: WantedDial): Promise<DialVerdict> {
    const { grant, connection } = dial.request;
    if (grant === '') return refused('missing', 'the root proxy showed no grant for this dial');
    const verdict =
      statementKind(grant) === 'standing' ? await this.#standing(dial, grant) : await this.#own(dial, grant);
    if (verdict.kind === 'refused') return verdict;
    switch (this.#options.seen.add(dial.proxy, connection, verdict.issuedAtMs, this.#now())) {
      case 'new':
        return verdict;
      case 'replay':
        return refused('replay', 'the grant of this dial was used before');
      case 'full':
        return refused('full', 'the agent makes more dials than it can remember; try again later');
    }
  }

  #now(): number {
    return (this.#options.now ?? performance.now.bind(performance))();
  }

  async #own(dial: WantedDial, text: string): Promise<DialVerdict> {
    const grant = await this.#options.verifier.grant(text);
    if (grant.kind === 'refused') return refused('invalid', `the grant of this dial was refused: ${grant.detail}`);
    const flaw = this.#mismatch(dial, grant.content);
    if (flaw !== undefined) return refused('mismatch', `the grant of this dial is for another ${flaw}`);
    // What was used and forgotten since was issued until then.
    if (grant.issuedAtMs <= this.#options.seen.floorMs(this.#now())) return refused('replay', SET_BACK);
    return { kind: 'granted', registry: grant.registry, offline: false, issuedAtMs: grant.issuedAtMs };
  }

  #mismatch({ request, proxy, node, port }: WantedDial, grant: DialGrant): string | undefined {
    const { leaf, agent, instance } = this.#options;
    if (grant.leaf !== leaf) return 'leaf cluster';
    if (grant.agent !== agent) return 'agent';
    if (grant.instance !== instance) return 'life of this agent';
    if (grant.proxy !== proxy) return 'root proxy';
    if (grant.node !== node) return 'node';
    if (grant.port !== port) return 'port';
    if (grant.connection !== request.connection) return 'connection';
    return (grant.user ?? '') === request.user ? undefined : 'user';
  }

  /** Decides as the registry would have: by what it signed of the policy. */
  async #standing({ request, proxy, node, port }: WantedDial, text: string): Promise<DialVerdict> {
    const { leaf } = this.#options;
    const grant = await this.#options.verifier.standingGrant(text);
    if (grant.kind === 'refused') return refused('invalid', `the standing grant was refused: ${grant.detail}`);
    const { content, expiresAtMs, issuedAtMs } = grant;
    if ((expiresAtMs ?? 0) <= this.#options.seen.floorMs(this.#now())) return refused('invalid', SET_BACK);
    const flaw = mismatchOf(content, leaf, proxy);
    if (flaw !== undefined) return refused('mismatch', `the standing grant is for another ${flaw}`);
    const user = request.user === '' ? undefined : request.user;
    const decision = decide(content.policy, { user, groups: [], leaf, node, port });
    if (!decision.allowed)
      return refused('policy', `no registry answers, and its standing grant says: ${decision.reason}`);
    return { kind: 'granted', registry: grant.registry, offline: true, issuedAtMs };
  }
}

function mismatchOf(grant: StandingGrant, leaf: string, proxy: string): string | undefined {
  if (grant.leaf !== leaf) return 'leaf cluster';
  return grant.proxy === proxy ? undefined : 'root proxy';
}

function refused(cause: GrantRefusal, detail: string): DialVerdict {
  return { kind: 'refused', cause, detail };
}
