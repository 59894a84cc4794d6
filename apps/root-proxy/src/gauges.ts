import { METRIC } from '@xylem/telemetry';
import type { Metrics } from '@xylem/telemetry';
import type { Dials } from './dials/dials.ts';
import type { Pacer } from './dials/pacer.ts';
import type { Link } from './registry/link.ts';
import type { TunnelConnections } from './relay/connections.ts';
import type { Relays } from './relay/relays.ts';
import type { TunnelPlane } from './tunnels/plane.ts';

export interface GaugePorts {
  readonly plane: TunnelPlane;
  readonly dials: Dials;
  readonly pacer: Pacer;
  readonly link: Link;
  readonly relays: Relays;
  readonly connections: TunnelConnections;
}

const TUNNEL_STATES = ['claimed', 'provisional', 'standby', 'undecided', 'draining'] as const;

/** Metrics that are read where the state is, at each scrape. */
export function observeState(metrics: Metrics, { plane, dials, pacer, link, relays, connections }: GaugePorts): void {
  const count = (states: readonly string[]) => {
    const { tunnels } = plane.status();
    return states.map((state) => ({
      labels: { state },
      value: tunnels.filter((tunnel) => tunnel.state === state).length,
    }));
  };
  metrics.observe(METRIC.tunnels, () => count(TUNNEL_STATES));
  metrics.observe(METRIC.claims, () => count(['claimed', 'provisional']));
  metrics.observe(METRIC.claimsUnrecorded, () => plane.status().unrecorded);
  // Both ends of a relay count it: this proxy as the one between, and as the target.
  metrics.observe(METRIC.relayedTunnels, () => connections.relayedSize + relays.size);
  metrics.observe(METRIC.openConnections, () => dials.openConnections);
  // On top of what ended connections have left in the counters.
  metrics.observe(METRIC.carriedBytes, () => {
    const { upBytes, downBytes } = dials.openTotals();
    return [
      { labels: { direction: 'up' }, value: upBytes },
      { labels: { direction: 'down' }, value: downBytes },
    ];
  });
  metrics.observe(METRIC.heldBackSeconds, () => {
    const { userWaitedMs, groupWaitedMs, turnWaitedMs } = pacer.status();
    const waited = { user: userWaitedMs, leaf: groupWaitedMs, turn: turnWaitedMs };
    return Object.entries(waited).map(([by, ms]) => ({ labels: { by }, value: ms / 1_000 }));
  });
  metrics.observe(METRIC.pendingDials, () => dials.status().pendingDials);
  metrics.observe(METRIC.registryConnected, () => (link.status().state === 'connected' ? 1 : 0));
  metrics.observe(METRIC.members, () => link.view()?.members().length ?? 0);
  metrics.observe(METRIC.viewRevision, () => Number(link.status().stamp?.revision ?? 0n));
  metrics.observe(METRIC.gossipAgeSeconds, () => link.viewAgeMs() / 1_000);
}
