import type { AuditLog } from '@xylem/audit';
import { TOKENS_PREFIX, decodeToken, encodeRecord, tokenKey, trustedRoots, unchanged } from '@xylem/authority';
import type { JoinRole, TokenRecord } from '@xylem/authority';
import { derOfPem, isName, isProxyName, joinTokenHash, joinTokenText, makeJoinToken, pinOf } from '@xylem/identity';
import type { Secret } from '@xylem/identity';
import { recorded } from '../access/recorded.ts';
import { isCidr } from './addresses.ts';
import type { Keyring } from './keyring.ts';
import { AuthorityError } from './problem.ts';
import type { AuthorityStore } from './store.ts';

export interface TokenWish {
  readonly role: JoinRole;
  readonly leaf: string;
  readonly name: string;
  /** 0: the default. */
  readonly ttlSeconds: number;
  readonly sources: readonly string[];
}

export interface MadeToken {
  readonly text: Secret<string>;
  readonly fingerprint: string;
  readonly expiresAtMs: number;
}

export interface TokenParts {
  readonly store: AuthorityStore;
  readonly keyring: Keyring;
  readonly audit: AuditLog;
  /** Wall clock. */
  readonly now: () => number;
}

const DEFAULT_TTL_S = 600;
const MAX_TTL_S = 24 * 60 * 60;
const MAX_SOURCES = 16;
const MAX_ROUNDS = 8;
const MS_PER_SECOND = 1_000;
const FINGERPRINT = /^[0-9a-f]{8}$/;
const FINGERPRINT_LENGTH = 8;
/** Tokens that may be open at once: more would be a mistake in a script. */
const MAX_TOKENS = 10_000;

/** Join tokens: made, listed, taken back. Every method rejects with an AuthorityError, a StoreDownError or an AuditError. */
export class Tokens {
  readonly #parts: TokenParts;

  constructor(parts: TokenParts) {
    this.#parts = parts;
  }

  /** A new token, shown this once. */
  async add(wish: TokenWish, actor: string): Promise<MadeToken> {
    checkWish(wish);
    const { store, keyring, audit, now } = this.#parts;
    if ((await this.list()).length >= MAX_TOKENS) {
      throw new AuthorityError('invalid', `there are ${MAX_TOKENS} open tokens already`, 'let some of them expire');
    }
    const pins = trustedRoots(keyring.trust).flatMap(({ pem }) => derOfPem(pem).map(pinOf));
    const token = makeJoinToken(pins);
    const hash = joinTokenHash(token.secret.reveal());
    const ttlMs = (wish.ttlSeconds === 0 ? DEFAULT_TTL_S : wish.ttlSeconds) * MS_PER_SECOND;
    const { role, leaf, name, sources } = wish;
    const expiresAtMs = now() + ttlMs;
    const record: TokenRecord = { hash, role, leaf, name, expiresAtMs, createdBy: actor, sources, used: undefined };
    const fingerprint = hash.slice(0, FINGERPRINT_LENGTH);
    const line = {
      kind: 'token.added',
      actor,
      subject: fingerprint,
      details: { role, leaf, name, expiresAtMs },
    } as const;
    const put = { type: 'putFor' as const, key: tokenKey(hash), value: encodeRecord(record), ttlMs };
    const plan = { compares: [{ key: put.key, modRevision: 0n }], steps: [put] };
    // First the line: a token that works and that nobody knows of must not exist.
    const made = await recorded(audit, line, () => store.commit(plan));
    if (!made) throw new AuthorityError('unavailable', 'the token could not be written', 'try again');
    return { text: joinTokenText(token), fingerprint, expiresAtMs };
  }

  /** Those that can still be used, by fingerprint. */
  async list(): Promise<readonly TokenRecord[]> {
    const now = this.#parts.now();
    const all = await this.#parts.store.list(TOKENS_PREFIX, decodeToken);
    return all.flatMap(({ record }) =>
      record === undefined || record.used !== undefined || record.expiresAtMs <= now ? [] : [record],
    );
  }

  /** False when there is none with this fingerprint that could still be used. */
  async remove(fingerprint: string, actor: string): Promise<boolean> {
    if (!FINGERPRINT.test(fingerprint)) {
      throw new AuthorityError('invalid', 'that is no fingerprint of a token: 8 hex digits', 'see: xylem tokens ls');
    }
    const { store, audit } = this.#parts;
    for (let rounds = 0; rounds < MAX_ROUNDS; rounds += 1) {
      const found = (await store.list(TOKENS_PREFIX, decodeToken)).filter(
        ({ record }) => record?.used === undefined && record?.hash.startsWith(fingerprint) === true,
      );
      if (found.length === 0) return false;
      const steps = found.map(({ key }) => ({ type: 'delete' as const, key }));
      const plan = { compares: found.map(unchanged), steps };
      // First the line, as for everything that an administrator does; somebody who has just used it is seen in the next round.
      const line = { kind: 'token.removed', actor, subject: fingerprint } as const;
      if (await recorded(audit, line, () => store.commit(plan))) return true;
    }
    throw new AuthorityError('unavailable', 'the records kept changing', 'try again');
  }
}

function checkWish({ role, leaf, name, ttlSeconds, sources }: TokenWish): void {
  const invalid = (detail: string, remedy: string): AuthorityError => new AuthorityError('invalid', detail, remedy);
  const names = 'use 1 to 63 of a-z 0-9 -, with no - at the ends';
  if (role === 'agent' && !isName(leaf)) throw invalid('a token for agents needs the name of a leaf cluster', names);
  if (role !== 'agent' && leaf !== '') throw invalid('only tokens for agents have a leaf cluster', 'leave leaf out');
  if (name !== '' && !isName(name)) throw invalid('that is no name', names);
  if (role === 'proxy' && name !== '' && !isProxyName(name)) {
    throw invalid('enrol, registry and join are no names for root proxies', 'choose another name');
  }
  if (ttlSeconds > MAX_TTL_S) throw invalid(`a token lives for at most ${MAX_TTL_S / 3600} h`, 'choose a shorter life');
  if (sources.length > MAX_SOURCES) throw invalid(`a token has at most ${MAX_SOURCES} source ranges`, 'join ranges');
  const wrong = sources.find((source) => !isCidr(source));
  if (wrong !== undefined) {
    throw invalid(`source ${JSON.stringify(wrong.slice(0, 64))} is no address range`, 'write for example 10.0.0.0/8');
  }
}
