import { completeChain } from '../chain.ts';
import { describeIdentity } from '../identity.ts';
import type { RefusedStatement } from './types.ts';
import { VerifiedChains } from './verified-chains.ts';
import { StatementVerifier } from './verifier.ts';

/** What somebody showed of who they are. */
export type UserProof =
  /** DER as verified in a TLS handshake, the end entity first. */
  | { readonly kind: 'certificate'; readonly chain: readonly Uint8Array[] }
  | { readonly kind: 'token'; readonly token: string }
  /** Nobody in particular. */
  | { readonly kind: 'anonymous' };

export interface UserProofOptions {
  readonly domain: string;
  /** PEM of every root that is trusted now. */
  readonly trust: () => string;
  /**
   * Intermediates of all registries, DER: TLS shows a server no more of a user's chain than the end entity, so that is all
   * that is passed on.
   */
  readonly intermediates: () => readonly Uint8Array[];
  /** Why credentials of this identity (`user/alice`) issued at that moment count no longer; undefined when they do. */
  readonly refusal: (identity: string, issuedAtMs: number) => string | undefined;
}

export interface ProvenUser {
  readonly kind: 'user';
  /** undefined: nobody in particular. */
  readonly user: string | undefined;
  /** End of what was shown, milliseconds since 1970; undefined for nobody. */
  readonly notAfterMs: number | undefined;
}

/** Users whose certificates are remembered. */
const MAX_USERS = 1_024;

/** Finds out whose proof it is, wherever it was shown first. */
export class UserProofs {
  readonly #options: UserProofOptions;
  readonly #chains: VerifiedChains;
  readonly #tokens: StatementVerifier;

  constructor(options: UserProofOptions) {
    const { domain, trust } = options;
    this.#options = options;
    this.#chains = new VerifiedChains({ domain, eku: 'client' }, MAX_USERS);
    this.#tokens = new StatementVerifier({ domain, trust });
  }

  /** Never rejects. */
  async verify(proof: UserProof): Promise<ProvenUser | RefusedStatement> {
    switch (proof.kind) {
      case 'anonymous':
        return { kind: 'user', user: undefined, notAfterMs: undefined };
      case 'certificate':
        return this.#certificate(proof.chain);
      case 'token':
        return this.#token(proof.token);
    }
  }

  #certificate(chain: readonly Uint8Array[]): ProvenUser | RefusedStatement {
    const { trust, intermediates } = this.#options;
    const complete = (shown: readonly Uint8Array[]): readonly Uint8Array[] => completeChain(shown, intermediates());
    const verified = this.#chains.verify(chain, trust(), Date.now(), complete);
    if (verified.kind === 'problem') return refused(`the certificate was refused: ${verified.detail}`);
    const { identity, issuedAtMs, notAfterMs } = verified;
    if (identity.kind === 'user') return this.#current(identity.user, issuedAtMs, notAfterMs);
    return refused(`the certificate is that of ${describeIdentity(identity)}; only users dial`);
  }

  async #token(text: string): Promise<ProvenUser | RefusedStatement> {
    const verdict = await this.#tokens.accessToken(text);
    if (verdict.kind === 'verified') {
      return this.#current(verdict.content.user, verdict.issuedAtMs, verdict.expiresAtMs);
    }
    return refused(`the access token was refused: ${verdict.detail}; log in: xylem login`);
  }

  #current(user: string, issuedAtMs: number, notAfterMs: number | undefined): ProvenUser | RefusedStatement {
    const why = this.#options.refusal(`user/${user}`, issuedAtMs);
    return why === undefined ? { kind: 'user', user, notAfterMs } : refused(why);
  }
}

function refused(detail: string): RefusedStatement {
  return { kind: 'refused', detail };
}
