import type { RootEffect, RootEvent } from '@xylem/discovery';
import { PRODUCTION, tapLiveness, tapRoot } from './cores.ts';
import type { Tap } from './cores.ts';
import { dropEffect } from './planted-tap.ts';
import type { PlantedBug } from './planted-tap.ts';

function root(name: string, tap: () => Tap<RootEvent, RootEffect>): PlantedBug {
  return { name, overrides: { cores: { root: (config, host) => tapRoot(PRODUCTION.root(config, host), tap()) } } };
}

const MADE_UP = 1n as Extract<RootEvent, { type: 'claimRecorded' }>['token'];

/** Mistakes of a root proxy with its claims and its gossip. */
export const ROOT_BUGS: readonly PlantedBug[] = [
  {
    name: 'the proxy never takes a silent agent for dead',
    overrides: {
      cores: { proxyLiveness: (host) => tapLiveness(PRODUCTION.proxyLiveness(host), dropEffect('declareDead')) },
    },
  },
  root('a tunnel that closes does not free its slot', () => ({
    event: (event) => (event.type === 'tunnelClosed' ? [] : [event]),
  })),
  root('a promoted standby is not told', () => {
    const standbys = new Set<string>();
    return {
      event: (event) => {
        if (event.type === 'standbyRequested') standbys.add(event.tunnel);
        return [event];
      },
      effect: (effect) => (effect.type === 'grantClaim' && standbys.has(effect.tunnel) ? [] : [effect]),
    };
  }),
  root('a claim is granted twice', () => ({
    effect: (effect) =>
      effect.type === 'reportHeld' ? [{ type: 'grantClaim', tunnel: effect.tunnel, slot: 0 }] : [effect],
  })),
  root('gossip repeats what was first known', () => {
    let first: Extract<RootEffect, { type: 'sendGossip' }>['message'] | undefined;
    return {
      effect: (effect) => {
        if (effect.type !== 'sendGossip') return [effect];
        first ??= effect.message;
        return [{ ...effect, message: first }];
      },
    };
  }),
  { name: 'gossip is sent on change only', overrides: { rootConfig: { gossipIntervalMs: 3_600_000 } } },
  root('an unknown outcome is taken for success', () => ({
    event: (event) =>
      event.type === 'claimUnknown' ? [{ type: 'claimRecorded', request: event.request, token: MADE_UP }] : [event],
  })),
  root('an unknown outcome is taken for failure', () => ({
    event: (event) =>
      event.type === 'claimUnknown' ? [{ type: 'claimRefused', request: event.request, cause: 'held' }] : [event],
  })),
  root('claims are released in memory only', () => ({
    effect: (effect, tell) => {
      if (effect.type !== 'releaseClaim') return [effect];
      tell({ type: 'claimReleased', request: effect.request });
      return [];
    },
  })),
  root('the first membership is kept for ever', () => {
    let known = false;
    return {
      event: (event) => {
        if (event.type !== 'membershipChanged') return [event];
        const first = !known;
        known = true;
        return first ? [event] : [];
      },
    };
  }),
  root('a new incarnation goes unnoticed', () => {
    let known = false;
    return {
      event: (event) => {
        if (event.type !== 'registryConnected') return [event];
        const first = !known;
        known = true;
        return first ? [event] : [];
      },
    };
  }),
  root('a drain closes before it announces', () => ({
    effect: (effect) =>
      effect.type === 'announceDrain'
        ? [{ type: 'closeTunnel', tunnel: effect.tunnel, reason: 'drain-deadline', detail: 'stops' }]
        : [effect],
  })),
  root('a challenge is decided without asking', () => ({
    effect: (effect) => (effect.type === 'challengeTunnel' ? [] : [effect]),
  })),
  root('missing records are judged by bare revisions, without the epoch', () => ({
    event: (event) =>
      event.type === 'claimsObserved' ? [{ ...event, stamp: { ...event.stamp, epoch: 1n } }] : [event],
  })),
  root('a claim gives way to whatever record is in its way', () => ({
    event: (event) => (event.type === 'claimRefused' ? [{ ...event, holder: undefined }] : [event]),
  })),
];
