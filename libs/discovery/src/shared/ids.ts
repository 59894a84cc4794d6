declare const brand: unique symbol;
type Brand<T, B extends string> = T & { readonly [brand]: B };

/** Name of a root proxy, leaf cluster, leaf agent or node: 1 to 63 of `[a-z0-9-]`, not starting or ending with `-`. */
export type ProxyId = Brand<string, 'ProxyId'>;
export type LeafId = Brand<string, 'LeafId'>;
export type AgentId = Brand<string, 'AgentId'>;
/** Random, made at process start: tells two instances that use one id apart. 1 to 64 characters. */
export type InstanceNonce = Brand<string, 'InstanceNonce'>;
/** Local name of one tunnel, unique within the process that made it. */
export type TunnelId = Brand<string, 'TunnelId'>;
/** Local name of one dial attempt. */
export type DialId = Brand<number, 'DialId'>;
/** etcd create_revision of a root proxy's member key; 0n while it has never been registered. */
export type Incarnation = Brand<bigint, 'Incarnation'>;
/** etcd create_revision of a claim key; 0n while the claim is provisional. */
export type FencingToken = Brand<bigint, 'FencingToken'>;

const NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** Whether `text` may name a root proxy, leaf cluster, agent or node (a DNS label, lower case: it appears in server names). */
export function isName(text: string): boolean {
  return NAME.test(text);
}

/** Server names below the domain that mean something else than a root proxy. */
const RESERVED_PROXY_NAMES: ReadonlySet<string> = new Set(['enrol', 'join', 'registry']);

/** Whether `text` may name a root proxy: a name that no other server name of the domain stands for. */
export function isProxyName(text: string): boolean {
  return isName(text) && !RESERVED_PROXY_NAMES.has(text);
}
