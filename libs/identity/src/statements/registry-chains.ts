import type { KeyObject } from 'node:crypto';
import { describeIdentity } from '../identity.ts';
import type { RefusedStatement } from './types.ts';
import { VerifiedChains } from './verified-chains.ts';

/** A registry whose chain was verified. */
export interface KnownRegistry {
  readonly kind: 'registry';
  readonly registry: string;
  readonly key: KeyObject;
}

/** Registries are few; each renewal makes another chain. */
const MAX_CHAINS = 64;

/** The certificates that come along with statements. */
export class RegistryChains {
  readonly #chains: VerifiedChains;

  constructor(domain: string) {
    this.#chains = new VerifiedChains({ domain, eku: 'server' }, MAX_CHAINS);
  }

  /** @param chain Base64 of DER, as in `x5c`. */
  verify(chain: readonly string[], trust: string, nowMs: number): KnownRegistry | RefusedStatement {
    const der = chain.map((text) => Buffer.from(text, 'base64'));
    const verified = this.#chains.verify(der, trust, nowMs);
    if (verified.kind === 'problem') return refused(verified.detail);
    const { identity, publicKey: key } = verified;
    if (identity.kind === 'registry') return { kind: 'registry', registry: identity.registry, key };
    return refused(`it is signed by ${describeIdentity(identity)}; only registries sign statements`);
  }
}

export function refused(detail: string): RefusedStatement {
  return { kind: 'refused', detail };
}
