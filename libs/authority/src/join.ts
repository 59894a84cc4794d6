import { identityKey } from './keys.ts';
import { unchanged } from './plan.ts';
import type { Plan, Read } from './plan.ts';
import { encodeRecord } from './records.ts';
import type { IdentityRecord, JoinRole, TokenRecord } from './types.ts';

/** Codes of docs/PROTOCOL.md, "Enrolment". */
export type RefusalCode =
  | 'invalid'
  | 'token-refused'
  | 'token-mismatch'
  | 'locked'
  | 'revoked'
  | 'name-taken'
  | 'generation';

/** No certificate. `detail` and `remedy` hold nothing that the client sent. */
export interface Refusal {
  readonly kind: 'refused';
  readonly code: RefusalCode;
  readonly detail: string;
  /** Empty when there is none. */
  readonly remedy: string;
}

/** What somebody with a token asks for. Names were checked. */
export interface JoinAsk {
  readonly role: JoinRole;
  /** undefined: the token's. Only agents have one. */
  readonly leaf: string | undefined;
  readonly name: string;
  /** Fingerprint of the key that the certificate is to be for. */
  readonly key: string;
}

export interface Grant {
  readonly kind: 'granted';
  readonly identity: string;
  readonly generation: number;
  /** The answer was given before, and may have been lost. */
  readonly repeat: boolean;
}

/** The certificate that was signed for a grant. */
export interface IssuedFacts {
  readonly key: string;
  readonly issuedAtMs: number;
  readonly notAfterMs: number;
  readonly root: string;
  /** Generation of the trust that goes with it. */
  readonly trust: number;
}

/** Names of root proxies that would be taken for services of the registry in `<name>.<domain>`. */
const RESERVED_PROXIES: ReadonlySet<string> = new Set(['enrol', 'registry', 'join']);
const TOKEN_REMEDY = 'make a new token: xylem tokens add';
const UNLOCK_REMEDY = 'an administrator unlocks it with: xylem identities unlock; then join again with a new token';

/** Who the token and the ask make of somebody; undefined when they do not go together. */
export function identityToJoin(token: TokenRecord, ask: JoinAsk): string | undefined {
  if (token.role !== ask.role) return undefined;
  if (token.name !== '' && token.name !== ask.name) return undefined;
  if (ask.leaf !== undefined && ask.leaf !== token.leaf) return undefined;
  return ask.role === 'agent' ? `leaf/${token.leaf}/agent/${ask.name}` : `${ask.role}/${ask.name}`;
}

/**
 * Whether a token is good for what is asked.
 *
 * @param token As read; absent when there is none with this hash.
 * @param identity The record of `identityToJoin`, as read.
 * @param sourceAllowed Whether the token may be used from where the request comes.
 */
export function decideJoin(
  ask: JoinAsk,
  token: Read<TokenRecord>,
  identity: Read<IdentityRecord> | undefined,
  sourceAllowed: boolean,
  nowMs: number,
): Grant | Refusal {
  const { record: good } = token;
  if (good === undefined || nowMs >= good.expiresAtMs) return tokenRefused();
  const name = identityToJoin(good, ask);
  // Whoever shows a used token with another key learns no more than that it is no good.
  if (good.used !== undefined && (good.used.key !== ask.key || good.used.identity !== name)) return tokenRefused();
  if (name === undefined || identity === undefined) {
    const detail = 'the token is for another role, leaf cluster or name';
    return refused('token-mismatch', detail, 'check what it was made for: xylem tokens ls');
  }
  if (!sourceAllowed) return refused('token-mismatch', 'the token may not be used from this address', '');
  if (ask.role === 'proxy' && RESERVED_PROXIES.has(ask.name)) {
    return refused('invalid', 'enrol, registry and join are no names for root proxies', 'choose another name');
  }
  const { record } = identity;
  if (record?.lock !== undefined) return lockRefusal(record.lock.kind);
  if (good.used !== undefined) return repeat(name, ask, record);
  if (record !== undefined && record.notAfterMs > nowMs && good.name === '') {
    const remedy = 'choose another name, or make a token for this one: xylem tokens add --name';
    return refused('name-taken', 'the name is in use', remedy);
  }
  return { kind: 'granted', identity: name, generation: (record?.generation ?? 0) + 1, repeat: false };
}

/** What makes the grant true: the token is used up in the same transaction. */
export function joinPlan(
  grant: Grant,
  token: Read<TokenRecord>,
  identity: Read<IdentityRecord>,
  issued: IssuedFacts,
): Plan {
  const { record } = token;
  if (record === undefined) throw new Error('bug in authority: a grant without a token');
  const used: TokenRecord = { ...record, used: { identity: grant.identity, key: issued.key } };
  const joined: IdentityRecord = {
    identity: grant.identity,
    generation: grant.generation,
    previousKey: '',
    lock: undefined,
    ...issued,
  };
  return {
    compares: [unchanged(token), unchanged(identity)],
    steps: [
      { type: 'put', key: token.key, value: encodeRecord(used), lease: token.lease },
      { type: 'put', key: identityKey(grant.identity), value: encodeRecord(joined), lease: 0n },
    ],
  };
}

/** The record went on since: the answer that is asked for again did arrive. */
function repeat(identity: string, ask: JoinAsk, record: IdentityRecord | undefined): Grant | Refusal {
  if (record === undefined || record.key !== ask.key || record.previousKey !== '') return tokenRefused();
  return { kind: 'granted', identity, generation: record.generation, repeat: true };
}

/** Which of unknown, used and expired is not said: a guesser learns nothing. */
function tokenRefused(): Refusal {
  return refused('token-refused', 'the token is unknown, used or expired', TOKEN_REMEDY);
}

export function lockRefusal(kind: 'cloned' | 'revoked'): Refusal {
  return kind === 'cloned'
    ? refused('locked', 'the identity is locked: a copied key was noticed', UNLOCK_REMEDY)
    : refused('revoked', 'the identity was revoked by an administrator', UNLOCK_REMEDY);
}

export function refused(code: RefusalCode, detail: string, remedy: string): Refusal {
  return { kind: 'refused', code, detail, remedy };
}
