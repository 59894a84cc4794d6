import { createHash } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { verifyChainInFull } from '../chain.ts';
import { describeIdentity } from '../identity.ts';
import { BoundedMap } from './bounded-map.ts';
import type { RefusedStatement } from './types.ts';

/** A registry whose chain was verified. */
export interface KnownRegistry {
  readonly kind: 'registry';
  readonly registry: string;
  readonly key: KeyObject;
}

interface Known extends KnownRegistry {
  readonly trust: string;
  readonly sinceMs: number;
  readonly untilMs: number;
}

/** Registries are few; each renewal makes another chain. */
const MAX_CHAINS = 64;
/** Each chain is verified anew at least this often: so the end of an issuer's certificate is noticed within it. */
const RECHECK_MS = 60_000;

/** Registries' certificate chains, each verified once in a while instead of once per statement. */
export class RegistryChains {
  readonly #domain: string;
  readonly #chains = new BoundedMap<string, Known>(MAX_CHAINS);

  constructor(domain: string) {
    this.#domain = domain;
  }

  /** @param chain Base64 of DER, as in `x5c`. */
  verify(chain: readonly string[], trust: string, nowMs: number): KnownRegistry | RefusedStatement {
    const digest = createHash('sha256').update(chain.join(' ')).digest('base64');
    const known = this.#chains.get(digest);
    if (known?.trust === trust && nowMs >= known.sinceMs && nowMs <= known.untilMs) return known;
    const der = chain.map((text) => Buffer.from(text, 'base64'));
    const verified = verifyChainInFull(der, trust, nowMs, { domain: this.#domain, eku: 'server' });
    if (verified.kind === 'problem') return refused(verified.detail);
    const { identity, publicKey: key, notAfterMs } = verified;
    if (identity.kind !== 'registry') {
      return refused(`it is signed by ${describeIdentity(identity)}; only registries sign statements`);
    }
    const entry: Known = {
      kind: 'registry',
      registry: identity.registry,
      key,
      trust,
      sinceMs: nowMs,
      untilMs: Math.min(notAfterMs, nowMs + RECHECK_MS),
    };
    this.#chains.set(digest, entry);
    return entry;
  }
}

export function refused(detail: string): RefusedStatement {
  return { kind: 'refused', detail };
}
