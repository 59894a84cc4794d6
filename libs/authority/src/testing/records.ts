import { decodeIdentity, decodeRevocation, decodeToken } from '../records.ts';
import { identityKey, revocationKey, tokenKey } from '../keys.ts';
import type { Plan, Read } from '../plan.ts';
import type { IdentityRecord, RevocationRecord, TokenRecord } from '../types.ts';

/** A store as far as plans need one: revisions and all-or-nothing. */
export class Records {
  readonly #kvs = new Map<string, { readonly value: string; readonly modRevision: bigint; readonly lease: bigint }>();
  #revision = 1n;

  token(hash: string): Read<TokenRecord> {
    return this.#read(tokenKey(hash), decodeToken);
  }

  identity(name: string): Read<IdentityRecord> {
    return this.#read(identityKey(name), decodeIdentity);
  }

  revocation(name: string): RevocationRecord | undefined {
    return this.#read(revocationKey(name), decodeRevocation).record;
  }

  /** Whether the plan was carried out. */
  commit(plan: Plan): boolean {
    const holds = plan.compares.every(
      ({ key, modRevision }) => (this.#kvs.get(key)?.modRevision ?? 0n) === modRevision,
    );
    if (!holds) return false;
    this.#revision += 1n;
    for (const step of plan.steps) {
      if (step.type === 'delete') this.#kvs.delete(step.key);
      else {
        const lease = step.type === 'put' ? step.lease : 7n;
        this.#kvs.set(step.key, { value: step.value, modRevision: this.#revision, lease });
      }
    }
    return true;
  }

  put(key: string, value: string): void {
    this.commit({ compares: [], steps: [{ type: 'putFor', key, value, ttlMs: 1 }] });
  }

  /** What is there now, to go back to. */
  backup(): () => void {
    const kept = new Map(this.#kvs);
    return () => {
      this.#kvs.clear();
      for (const [key, kv] of kept) this.#kvs.set(key, kv);
    };
  }

  #read<R>(key: string, decode: (text: string) => R | undefined): Read<R> {
    const kv = this.#kvs.get(key);
    if (kv === undefined) return { key, record: undefined, modRevision: 0n, lease: 0n };
    return { key, record: decode(kv.value), modRevision: kv.modRevision, lease: kv.lease };
  }
}
