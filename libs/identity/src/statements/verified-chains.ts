import { createHash } from 'node:crypto';
import { verifyChainInFull } from '../chain.ts';
import type { ChainPurpose, VerifiedChain } from '../chain.ts';
import type { IdentityProblem } from '../identity.ts';
import { BoundedMap } from './bounded-map.ts';

interface Known {
  readonly chain: VerifiedChain;
  readonly trust: string;
  readonly sinceMs: number;
  readonly untilMs: number;
}

/** Each chain is verified anew at least this often: so the end of an issuer's certificate is noticed within it. */
const RECHECK_MS = 60_000;

/** Certificate chains that are shown again and again, each verified once in a while: that takes 1 to 2 ms. */
export class VerifiedChains {
  readonly #purpose: ChainPurpose;
  readonly #chains: BoundedMap<string, Known>;

  /** @param limit Greatest number of chains that are remembered, some 5 KiB each. */
  constructor(purpose: ChainPurpose, limit: number) {
    this.#purpose = purpose;
    this.#chains = new BoundedMap(limit);
  }

  /**
   * As `verifyChainInFull`. What was verified counts under exactly this trust, and not beyond the certificate's end.
   *
   * @param chain DER, the end entity first.
   * @param complete Adds what was not shown; called only when the chain is verified anew.
   */
  verify(
    chain: readonly Uint8Array[],
    trust: string,
    nowMs: number,
    complete: (chain: readonly Uint8Array[]) => readonly Uint8Array[] = (shown) => shown,
  ): VerifiedChain | IdentityProblem {
    const hash = createHash('sha256');
    for (const der of chain) hash.update(`${der.length}:`).update(der);
    const digest = hash.digest('base64');
    const known = this.#chains.get(digest);
    if (known?.trust === trust && nowMs >= known.sinceMs && nowMs <= known.untilMs) return known.chain;
    const verified = verifyChainInFull(complete(chain), trust, nowMs, this.#purpose);
    if (verified.kind === 'problem') return verified;
    const untilMs = Math.min(verified.notAfterMs, nowMs + RECHECK_MS);
    this.#chains.set(digest, { chain: verified, trust, sinceMs: nowMs, untilMs });
    return verified;
  }
}
