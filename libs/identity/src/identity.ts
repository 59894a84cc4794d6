/** Who a certificate speaks for. Made from a verified certificate only, never from a message. */
export type Identity =
  | { readonly kind: 'agent'; readonly leaf: string; readonly agent: string }
  | { readonly kind: 'proxy'; readonly proxy: string }
  | { readonly kind: 'registry'; readonly registry: string }
  | { readonly kind: 'user'; readonly user: string };

/** Why a list of URI SANs is not an identity. `detail` is one line and safe to log: foreign text is quoted and escaped. */
export interface IdentityProblem {
  readonly kind: 'problem';
  readonly detail: string;
}

const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const USER_NAME = /^[a-z0-9._@-]{1,128}$/;
/** RFC 1035 labels in lower case; the greatest length of a DNS name is 253. */
const DOMAIN = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/;
const QUOTED_LENGTH_MAX = 120;

/** 1 to 63 of `[a-z0-9-]`, not starting or ending with `-`: leaf clusters, agents, proxies, registries, nodes. */
export function isName(text: string): boolean {
  return NAME.test(text);
}

/** Server names below the domain that mean something else than a root proxy. */
const RESERVED: ReadonlySet<string> = new Set(['enrol', 'join', 'registry']);

/** A name that no other server name of the domain stands for. */
export function isProxyName(text: string): boolean {
  return isName(text) && !RESERVED.has(text);
}

/** `[a-z0-9._@-]{1,128}` without an empty path segment such as `.` or `..`. */
export function isUserName(text: string): boolean {
  return USER_NAME.test(text) && text !== '.' && text !== '..';
}

/** A trust domain: lower-case DNS name. */
export function isDomain(text: string): boolean {
  return DOMAIN.test(text);
}

/**
 * Reads an identity from all URI SANs of one verified certificate. Exactly one URI is demanded, and it is matched
 * character by character: no decoding, no case folding, no normalisation, so that two spellings never name one identity.
 */
export function parseIdentity(uris: readonly string[], domain: string): Identity | IdentityProblem {
  const [uri, ...others] = uris;
  if (uri === undefined) return problem('the certificate has no URI name; exactly one is needed');
  if (others.length > 0) return problem(`the certificate has ${uris.length} URI names; exactly one is allowed`);
  const prefix = `spiffe://${domain}/`;
  if (!uri.startsWith(prefix)) return problem(`${quote(uri)} does not belong to the trust domain ${quote(domain)}`);
  return parsePath(uri.slice(prefix.length)) ?? problem(`${quote(uri)} is not a name this product gives out`);
}

function parsePath(path: string): Identity | undefined {
  const parts = path.split('/');
  const [kind, first, infix, last] = parts;
  if (kind === undefined || first === undefined) return undefined;
  if (parts.length === 2) {
    if (kind === 'proxy' && isProxyName(first)) return { kind, proxy: first };
    if (kind === 'registry' && isName(first)) return { kind, registry: first };
    if (kind === 'user' && isUserName(first)) return { kind, user: first };
    return undefined;
  }
  if (parts.length !== 4 || kind !== 'leaf' || infix !== 'agent' || last === undefined) return undefined;
  return isName(first) && isName(last) ? { kind: 'agent', leaf: first, agent: last } : undefined;
}

/** The one URI SAN of an identity. Throws a RangeError that names the part which is not a valid name. */
export function identityUri(identity: Identity, domain: string): string {
  if (!isDomain(domain)) throw new RangeError(`domain ${quote(domain)} is not a lower-case DNS name`);
  switch (identity.kind) {
    case 'agent':
      return `spiffe://${domain}/leaf/${checked('leaf', identity.leaf)}/agent/${checked('agent', identity.agent)}`;
    case 'proxy':
      if (RESERVED.has(identity.proxy)) throw new RangeError(`proxy ${quote(identity.proxy)} is a reserved name`);
      return `spiffe://${domain}/proxy/${checked('proxy', identity.proxy)}`;
    case 'registry':
      return `spiffe://${domain}/registry/${checked('registry', identity.registry)}`;
    case 'user':
      if (!isUserName(identity.user)) {
        throw new RangeError(`user ${quote(identity.user)} is not a name: use 1 to 128 of a-z 0-9 . _ @ -`);
      }
      return `spiffe://${domain}/user/${identity.user}`;
  }
}

/** One short text for logs and messages, e.g. `agent berlin/a1`. */
export function describeIdentity(identity: Identity): string {
  switch (identity.kind) {
    case 'agent':
      return `agent ${identity.leaf}/${identity.agent}`;
    case 'proxy':
      return `proxy ${identity.proxy}`;
    case 'registry':
      return `registry ${identity.registry}`;
    case 'user':
      return `user ${identity.user}`;
  }
}

function checked(what: string, name: string): string {
  if (isName(name)) return name;
  throw new RangeError(`${what} ${quote(name)} is not a name: use 1 to 63 of a-z 0-9 -, with no - at the ends`);
}

function problem(detail: string): IdentityProblem {
  return { kind: 'problem', detail };
}

/** JSON quoting escapes C0 controls; the rest that a terminal or reader may act on is escaped here. */
function quote(text: string): string {
  const shown = text.length > QUOTED_LENGTH_MAX ? `${text.slice(0, QUOTED_LENGTH_MAX)}...` : text;
  return JSON.stringify(shown).replace(
    /[^\x20-\x7e]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
