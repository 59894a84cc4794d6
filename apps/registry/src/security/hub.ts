import { REVOCATIONS_PREFIX, TRUST_KEY, decodeRevocation, decodeTrust, trustPem } from '@xylem/authority';
import type { registry as wire } from '@xylem/wire';
import { knownIntermediates } from '../authority/intermediates.ts';
import type { Mirror } from '../authority/mirror.ts';

/** The part of a `Security` message that says who may do what. */
export type PolicyPart = Pick<wire.Security, 'policyVersion' | 'policy' | 'groups'>;

export interface HubOptions {
  readonly mirror: Mirror;
  /** Epoch of the store; 0n while it is not known. */
  readonly epoch: () => bigint;
  /** Who may do what, as it is now. */
  readonly policy: () => PolicyPart;
}

/** As for incarnations: a restored store counts its revisions twice. */
const EPOCH_SHIFT = 44n;

/** Tells every root proxy with a session what is trusted, revoked and allowed: after the welcome, and at once after each change. */
export class SecurityHub {
  readonly #options: HubOptions;
  readonly #listeners = new Set<(security: wire.Security) => void>();
  readonly #stop: () => void;
  #last: wire.Security | undefined;

  constructor(options: HubOptions) {
    this.#options = options;
    this.#stop = options.mirror.onChange(() => this.#changed());
  }

  /** Calls back with what is known now, if anything is, and with every change; returns the way to stop. */
  subscribe(listener: (security: wire.Security) => void): () => void {
    // A session begins after the epoch became known, and again after each restore: what was told before came without it.
    this.refresh();
    const entry = (security: wire.Security): void => listener(security);
    this.#listeners.add(entry);
    if (this.#last !== undefined) entry(this.#last);
    return () => void this.#listeners.delete(entry);
  }

  /** Looks again, because of something that the mirror does not tell. */
  refresh(): void {
    // Before the first list nothing is known, and nothing must not be told as if it were known.
    if (this.#last !== undefined) this.#changed();
  }

  close(): void {
    this.#stop();
    this.#listeners.clear();
  }

  #changed(): void {
    const next = this.#read();
    const last = this.#last;
    // Joins and renewals change the store all the time, and nothing of this.
    if (last !== undefined && sameContent(last, next)) return;
    this.#last = next;
    for (const listener of [...this.#listeners]) listener(next);
  }

  #read(): wire.Security {
    const { mirror, epoch, policy } = this.#options;
    const trustText = mirror.get(TRUST_KEY);
    const trust = trustText === undefined ? undefined : decodeTrust(trustText);
    const epochs = epoch() > 0n ? epoch() - 1n : 0n;
    return {
      ...policy(),
      revision: (epochs << EPOCH_SHIFT) + mirror.revision,
      revocations: mirror.under(REVOCATIONS_PREFIX).flatMap((text) => {
        const record = decodeRevocation(text);
        return record === undefined ? [] : [{ ...record, beforeMs: BigInt(record.beforeMs) }];
      }),
      trust: trust === undefined ? '' : trustPem(trust),
      trustGeneration: BigInt(trust?.generation ?? 0),
      intermediates: [...knownIntermediates(mirror)],
    };
  }
}

/** A policy of a megabyte is compared as what it is, not written out first: joins and renewals come by the second. */
function sameContent(a: wire.Security, b: wire.Security): boolean {
  return a.policy === b.policy && contentOf(a) === contentOf(b);
}

function contentOf(security: wire.Security): string {
  const { revision, policyVersion, groups, revocations, trust, trustGeneration, intermediates } = security;
  return JSON.stringify([
    String(revision >> EPOCH_SHIFT),
    String(policyVersion),
    groups,
    revocations.map(({ identity, beforeMs, reason }) => [identity, String(beforeMs), reason]),
    trust,
    String(trustGeneration),
    intermediates,
  ]);
}
