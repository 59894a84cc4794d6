import type { AuditLog } from '@xylem/audit';
import {
  INTERMEDIATES_PREFIX,
  activeRoot,
  decodeIdentity,
  decodeRevocation,
  identityKey,
  intermediateKey,
  revocationKey,
} from '@xylem/authority';
import type { IdentityRecord } from '@xylem/authority';
import { certificateFingerprint, derOfPem } from '@xylem/identity';
import { nameOf } from './enrolments.ts';
import type { ShownCertificate } from './enrolments.ts';
import { INTERMEDIATE_TTL_MS } from './keyring.ts';
import type { Keyring } from './keyring.ts';
import type { Mirror } from './mirror.ts';
import { AuthorityError } from './problem.ts';
import type { AuthorityCode } from './problem.ts';
import type { AuthorityStore } from './store.ts';

const CLOCK_TOLERANCE_MS = 60_000;

export interface IntermediatesParts {
  readonly domain: string;
  readonly store: AuthorityStore;
  readonly keyring: Keyring;
  readonly audit: AuditLog;
  /** Wall clock. */
  readonly now: () => number;
}

/** What replicas sign with: given to those that joined, and made known to all. */
export class Intermediates {
  readonly #parts: IntermediatesParts;
  #recorded = '';

  constructor(parts: IntermediatesParts) {
    this.#parts = parts;
  }

  /**
   * An intermediate for another registry, and what is trusted: PEM. Rejects with an AuthorityError, `unavailable` where
   * the key of the active root is not held, a StoreDownError or an AuditError.
   */
  async sign(
    shown: ShownCertificate,
    request: string,
    address: string,
  ): Promise<{ readonly intermediate: string; readonly trust: string }> {
    const { store, audit, keyring, domain } = this.#parts;
    const name = nameOf(shown.identity, domain);
    if (shown.identity.kind !== 'registry') {
      throw this.#refused(name, address, 'certificate-refused', 'intermediates are for registries', '');
    }
    const { record } = await store.read(identityKey(name), decodeIdentity);
    const revocation = await store.read(revocationKey(name), decodeRevocation);
    const isRevoked = revocation.record !== undefined && shown.issuedAtMs < revocation.record.beforeMs;
    if (record?.lock !== undefined || isRevoked) {
      const remedy = 'an administrator unlocks it';
      throw this.#refused(name, address, 'revoked', 'the registry is locked or revoked', remedy);
    }
    if (record !== undefined && isOutdated(shown, record)) {
      const detail = 'the registry has a newer certificate than the one that was shown';
      throw this.#refused(
        name,
        address,
        'certificate-refused',
        detail,
        'show that; if it was copied, revoke the registry',
      );
    }
    const { fingerprint } = activeRoot(keyring.trust);
    if (!keyring.roots.holds(fingerprint)) {
      throw new AuthorityError('unavailable', 'this registry does not hold the root', 'ask the one that does');
    }
    const intermediate = await keyring.roots.signIntermediate(fingerprint, request, INTERMEDIATE_TTL_MS);
    const details = { address, intermediate: true };
    await audit.commit({ kind: 'identity.renewed', actor: name, subject: name, outcome: 'done', details });
    return { intermediate, trust: keyring.issuer.ca };
  }

  /** Whoever asks for what signs for everybody, and has no right to it, is written down. */
  #refused(name: string, address: string, code: AuthorityCode, detail: string, remedy: string): AuthorityError {
    const details = { code, address, intermediate: true };
    this.#parts.audit.record({ kind: 'identity.refused', actor: name, subject: name, outcome: 'denied', details });
    return new AuthorityError(code, detail, remedy);
  }

  /**
   * Makes the own one known to all replicas until it ends: Node shows a server no more of a client's chain than the end
   * entity, so who passes a certificate on cannot pass on its issuer. Rejects with a StoreDownError.
   */
  async record(): Promise<void> {
    const { keyring, store, now } = this.#parts;
    const { cert, notAfterMs } = keyring.intermediate;
    const [der] = derOfPem(cert);
    if (der === undefined) return;
    const key = intermediateKey(certificateFingerprint(der));
    // A store that was restored from an older backup has forgotten it.
    const isThere = store.mirror.revision === 0n || store.mirror.get(key) !== undefined;
    if (this.#recorded === cert && isThere) return;
    const { modRevision } = await store.read(key, (text) => text);
    if (modRevision === 0n) {
      const step = { type: 'putFor' as const, key, value: cert, ttlMs: notAfterMs - now() };
      await store.commit({ compares: [{ key, modRevision: 0n }], steps: [step] });
    }
    this.#recorded = cert;
  }
}

/**
 * An hour of a registry's certificate must not buy a thief a month of everybody's: only the newest one counts, or one from after the
 * record where that could not be written. Replicas' clocks may differ.
 */
function isOutdated(shown: ShownCertificate, { key, previousKey, issuedAtMs }: IdentityRecord): boolean {
  return shown.key !== key && shown.key !== previousKey && shown.issuedAtMs < issuedAtMs - CLOCK_TOLERANCE_MS;
}

interface Known {
  readonly revision: bigint;
  readonly text: string;
  readonly certificates: readonly Buffer[];
}

/** By mirror. Every dial asks; renewals change the revision all the time, and intermediates once in two weeks. */
const known = new WeakMap<Mirror, Known>();

/** DER of the intermediates of all replicas, those that certificates alive may have been signed with. */
export function knownIntermediates(mirror: Mirror): readonly Buffer[] {
  const { revision } = mirror;
  const last = known.get(mirror);
  if (last?.revision === revision) return last.certificates;
  const text = mirror.under(INTERMEDIATES_PREFIX).join('');
  const certificates = last?.text === text ? last.certificates : derOfPem(text);
  known.set(mirror, { revision, text, certificates });
  return certificates;
}
