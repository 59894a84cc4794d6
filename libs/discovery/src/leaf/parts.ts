import type { Deadlines } from '../shared/deadlines.ts';
import type { Instant, Random } from '../shared/time.ts';
import type { Knowledge } from './knowledge.ts';
import type { LeafDeadline, Pool, Tunnel } from './pool.ts';
import type { CloseReason, LeafConfig, LeafEffect } from './types.ts';

/** What the parts of LeafDiscovery share. */
export interface LeafParts {
  readonly config: Required<LeafConfig>;
  readonly random: Random;
  readonly knowledge: Knowledge;
  readonly pool: Pool;
  readonly deadlines: Deadlines<LeafDeadline>;
  readonly emit: (effect: LeafEffect) => void;
  /** What an operator is shown besides the pool. */
  readonly account: { wastedDials: number; problem: string | undefined };
}

/** Tells a tunnel to go. From now on it serves nobody; only its end is awaited. */
export function closeTunnel(parts: LeafParts, tunnel: Tunnel, reason: CloseReason, deadline?: Instant): void {
  tunnel.role = 'closing';
  parts.emit({ type: 'closeTunnel', tunnel: tunnel.id, reason, deadline });
}
