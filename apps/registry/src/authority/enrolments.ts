import { timingSafeEqual } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AuditLog } from '@xylem/audit';
import {
  clonePlan,
  decideJoin,
  decideRenewal,
  decodeIdentity,
  decodeRevocation,
  decodeToken,
  identityKey,
  identityToJoin,
  joinPlan,
  loginPlan,
  refused,
  renewalPlan,
  revocationKey,
  tokenKey,
  unchanged,
} from '@xylem/authority';
import type { Grant, IdentityRecord, IssuedFacts, JoinAsk, Plan, Read, Refusal } from '@xylem/authority';
import { RequestError, identityUri, joinTokenHash, parseIdentity, requestedKeyFingerprint } from '@xylem/identity';
import type { Identity, SignedCertificate } from '@xylem/identity';
import { allowsAddress } from './addresses.ts';
import type { Keyring } from './keyring.ts';
import { AuthorityError } from './problem.ts';
import type { AuthorityStore } from './store.ts';

/** What goes back to who joined, renewed or logged in. */
export interface Enrolled {
  /** As in certificates: `leaf/berlin/agent/a1`. */
  readonly identity: string;
  readonly generation: number;
  readonly certificate: SignedCertificate;
  readonly trustGeneration: number;
}

export interface JoinRequest {
  readonly secret: string;
  readonly role: JoinAsk['role'];
  readonly leaf: string | undefined;
  readonly name: string;
  /** PKCS #10 PEM. */
  readonly request: string;
}

/** The certificate that somebody showed, verified. */
export interface ShownCertificate {
  readonly identity: Identity;
  /** SHA-256 of its public key. */
  readonly key: string;
  readonly issuedAtMs: number;
}

export interface EnrolmentParts {
  readonly domain: string;
  readonly store: AuthorityStore;
  readonly keyring: Keyring;
  readonly audit: AuditLog;
  /** Lifetimes of certificates. */
  readonly certificateTtlMs: number;
  readonly userTtlMs: number;
  /** Wall clock. */
  readonly now: () => number;
  /** An identity was locked, because its key was copied. */
  readonly onClone: (identity: string, address: string) => void;
}

/** How often a decision is made again because somebody else changed what it was made on. */
const MAX_ROUNDS = 8;
const MS_PER_SECOND = 1_000;
const MAX_CLOCK_WAIT_MS = 2_000;

/** Gives certificates to who has a right to one: each decision and its record are one transaction. */
export class Enrolments {
  readonly #parts: EnrolmentParts;

  constructor(parts: EnrolmentParts) {
    this.#parts = parts;
  }

