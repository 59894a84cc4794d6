import type { AgentId, LeafId } from '../shared/ids.ts';
import type { LeafConfig } from './types.ts';

/** The defaults that LeafConfig documents, for one agent. */
export function defaultLeafConfig(leaf: LeafId, agent: AgentId): Required<LeafConfig> {
  return {
    leaf,
    agent,
    steering: 'sni',
    maxPermits: 8,
    expiryMs: 180_000,
    backoffMinMs: 100,
    backoffMaxMs: 8_000,
    dialTimeoutMs: 10_000,
    probeIntervalMs: 60_000,
    claimTimeoutMs: 5_000,
    directRetryMs: 30_000,
    standbys: 32,
    siblingRetryMs: 15_000,
    redialSpreadMs: 5_000,
    lingerMs: 3_600_000,
  };
}

/** Fills in what `config` leaves out and refuses what cannot work, naming the key. */
export function completeLeafConfig(config: LeafConfig): Required<LeafConfig> {
  const complete = { ...defaultLeafConfig(config.leaf, config.agent), ...config };
  for (const [key, value] of Object.entries(complete)) {
    if (typeof value === 'number' && !(Number.isFinite(value) && value >= 0)) {
      throw new RangeError(`discovery: ${key} must be a number of at least 0, not ${value}`);
    }
  }
  if (complete.maxPermits < 1) throw new RangeError('discovery: maxPermits must be at least 1, else no dial can start');
  if (complete.backoffMaxMs < complete.backoffMinMs) {
    throw new RangeError('discovery: backoffMaxMs must not be less than backoffMinMs');
  }
  return complete;
}
