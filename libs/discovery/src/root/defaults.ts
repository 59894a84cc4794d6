import type { ProxyId } from '../shared/ids.ts';
import type { RegistryLinkConfig } from './registry-types.ts';
import type { RootConfig } from './types.ts';

/** The defaults that RootConfig documents, for one root proxy. */
export function defaultRootConfig(proxy: ProxyId): Required<RootConfig> {
  return {
    proxy,
    claimsPerProxy: 1,
    gossipIntervalMs: 15_000,
    challengeTimeoutMs: 1_000,
    recordRetryMs: 250,
    maxStandbysPerLeaf: 16,
    lingerMs: 3_600_000,
  };
}

/** Fills in what `config` leaves out and refuses what cannot work, naming the key. */
export function completeRootConfig(config: RootConfig): Required<RootConfig> {
  const complete = { ...defaultRootConfig(config.proxy), ...config };
  for (const [key, value] of Object.entries(complete)) {
    if (typeof value === 'number' && !(Number.isFinite(value) && value >= 0)) {
      throw new RangeError(`discovery: ${key} must be a number of at least 0, not ${value}`);
    }
  }
  if (!Number.isInteger(complete.claimsPerProxy) || complete.claimsPerProxy < 1) {
    throw new RangeError('discovery: claimsPerProxy must be a whole number of at least 1');
  }
  return complete;
}

/** The defaults that RegistryLinkConfig documents. */
export function defaultRegistryLinkConfig(registries: readonly string[]): RegistryLinkConfig {
  return { registries, backoffMinMs: 100, backoffMaxMs: 5_000, welcomeTimeoutMs: 5_000, leaseMarginMs: 500 };
}
