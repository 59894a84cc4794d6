import { status as Status } from '@grpc/grpc-js';
import { StatusError } from '@xylem/grpc';
import type { UserProofs } from '@xylem/identity';
import type { carry, registry as wire } from '@xylem/wire';
import { now } from '../clock.ts';
import type { AskedDial, PolicyGate } from './policy-gate.ts';
import { proofFromWire } from './proof.ts';

/** A dial whose tunnel has been chosen. */
export interface ChosenDial extends AskedDial {
  readonly connection: string;
  readonly proof: carry.UserProof;
  /** The root proxy that the user came to; empty for this one. */
  readonly entry: string;
  /** Whose tunnel it is, and the nonce of that process. */
  readonly agent: string;
  readonly instance: string;
}

export type Authorisation =
  /** `grant`: for the agent. `user`: whose proof it is; empty for nobody in particular. */
  | { readonly kind: 'granted'; readonly grant: string; readonly user: string }
  | { readonly kind: 'refused'; readonly outcome: 'denied' | 'overloaded' | 'leaf-offline'; readonly detail: string };

export interface AuthorityPorts {
  readonly gate: PolicyGate;
  readonly proofs: UserProofs;
  /** Asks the registry of the present session. Rejects with a StatusError; UNAVAILABLE without a session. */
  readonly ask: (request: wire.AuthoriseDialRequest, deadlineMs: number) => Promise<wire.AuthoriseDialResponse>;
  /** What there is for the leaf cluster while no registry answers. */
  readonly standing: (leaf: string) => string | undefined;
  /** For metrics. */
  readonly answered: (how: 'registry' | 'standing' | 'refused', tookMs: number) => void;
}

/** A registry that is asked takes 1 to 5 ms; one that is stopped or cut off takes for ever. */
const ASK_MS = 2_000;
/** After a registry did not answer, dials do not wait for it for this long; it is asked once in a while to notice its return. */
const SILENCE_MS = 3_000;
/** No registry answered at all: evidence of nothing but that. A registry itself never answers with one of these. */
const SILENT: ReadonlySet<number> = new Set([Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED, Status.CANCELLED]);
/** A registry lives and cannot answer now: too much is asked of it, or it has not read the policy yet. */
const LATER: ReadonlySet<number> = new Set([Status.RESOURCE_EXHAUSTED, Status.FAILED_PRECONDITION]);

/**
 * Gets leave for each dial that goes out on a tunnel of this root proxy: the grant that the agent asks for. The pushed policy denies at once; what it allows
 * a registry decides and signs. Only when no registry answers at all, the standing grant goes along instead, by which the agent decides itself.
 */
export class DialAuthority {
  readonly #ports: AuthorityPorts;
  #silentUntil = 0;

  constructor(ports: AuthorityPorts) {
    this.#ports = ports;
  }

  /** Never rejects, and takes two seconds at most. */
  async authorise(dial: ChosenDial): Promise<Authorisation> {
    const startedAt = now();
    const [how, authorisation] = await this.#decide(dial);
    this.#ports.answered(authorisation.kind === 'refused' ? 'refused' : how, now() - startedAt);
    return authorisation;
  }

  async #decide(dial: ChosenDial): Promise<['registry' | 'standing', Authorisation]> {
    const { gate } = this.#ports;
    const impostor = await this.#impostor(dial);
    const denial = impostor ?? gate.denial(dial);
    if (denial !== undefined) return ['registry', refused('denied', denial)];
    const answer = now() < this.#silentUntil ? undefined : await this.#ask(dial);
    return answer === undefined ? ['standing', this.#standing(dial)] : ['registry', answer];
  }

  /** The user's name came along with the proof; that they belong together is checked by whoever acts on it. */
  async #impostor({ proof, user }: ChosenDial): Promise<string | undefined> {
    const shown = proofFromWire(proof);
    if (shown === undefined) return 'nothing says who dials';
    const proven = await this.#ports.proofs.verify(shown);
    if (proven.kind === 'refused') return proven.detail;
    return (proven.user ?? '') === user ? undefined : 'the proof is that of another user';
  }

  /** undefined: no registry answers. */
  async #ask(dial: ChosenDial): Promise<Authorisation | undefined> {
    const { leaf, node, port, connection, proof, entry, agent, instance } = dial;
    const request = { target: { leaf, node, port }, proof, connection, entry, agent, instance };
    try {
      const { grant, detail, user } = await this.#ports.ask(request, ASK_MS);
      return grant === '' ? refused('denied', detail) : { kind: 'granted', grant, user };
    } catch (error) {
      if (!(error instanceof StatusError)) return refused('denied', 'the root proxy could not ask for a grant');
      if (SILENT.has(error.code)) {
        if (error.code === Status.DEADLINE_EXCEEDED) this.#silentUntil = now() + SILENCE_MS;
        return undefined;
      }
      return refused(LATER.has(error.code) ? 'overloaded' : 'denied', `the registry gave no grant: ${error.detail}`);
    }
  }

  #standing({ leaf, user }: ChosenDial): Authorisation {
    const grant = this.#ports.standing(leaf);
    if (grant !== undefined) return { kind: 'granted', grant, user };
    const detail = `no registry answers, and there is no standing grant for leaf cluster ${leaf}; try again when one is back`;
    return refused('leaf-offline', detail);
  }
}

function refused(outcome: Extract<Authorisation, { kind: 'refused' }>['outcome'], detail: string): Authorisation {
  return { kind: 'refused', outcome, detail };
}
