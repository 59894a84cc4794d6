import type { LeafEffect, LeafEvent, RootEffect, RootEvent } from '@xylem/discovery';
import { LeafDiscovery } from '@xylem/discovery';
import { MentionedKnowledge, createAgent } from '@xylem/discovery/strategies';
import { PRODUCTION, tapLeaf, tapLink, tapLiveness, tapRoot } from './cores.ts';
import type { LinkTap, Tap } from './cores.ts';
import { REGISTRY_BUGS } from './planted-registry.ts';
import { simulate } from './run.ts';
import type { Overrides } from './run.ts';

/** A mistake put around a core: the checkers have to find it. */
export interface PlantedBug {
  readonly name: string;
  readonly overrides: Overrides;
}

/** Not caught by any checker so far: either another defence mends what they break, or a checker is missing. */
export const UNCAUGHT_BUGS: ReadonlySet<string> = new Set([
  'deltas are applied without a gap check',
  'gossip is sent on change only',
  'an unknown outcome is taken for success',
  'an unknown outcome is taken for failure',
  'a lease is believed for ever',
  'a lost registry is not reported',
  'sessions are opened with an incarnation long over',
  'a release is not guarded by its token',
  'the session key is not deleted',
  'a keepalive that names no lease is taken for success',
  'lease deadlines count from the receipt of the answer',
]);

export interface Catch {
  readonly name: string;
  /** Undefined when no seed showed it. */
  readonly promise: string | undefined;
  readonly seed: number;
  readonly detail: string;
}

function leaf(name: string, tap: () => Tap<LeafEvent, LeafEffect>): PlantedBug {
  return { name, overrides: { cores: { leaf: (config, host) => tapLeaf(PRODUCTION.leaf(config, host), tap()) } } };
}

function root(name: string, tap: () => Tap<RootEvent, RootEffect>): PlantedBug {
  return { name, overrides: { cores: { root: (config, host) => tapRoot(PRODUCTION.root(config, host), tap()) } } };
}

function link(name: string, tap: () => LinkTap): PlantedBug {
  return { name, overrides: { cores: { link: (config, host) => tapLink(PRODUCTION.link(config, host), tap()) } } };
}

/** Without the effects of one type. */
function dropEffect<Effect extends { readonly type: string }>(type: Effect['type']): Tap<never, Effect> {
  return { effect: (effect) => (effect.type === type ? [] : [effect]) };
}

const MADE_UP = 1n as Extract<RootEvent, { type: 'claimRecorded' }>['token'];

