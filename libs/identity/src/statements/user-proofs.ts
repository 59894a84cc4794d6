import { completeChain } from '../chain.ts';
import type { VerifiedChain } from '../chain.ts';
import { describeIdentity } from '../identity.ts';
import { flawOfSignedDial } from './possession.ts';
import type { ProvenDial, SignedDial } from './possession.ts';
import type { RefusedStatement } from './types.ts';
import { VerifiedChains } from './verified-chains.ts';
import { StatementVerifier } from './verifier.ts';

/** What somebody showed of who they are. */
export type UserProof =
  /**
   * `chain`: DER as verified in a TLS handshake, the end entity first. It is public: whoever the user once came to has it. `signed`:
   * what the user's client signed for this dial with its key, which nobody else can; empty where it cannot.
   */
  | { readonly kind: 'certificate'; readonly chain: readonly Uint8Array[]; readonly signed: string }
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
  /** Why this does not show that the user asked for this very dial; undefined when it does, and for nobody. */
  readonly weakness: string | undefined;
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

  /**
   * Never rejects.
   *
   * @param dial What the user asks for; undefined: nothing yet, so nothing can be signed for it.
   */
  async verify(proof: UserProof, dial?: ProvenDial): Promise<ProvenUser | RefusedStatement> {
    switch (proof.kind) {
      case 'anonymous':
        return { kind: 'user', user: undefined, weakness: undefined, notAfterMs: undefined };
      case 'certificate':
        return this.#certificate(proof, dial);
      case 'token':
        return this.#token(proof.token);
    }
  }

  async #certificate(
    { chain, signed }: Extract<UserProof, { kind: 'certificate' }>,
    dial: ProvenDial | undefined,
  ): Promise<ProvenUser | RefusedStatement> {
    const { trust, intermediates } = this.#options;
    const complete = (shown: readonly Uint8Array[]): readonly Uint8Array[] => completeChain(shown, intermediates());
    const verified = this.#chains.verify(chain, trust(), Date.now(), complete);
    if (verified.kind === 'problem') return refused(`the certificate was refused: ${verified.detail}`);
    const { identity, issuedAtMs, notAfterMs } = verified;
    if (identity.kind !== 'user') {
      return refused(`the certificate is that of ${describeIdentity(identity)}; only users dial`);
    }
    const weakness = await weaknessOf(signed, verified, dial && { ...dial, user: identity.user });
    return this.#current({ user: identity.user, weakness, notAfterMs }, issuedAtMs);
  }

  async #token(text: string): Promise<ProvenUser | RefusedStatement> {
    const verdict = await this.#tokens.accessToken(text);
    if (verdict.kind === 'verified') {
      const { user } = verdict.content;
      const proven = { user, weakness: 'an access token can be shown by whoever has seen it' };
      return this.#current({ ...proven, notAfterMs: verdict.expiresAtMs }, verdict.issuedAtMs);
    }
    return refused(`the access token was refused: ${verdict.detail}; log in: xylem login`);
  }

  #current(proven: Omit<ProvenUser, 'kind'>, issuedAtMs: number): ProvenUser | RefusedStatement {
    const why = this.#options.refusal(`user/${proven.user}`, issuedAtMs);
    return why === undefined ? { kind: 'user', ...proven } : refused(why);
  }
}

async function weaknessOf(
  signed: string,
  { publicKey }: VerifiedChain,
  dial: SignedDial | undefined,
): Promise<string | undefined> {
  if (dial === undefined || signed === '') return "the user's client has not signed for this dial";
  const flaw = await flawOfSignedDial(signed, publicKey, dial);
  return flaw && `what the user's client signed does not count: ${flaw}`;
}

function refused(detail: string): RefusedStatement {
  return { kind: 'refused', detail };
}
