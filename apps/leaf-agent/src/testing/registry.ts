import { canonicalText, normalise } from '@xylem/discovery';
import type { ProxyRecord, Stamp } from '@xylem/discovery';
import { membershipDigest, memoryTlsSource, StatementSigner } from '@xylem/identity';
import type { Authority, DialGrant, RevokedProxiesStatement } from '@xylem/identity';
import type { Policy } from '@xylem/policy';
import { tunnel } from '@xylem/wire';
import { isIncarnation, isProxyId } from '../ids.ts';

const DOMAIN = 'xylem.internal';
const HOUR_MS = 3_600_000;

/** Signs what a registry would, and what none would. */
export class SigningRegistry {
  readonly #signer: StatementSigner;

  private constructor(signer: StatementSigner) {
    this.#signer = signer;
  }

  /** @param now Its clock. */
  static async of(authority: Authority, now: () => number = Date.now): Promise<SigningRegistry> {
    const { ca, cert, key } = await authority.issue({ kind: 'registry', registry: 'r1' }, HOUR_MS);
    const source = memoryTlsSource({ ca, cert, key: key.reveal() });
    return new SigningRegistry(new StatementSigner({ domain: DOMAIN, current: () => source.current(), now }));
  }

  grant(grant: DialGrant, lifetimeMs = 30_000): string {
    return this.#signer.grant(grant, lifetimeMs);
  }

  standing(policy: Policy, proxy: string, leaf = 'berlin', lifetimeMs = 900_000): string {
    return this.#signer.standingGrant({ leaf, proxy, policyVersion: 1, policy }, lifetimeMs);
  }

  /** What is signed about a list as of a stamp. */
  statement(stamp: Stamp, proxies: readonly tunnel.ProxyInfo[]): string {
    const snapshot = { kind: 'snapshot' as const, stamp, proxies: normalise(proxies.flatMap(recordOf)) };
    return this.#signer.membership({ ...stamp, sha256: membershipDigest(canonicalText(snapshot)) });
  }

  revoked(statement: RevokedProxiesStatement): string {
    return this.#signer.revokedProxies(statement);
  }

  snapshot(stamp: Stamp, proxies: readonly tunnel.ProxyInfo[]): tunnel.DiscoveryRequest {
    const statement = this.statement(stamp, proxies);
    return { kind: { $case: 'snapshot', value: { stamp, proxies: [...proxies], statement } } };
  }
}

/** Names that are none are signed as if they were not there: no registry would. */
function recordOf({ id, incarnation, state, generation }: tunnel.ProxyInfo): ProxyRecord[] {
  if (!isProxyId(id) || !isIncarnation(incarnation)) return [];
  return [{ id, incarnation, generation, state: state === tunnel.ProxyState.PROXY_STATE_READY ? 'ready' : 'draining' }];
}
