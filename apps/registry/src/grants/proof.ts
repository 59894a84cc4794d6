import { completeChain, describeIdentity, StatementVerifier, VerifiedChains } from '@xylem/identity';
import type { carry } from '@xylem/wire';

export interface ProofOptions {
  readonly domain: string;
  /** PEM of every root that is trusted now. */
  readonly trust: () => string;
  /**
   * Intermediates of all registries, DER (see knownIntermediates): a root proxy's TLS shows it no more of a user's chain than
   * the end entity, so that is all it passes on.
   */
  readonly intermediates: () => readonly Uint8Array[];
  /** Why credentials of this identity issued at that moment count no longer; undefined when they do. */
  readonly refusal: (identity: string, issuedAtMs: number) => string | undefined;
}

export type ProofVerdict =
  /** undefined: nobody in particular. */
  | { readonly kind: 'user'; readonly user: string | undefined }
  /** One line for the user. */
  | { readonly kind: 'refused'; readonly detail: string };

/** Users whose certificates are remembered. */
const MAX_USERS = 1_024;

/** Finds out whose proof it is that a root proxy passes on. */
export class UserProofs {
  readonly #options: ProofOptions;
  readonly #chains: VerifiedChains;
  readonly #tokens: StatementVerifier;

  constructor(options: ProofOptions) {
    const { domain, trust } = options;
    this.#options = options;
    this.#chains = new VerifiedChains({ domain, eku: 'client' }, MAX_USERS);
    this.#tokens = new StatementVerifier({ domain, trust });
  }

  /** Never rejects. */
  async verify(proof: carry.UserProof | undefined): Promise<ProofVerdict> {
    const kind = proof?.kind;
    switch (kind?.$case) {
      case 'anonymous':
        return { kind: 'user', user: undefined };
      case 'certificate':
        return this.#certificate(kind.value.certificates);
      case 'accessToken':
        return this.#token(kind.value);
      default:
        return refused('nothing says who dials');
    }
  }

  #certificate(chain: readonly Uint8Array[]): ProofVerdict {
    const whole = completeChain(chain, this.#options.intermediates());
    const verified = this.#chains.verify(whole, this.#options.trust(), Date.now());
    if (verified.kind === 'problem') return refused(`the certificate was refused: ${verified.detail}`);
    const { identity, issuedAtMs } = verified;
    if (identity.kind !== 'user')
      return refused(`the certificate is that of ${describeIdentity(identity)}; only users dial`);
    return this.#current(identity.user, issuedAtMs);
  }

  async #token(text: string): Promise<ProofVerdict> {
    const verdict = await this.#tokens.accessToken(text);
    if (verdict.kind === 'refused')
      return refused(`the access token was refused: ${verdict.detail}; log in: xylem login`);
    return this.#current(verdict.content.user, verdict.issuedAtMs);
  }

  #current(user: string, issuedAtMs: number): ProofVerdict {
    const why = this.#options.refusal(`user/${user}`, issuedAtMs);
    return why === undefined ? { kind: 'user', user } : refused(why);
  }
}

function refused(detail: string): ProofVerdict {
  return { kind: 'refused', detail };
}
