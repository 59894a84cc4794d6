import { BACKDATE_MS, parseIdentity } from '@xylem/identity';
import type { RevokedProxiesStatement, StatementVerifier } from '@xylem/identity';
import type { StreamPeer } from '@xylem/grpc';

export type RevocationNews =
  /** `proxies`: whose certificates count less than before. */
  | { readonly kind: 'believed'; readonly proxies: readonly string[] }
  | { readonly kind: 'refused'; readonly detail: string };

export interface RevokedOptions {
  readonly domain: string;
  readonly verifier: Pick<StatementVerifier, 'revokedProxies'>;
}

/**
 * Which root proxies were revoked, as the registries signed and any root proxy passed on. The newest list counts, by epoch and revision:
 * a statement that is repeated or kept back takes nothing back. Bounded by the length of a statement.
 */
export class RevokedProxies {
  readonly #options: RevokedOptions;
  #newest: RevokedProxiesStatement | undefined;

  constructor(options: RevokedOptions) {
    this.#options = options;
  }

  /** Never rejects. */
  async told(statement: string): Promise<RevocationNews> {
    const verdict = await this.#options.verifier.revokedProxies(statement);
    if (verdict.kind === 'refused') return verdict;
    const { content } = verdict;
    const before = this.#newest;
    if (before !== undefined && !isNewer(content, before)) return { kind: 'believed', proxies: [] };
    this.#newest = content;
    const worse = [...content.proxies].filter(([proxy, beforeMs]) => beforeMs > (before?.proxies.get(proxy) ?? -1));
    return { kind: 'believed', proxies: worse.map(([proxy]) => proxy) };
  }

  /** Why this root proxy is not to be used, by the certificate that it showed last; undefined when it may be. */
  refusal(peer: Pick<StreamPeer, 'uris' | 'notBeforeMs'> | undefined): string | undefined {
    const identity = parseIdentity(peer?.uris ?? [], this.#options.domain);
    if (identity.kind !== 'proxy' || peer?.notBeforeMs === undefined) return undefined;
    const beforeMs = this.#newest?.proxies.get(identity.proxy);
    // Certificates begin a fixed time before they are issued.
    if (beforeMs === undefined || peer.notBeforeMs + BACKDATE_MS >= beforeMs) return undefined;
    return `the certificate of root proxy ${identity.proxy} was revoked`;
  }
}

function isNewer(a: RevokedProxiesStatement, b: RevokedProxiesStatement): boolean {
  return a.epoch === b.epoch ? a.revision > b.revision : a.epoch > b.epoch;
}
