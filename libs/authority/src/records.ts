import type {
  EarlierLogins,
  IdentityLock,
  IdentityRecord,
  JoinRole,
  RevocationRecord,
  RotationPhase,
  TokenRecord,
  TokenUse,
  TrustRecord,
  TrustRoot,
} from './types.ts';

/**
 * Records as JSON texts. Reading is strict about what it needs and passes over what it does not know, so that an older
 * replica can read what a newer one wrote; undefined for a text that is no such record.
 */

export function encodeRecord(record: TokenRecord | IdentityRecord | RevocationRecord | TrustRecord): string {
  return JSON.stringify(record);
}

export function decodeToken(text: string): TokenRecord | undefined {
  const fields = fieldsOf(text);
  const hash = textOf(fields?.['hash']);
  const role = roleOf(fields?.['role']);
  const leaf = textOf(fields?.['leaf']);
  const name = textOf(fields?.['name']);
  const createdBy = textOf(fields?.['createdBy']);
  const expiresAtMs = numberOf(fields?.['expiresAtMs']);
  const sources = listOf(fields?.['sources'], textOf);
  const used = useOf(fields?.['used']);
  if (hash === undefined || role === undefined || leaf === undefined || name === undefined) return undefined;
  if (createdBy === undefined || expiresAtMs === undefined || sources === undefined || used === 'malformed')
    return undefined;
  return { hash, role, leaf, name, createdBy, expiresAtMs, sources, used };
}

export function decodeIdentity(text: string): IdentityRecord | undefined {
  const fields = fieldsOf(text);
  const identity = textOf(fields?.['identity']);
  const key = textOf(fields?.['key']);
  const previousKey = textOf(fields?.['previousKey']);
  const root = textOf(fields?.['root']);
  const generation = numberOf(fields?.['generation']);
  const issuedAtMs = numberOf(fields?.['issuedAtMs']);
  const notAfterMs = numberOf(fields?.['notAfterMs']);
  const trust = numberOf(fields?.['trust']);
  const lock = lockOf(fields?.['lock']);
  const earlier = earlierOf(fields?.['earlier']);
  if (identity === undefined || key === undefined || previousKey === undefined || root === undefined) return undefined;
  if (generation === undefined || issuedAtMs === undefined || notAfterMs === undefined) return undefined;
  if (trust === undefined || lock === 'malformed' || earlier === 'malformed') return undefined;
  const record = { identity, generation, key, previousKey, issuedAtMs, notAfterMs, root, trust, lock };
  return earlier === undefined ? record : { ...record, earlier };
}

export function decodeRevocation(text: string): RevocationRecord | undefined {
  const fields = fieldsOf(text);
  const identity = textOf(fields?.['identity']);
  const beforeMs = numberOf(fields?.['beforeMs']);
  const reason = textOf(fields?.['reason']);
  if (identity === undefined || beforeMs === undefined || reason === undefined) return undefined;
  return { identity, beforeMs, reason };
}

export function decodeTrust(text: string): TrustRecord | undefined {
  const fields = fieldsOf(text);
  const phase = phaseOf(fields?.['phase']);
  const generation = numberOf(fields?.['generation']);
  const roots = listOf(fields?.['roots'], rootOf);
  if (phase === undefined || generation === undefined || roots === undefined) return undefined;
  return roots.filter(({ state }) => state === 'active').length === 1 ? { phase, generation, roots } : undefined;
}

type Fields = Readonly<Record<string, unknown>>;

function fieldsOf(text: string): Fields | undefined {
  try {
    return objectOf(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function objectOf(value: unknown): Fields | undefined {
  return isObject(value) ? value : undefined;
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function numberOf(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) ? value : undefined;
}

function listOf<T>(value: unknown, read: (item: unknown) => T | undefined): readonly T[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const items: T[] = [];
  for (const item of value) {
    const each = read(item);
    if (each === undefined) return undefined;
    items.push(each);
  }
  return items;
}

function roleOf(value: unknown): JoinRole | undefined {
  return value === 'agent' || value === 'proxy' || value === 'registry' ? value : undefined;
}

function phaseOf(value: unknown): RotationPhase | undefined {
  return value === 'steady' || value === 'prepared' || value === 'trusted' || value === 'signing' ? value : undefined;
}

function rootOf(value: unknown): TrustRoot | undefined {
  const fields = objectOf(value);
  const fingerprint = textOf(fields?.['fingerprint']);
  const pem = textOf(fields?.['pem']);
  const notAfterMs = numberOf(fields?.['notAfterMs']);
  const state = fields?.['state'];
  if (fingerprint === undefined || pem === undefined || notAfterMs === undefined) return undefined;
  if (state !== 'next' && state !== 'active' && state !== 'previous') return undefined;
  return { fingerprint, pem, notAfterMs, state };
}

function useOf(value: unknown): TokenUse | undefined | 'malformed' {
  if (value === undefined) return undefined;
  const fields = objectOf(value);
  const identity = textOf(fields?.['identity']);
  const key = textOf(fields?.['key']);
  return identity === undefined || key === undefined ? 'malformed' : { identity, key };
}

function earlierOf(value: unknown): EarlierLogins | undefined | 'malformed' {
  if (value === undefined) return undefined;
  const fields = objectOf(value);
  const root = textOf(fields?.['root']);
  const trust = numberOf(fields?.['trust']);
  const notAfterMs = numberOf(fields?.['notAfterMs']);
  if (root === undefined || trust === undefined || notAfterMs === undefined) return 'malformed';
  return { root, trust, notAfterMs };
}

function lockOf(value: unknown): IdentityLock | undefined | 'malformed' {
  if (value === undefined) return undefined;
  const fields = objectOf(value);
  const kind = fields?.['kind'];
  const atMs = numberOf(fields?.['atMs']);
  const reason = textOf(fields?.['reason']);
  if ((kind !== 'cloned' && kind !== 'revoked') || atMs === undefined || reason === undefined) return 'malformed';
  return { kind, atMs, reason };
}
