import type { AuditLog } from '@xylem/audit';
import {
  TRUST_KEY,
  activeRoot,
  behind,
  decodeTrust,
  encodeRecord,
  needsNewRoot,
  stepBack,
  stepForward,
  unchanged,
} from '@xylem/authority';
import type { TrustRecord } from '@xylem/authority';
import type { Identities } from './identities.ts';
import type { Keyring } from './keyring.ts';
import { AuthorityError } from './problem.ts';
import type { AuthorityStore } from './store.ts';

export interface RotationParts {
  readonly store: AuthorityStore;
  readonly keyring: Keyring;
  readonly identities: Identities;
  readonly audit: AuditLog;
  /** Wall clock. */
  readonly now: () => number;
}

export interface RotationState {
  readonly trust: TrustRecord;
  /** Who a step forward would cut off. */
  readonly behind: readonly string[];
}

const SHOWN = 5;

/** Steps of a rotation of the root. Rejects with an AuthorityError, a StoreDownError or an AuditError. */
export class Rotation {
  readonly #parts: RotationParts;

  constructor(parts: RotationParts) {
    this.#parts = parts;
  }

  async describe(): Promise<RotationState> {
    const { record } = await this.#read();
    return { trust: record, behind: await this.#behind(record, 'forward') };
  }

  /** One phase forward or back; refused while identities would be cut off by it, unless forced. */
  async step(direction: 'forward' | 'back', force: boolean, actor: string): Promise<RotationState> {
    const { store, audit } = this.#parts;
    const read = await this.#read();
    const left = await this.#behind(read.record, direction);
    if (left.length > 0 && !force) throw tooEarly(left);
    const begins = direction === 'forward' && needsNewRoot(read.record);
    if (begins && !force) this.#assertHolder(read.record);
    // Always a new key: one that lies here from before may be the very reason for this rotation.
    const made = begins ? await this.#parts.keyring.roots.create() : undefined;
    const next = direction === 'forward' ? stepForward(read.record, made) : stepBack(read.record);
    if (next === undefined) throw new AuthorityError('invalid', 'no rotation is under way', '');
    await audit.commit({
      kind: 'authority.rotated',
      actor,
      subject: `${read.record.phase} to ${next.phase}`,
      outcome: 'done',
      details: { generation: next.generation, forced: force && left.length > 0, behind: left.length },
    });
    const put = { type: 'put' as const, key: TRUST_KEY, value: encodeRecord(next), lease: 0n };
    if (!(await store.commit({ compares: [unchanged(read)], steps: [put] }))) {
      if (made !== undefined) this.#parts.keyring.roots.remove(made.fingerprint);
      throw new AuthorityError('unavailable', 'somebody else has just made a step', 'look again: xylem ca status');
    }
    return { trust: next, behind: await this.#behind(next, 'forward') };
  }

  /** The others ask the holder of the present root for their intermediates, and so will they when the new one signs. */
  #assertHolder(trust: TrustRecord): void {
    if (this.#parts.keyring.roots.holds(activeRoot(trust).fingerprint)) return;
    const remedy = 'name the registry that holds it with --registry, or give --force when its key is lost';
    throw new AuthorityError('elsewhere', 'this registry does not hold the root that is to be replaced', remedy);
  }

  async #read(): Promise<{
    readonly key: string;
    readonly record: TrustRecord;
    readonly modRevision: bigint;
    readonly lease: bigint;
  }> {
    const { record, ...read } = await this.#parts.store.read(TRUST_KEY, decodeTrust);
    if (record === undefined) throw new AuthorityError('unavailable', 'the store holds no trust', 'restart a registry');
    return { ...read, record };
  }

  async #behind(trust: TrustRecord, direction: 'forward' | 'back'): Promise<readonly string[]> {
    const { identities, now } = this.#parts;
    return behind(trust, await identities.list(), direction, now());
  }
}

function tooEarly(left: readonly string[]): AuthorityError {
  const shown = left.slice(0, SHOWN).join(', ');
  const more = left.length > SHOWN ? ` and ${left.length - SHOWN} more` : '';
  const remedy = 'wait for their renewals, or give --force: they are cut off then and have to join again';
  return new AuthorityError('behind', `${left.length} identities have not followed yet: ${shown}${more}`, remedy);
}
