import { AuditError } from '@xylem/audit';
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
import type { Behind, TrustRecord } from '@xylem/authority';
import { recorded } from '../access/recorded.ts';
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
  /** Whom a step forward would cut off. */
  readonly behind: Behind;
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
    const count = left.members.length + left.users.length;
    if (count > 0 && !force) throw tooEarly(left);
    const begins = direction === 'forward' && needsNewRoot(read.record);
    if (begins && !force) this.#assertHolder(read.record);
    // Always a new key: one that lies here from before may be the very reason for this rotation.
    const made = begins ? await this.#parts.keyring.roots.create() : undefined;
    const forget = (): void => {
      if (made !== undefined) this.#parts.keyring.roots.remove(made.fingerprint);
    };
    const next = direction === 'forward' ? stepForward(read.record, made) : stepBack(read.record);
    if (next === undefined) throw new AuthorityError('invalid', 'no rotation is under way', '');
    const line = {
      kind: 'authority.rotated',
      actor,
      subject: `${read.record.phase} to ${next.phase}`,
      details: { generation: next.generation, forced: force && count > 0, behind: count },
    } as const;
    const put = { type: 'put' as const, key: TRUST_KEY, value: encodeRecord(next), lease: 0n };
    const commit = (): Promise<boolean> => store.commit({ compares: [unchanged(read)], steps: [put] });
    const done = await recorded(audit, line, commit).catch((error: unknown) => {
      // Where the store did not answer, the step may have been made, and the root may be needed.
      if (error instanceof AuditError) forget();
      throw error;
    });
    if (!done) {
      forget();
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

  async #behind(trust: TrustRecord, direction: 'forward' | 'back'): Promise<Behind> {
    const { identities, now } = this.#parts;
    return behind(trust, await identities.list(), direction, now());
  }
}

function tooEarly({ members, users, usersUntilMs }: Behind): AuthorityError {
  if (members.length === 0) {
    const until = new Date(usersUntilMs).toISOString();
    const remedy = `wait until ${until}, when the last of their certificates has ended, or give --force: they log in again then`;
    return new AuthorityError('behind', `${users.length} users logged in before this phase: ${shown(users)}`, remedy);
  }
  const remedy = 'wait for their renewals, or give --force: they are cut off then and have to join again';
  const detail = `${members.length} identities have not followed yet: ${shown(members)}`;
  return new AuthorityError('behind', users.length === 0 ? detail : `${detail}, nor ${users.length} users`, remedy);
}

function shown(left: readonly string[]): string {
  const more = left.length > SHOWN ? ` and ${left.length - SHOWN} more` : '';
  return `${left.slice(0, SHOWN).join(', ')}${more}`;
}
