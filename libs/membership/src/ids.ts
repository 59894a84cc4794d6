declare const brand: unique symbol;
type Brand<T, B extends string> = T & { readonly [brand]: B };

/** Name of a root proxy, leaf cluster or leaf agent: a DNS label, lower case. */
export type ProxyId = Brand<string, 'ProxyId'>;
export type LeafId = Brand<string, 'LeafId'>;
export type AgentId = Brand<string, 'AgentId'>;
/** Random, made when a root proxy's process starts: tells two instances that use one id apart. */
export type InstanceNonce = Brand<string, 'InstanceNonce'>;
/** etcd's lease id; 0n is "no lease". */
export type LeaseId = bigint;
/** The shell's name of one session stream, unique within the replica's process. */
export type SessionId = Brand<string, 'SessionId'>;
/** Fences one registration of a root proxy from every earlier one; see fence.ts. */
export type Incarnation = Brand<bigint, 'Incarnation'>;
/** Fences one claim from every earlier one of the same slot; see fence.ts. */
export type FencingToken = Brand<bigint, 'FencingToken'>;

const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const NONCE = /^[A-Za-z0-9._:-]{1,64}$/;
const ADDRESS = /^(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]):([0-9]{1,5})$/;

/** Server names below the domain that mean something else than a root proxy. */
const RESERVED: ReadonlySet<string> = new Set(['enrol', 'join', 'registry']);

export function isProxyId(text: string): text is ProxyId {
  return NAME.test(text) && !RESERVED.has(text);
}

export function isLeafId(text: string): text is LeafId {
  return NAME.test(text);
}

export function isAgentId(text: string): text is AgentId {
  return NAME.test(text);
}

export function isInstanceNonce(text: string): text is InstanceNonce {
  return NONCE.test(text);
}

/** Any printable text of 1 to 128 characters names a session or a grant. */
export function isSessionId(text: string): text is SessionId {
  return text.length >= 1 && text.length <= 128;
}

/** `host:port`, `[v6]:port`; port 1 to 65535. */
export function isAddress(text: string): boolean {
  const port = Number(ADDRESS.exec(text)?.[1] ?? 0);
  return port >= 1 && port <= 65_535;
}