  /** Rejects with an AuthorityError, a StoreDownError, or what the audit log rejects with. */
  async join(asked: JoinRequest, address: string): Promise<Enrolled> {
    const { store, now } = this.#parts;
    const hash = joinTokenHash(asked.secret);
    const key = await this.#keyOf(asked.request);
    const ask: JoinAsk = { role: asked.role, leaf: asked.leaf, name: asked.name, key };
    return this.#rounds(async () => {
      const token = await store.read(tokenKey(hash), decodeToken);
      const { record } = token;
      if (record !== undefined && !sameHash(record.hash, hash)) throw new Error('a token lies under another hash');
      const name = record === undefined ? undefined : identityToJoin(record, ask);
      const identity = name === undefined ? undefined : await store.read(identityKey(name), decodeIdentity);
      const allowed = record === undefined || allowsAddress(record.sources, address);
      const decision = decideJoin(ask, token, identity, allowed, now());
      if (decision.kind === 'refused' || identity === undefined) return this.#refuse(decision, address, hash);
      return this.#give(decision, asked.request, (issued) => joinPlan(decision, token, identity, issued), {
        kind: 'identity.joined',
        actor: address,
        details: { token: hash.slice(0, 8) },
      });
    });
  }

  /** Rejects as `join`. A copied key locks the identity before this rejects. */
  async renew(shown: ShownCertificate, generation: number, request: string, address: string): Promise<Enrolled> {
    const { store, domain } = this.#parts;
    if (shown.identity.kind === 'user') {
      throw new AuthorityError('invalid', 'users do not renew', 'log in again: xylem login');
    }
    const name = nameOf(shown.identity, domain);
    const key = await this.#keyOf(request);
    return this.#rounds(async () => {
      const identity = await store.read(identityKey(name), decodeIdentity);
      const revocation = await store.read(revocationKey(name), decodeRevocation);
      const ask = { identity: name, shown, key, generation };
      const decision = decideRenewal(ask, identity, revocation.record);
      if (decision.kind === 'cloned') return this.#lockClone(identity, address);
      if (decision.kind === 'refused') return this.#refuse(decision, name, name);
      return this.#give(decision, request, (issued) => renewalPlan(decision, identity, shown.key, issued), {
        kind: 'identity.renewed',
        actor: name,
        details: { address },
      });
    });
  }

  /**
   * A certificate for somebody who has logged in: the caller knows who it is. Rejects as `join`, with `locked` or
   * `revoked` when an administrator has taken the identity back.
   *
   * @param user The user's record as it was judged: when it has changed since, nothing is given.
   */
  async issueUser(user: Read<{ readonly name: string }>, request: string, address: string): Promise<Enrolled> {
    const { store, now } = this.#parts;
    const name = `user/${user.record?.name ?? ''}`;
    await this.#keyOf(request);
    return this.#rounds(async () => {
      const identity = await store.read(identityKey(name), decodeIdentity);
      const { record } = identity;
      if (record?.lock !== undefined) {
        this.#refuse(refused('revoked', 'the user was revoked', 'an administrator unlocks the user'), name, name);
      }
      const grant: Grant = {
        kind: 'granted',
        identity: name,
        generation: (record?.generation ?? 0) + 1,
        repeat: false,
      };
      const planOf = (issued: IssuedFacts): Plan => {
        const plan = loginPlan(grant, identity, issued, now());
        return { ...plan, compares: [...plan.compares, unchanged(user)] };
      };
      return this.#give(grant, request, planOf, {
        kind: 'user.login',
        actor: name,
        details: { address },
      });
    });
  }

  /** A decision is made anew as long as what it was made on changes under it. */
  async #rounds(round: () => Promise<Enrolled | undefined>): Promise<Enrolled> {
    for (let rounds = 0; rounds < MAX_ROUNDS; rounds += 1) {
      const enrolled = await round();
      if (enrolled !== undefined) return enrolled;
    }
    throw new AuthorityError('unavailable', 'the records kept changing', 'try again');
  }

  async #give(
    grant: Grant,
    request: string,
    planOf: (issued: IssuedFacts) => Plan,
    line: {
      readonly kind: 'identity.joined' | 'identity.renewed' | 'user.login';
      readonly actor: string;
      readonly details: Readonly<Record<string, string>>;
    },
  ): Promise<Enrolled | undefined> {
    const { keyring, store, audit, domain } = this.#parts;
    const identity = parseIdentity([`spiffe://${domain}/${grant.identity}`], domain);
    if (identity.kind === 'problem') throw new AuthorityError('invalid', 'that is no name', '');
    const ttlMs = identity.kind === 'user' ? this.#parts.userTtlMs : this.#parts.certificateTtlMs;
    await this.#passRevocation(grant.identity);
    const trust = keyring.trust.generation;
    const certificate = await keyring.issuer.sign(identity, request, ttlMs);
    const { keyFingerprint: key, issuedAtMs, notAfterMs, root } = certificate;
    if (!(await store.commit(planOf({ key, issuedAtMs, notAfterMs, root, trust })))) return undefined;
    // Not recorded: not given. Asking again with the same key gets the same answer, and another try to record it.
    await audit.commit({
      kind: line.kind,
      actor: line.actor,
      subject: grant.identity,
      outcome: 'done',
      details: { ...line.details, generation: grant.generation, repeat: grant.repeat },
    });
    return { identity: grant.identity, generation: grant.generation, certificate, trustGeneration: trust };
  }

  /**
   * Certificates tell their issue to the second: one from the second of a revocation would not count, and nobody would see why. Also
   * passes the difference of replicas' clocks, within reason.
   */
  async #passRevocation(name: string): Promise<void> {
    const { store, now } = this.#parts;
    const { record } = await store.read(revocationKey(name), decodeRevocation);
    if (record === undefined) return;
    const waitMs = Math.ceil(record.beforeMs / MS_PER_SECOND) * MS_PER_SECOND - now();
    if (waitMs <= 0) return;
    if (waitMs > MAX_CLOCK_WAIT_MS) {
      throw new AuthorityError(
        'unavailable',
        'the revocation of this identity is dated ahead of the clock',
        'try again',
      );
    }
    await sleep(waitMs);
  }

  async #lockClone(identity: Read<IdentityRecord>, address: string): Promise<undefined> {
    const { store, audit, certificateTtlMs, now, onClone } = this.#parts;
    if (!(await store.commit(clonePlan(identity, now(), certificateTtlMs)))) return undefined;
    const name = identity.record?.identity ?? '';
    const details = { address, generation: identity.record?.generation ?? 0 };
    audit.record({ kind: 'identity.locked', actor: name, subject: name, outcome: 'done', details });
    onClone(name, address);
    // The next round finds the lock and refuses with it.
    return undefined;
  }

  #refuse(decision: Grant | Refusal, actor: string, subject: string): never {
    if (decision.kind !== 'refused') throw new Error('bug in registry: a grant without a record');
    const { code, detail, remedy } = decision;
    // A hash is a fingerprint when it is cut; of an unknown token nothing else is known.
    const shown = /^[0-9a-f]{64}$/.test(subject) ? subject.slice(0, 8) : subject;
    this.#parts.audit.record({ kind: 'identity.refused', actor, subject: shown, outcome: 'denied', details: { code } });
    throw new AuthorityError(code, detail, remedy);
  }

  async #keyOf(request: string): Promise<string> {
    try {
      return await requestedKeyFingerprint(request);
    } catch (error) {
      if (!(error instanceof RequestError)) throw error;
      throw new AuthorityError('invalid', error.message, 'send PKCS #10 in PEM with an ECDSA P-256 key', {
        cause: error,
      });
    }
  }
}

/** As in certificates, without the domain in front. */
export function nameOf(identity: Identity, domain: string): string {
  return identityUri(identity, domain).slice(`spiffe://${domain}/`.length);
}

function sameHash(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));
}