const LEAF_BUGS: readonly PlantedBug[] = [
  {
    name: 'naive gossip: the latest message is the truth',
    overrides: { cores: { leaf: (config, host) => createAgent('naive', config, host.random, host.now) } },
  },
  {
    name: 'plain grow-only set: whatever was mentioned is sought for ever',
    overrides: {
      cores: {
        leaf: (config, host) => new LeafDiscovery(config, host.random, host.now, new MentionedKnowledge(Infinity)),
      },
    },
  },
  { name: 'backoff without a ceiling', overrides: { leafConfig: { backoffMinMs: 60_000, backoffMaxMs: 600_000 } } },
  { name: 'dials while idle', overrides: { leafConfig: { probeIntervalMs: 5_000 } } },
  { name: 'agent serves dials of any incarnation', overrides: { fencedAgents: false } },
  leaf('gossip that omits a proxy closes its healthy tunnel', () => {
    const tunnels = new Map<string, Extract<LeafEvent, { type: 'tunnelEstablished' }>>();
    const doomed: LeafEffect[] = [];
    return {
      event: (event) => {
        if (event.type === 'tunnelEstablished') tunnels.set(event.tunnel, event);
        if (event.type === 'tunnelClosed') tunnels.delete(event.tunnel);
        if (event.type === 'gossipReceived' && event.message.kind === 'snapshot') {
          const listed = new Set(event.message.proxies.map(({ id }) => id));
          for (const { tunnel, proxy } of tunnels.values()) {
            if (!listed.has(proxy))
              doomed.push({ type: 'closeTunnel', tunnel, reason: 'duplicate', deadline: undefined });
          }
        }
        return [event];
      },
      effect: (effect) => [...doomed.splice(0), effect],
    };
  }),
  leaf('stale gossip is taken for the newest', () => {
    let counter = 1_000_000n;
    return {
      event: (event) => {
        if (event.type !== 'gossipReceived' || event.message.kind !== 'snapshot') return [event];
        counter += 1n;
        return [{ ...event, message: { ...event.message, stamp: { ...event.message.stamp, revision: counter } } }];
      },
    };
  }),
  leaf('deltas are applied without a gap check', () => {
    let known = { epoch: 0n, revision: 0n };
    return {
      event: (event) => {
        if (event.type !== 'gossipReceived') return [event];
        const { message } = event;
        const told = message.kind === 'delta' ? { ...event, message: { ...message, from: known } } : event;
        known = message.kind === 'delta' ? message.to : message.stamp;
        return [told];
      },
    };
  }),
  leaf('permits are never given back after a failure', () => {
    let failures = 0;
    return {
      event: (event) => {
        if (event.type === 'dialFailed') failures += 1;
        return [event];
      },
      effect: (effect) => (effect.type === 'dial' && failures >= 8 ? [] : [effect]),
    };
  }),
  leaf('no standby is asked for', () => dropEffect('requestStandby')),
  leaf('a claim that was granted goes unheard', () => ({
    event: (event) => (event.type === 'claimGranted' ? [] : [event]),
  })),
  leaf('a drain announcement goes unheard, and the agent leaves at once', () => ({
    effect: (effect) =>
      effect.type === 'closeTunnel' && effect.reason === 'replaced' ? [{ ...effect, reason: 'drained' }] : [effect],
  })),
  {
    name: 'the agent never takes a silent proxy for dead',
    overrides: {
      cores: { agentLiveness: (host) => tapLiveness(PRODUCTION.agentLiveness(host), dropEffect('declareDead')) },
    },
  },
];

const ROOT_BUGS: readonly PlantedBug[] = [
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
];

const LINK_BUGS: readonly PlantedBug[] = [
  link('the epoch is ignored', () => ({
    effect: (effect) =>
      effect.type === 'reportMembership'
        ? [{ ...effect, snapshot: { ...effect.snapshot, stamp: { ...effect.snapshot.stamp, epoch: 1n } } }]
        : [effect],
  })),
  link('a lease is believed for ever', () => ({
    event: (event) => (event.type === 'sessionEnded' ? [] : [event]),
  })),
  link('heartbeats are not sent', () => dropEffect('sendHeartbeat')),
  link('a lost registry is not reported', () => dropEffect('reportLost')),
  link('membership is not passed on', () => dropEffect('reportMembership')),
  link('sessions are opened with an incarnation long over', () => {
    let first: Extract<Parameters<NonNullable<LinkTap['event']>>[0], { type: 'welcomed' }> | undefined;
    return {
      event: (event) => {
        if (event.type === 'welcomed') first ??= event;
        return [event];
      },
      effect: (effect) => {
        if (effect.type !== 'openSession' || first === undefined) return [effect];
        return [{ ...effect, incarnation: first.incarnation, lease: first.lease }];
      },
    };
  }),
];

/** Every planted bug, in the order of the table. */
export const PLANTED_BUGS: readonly PlantedBug[] = [...LEAF_BUGS, ...ROOT_BUGS, ...LINK_BUGS, ...REGISTRY_BUGS];

/** Runs seeds from `first` on until a checker finds the bug. */
export function catchBug(bug: PlantedBug, first: number, maxSeeds: number): Catch {
  for (let seed = first; seed < first + maxSeeds; seed += 1) {
    const { violation } = simulate({ seed, overrides: bug.overrides });
    if (violation !== undefined) return { name: bug.name, promise: violation.promise, seed, detail: violation.detail };
  }
  return {
    name: bug.name,
    promise: undefined,
    seed: first + maxSeeds - 1,
    detail: `no seed of ${String(maxSeeds)} showed it`,
  };
}
