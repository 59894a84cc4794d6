import type { Admission, FenceMark, LeafEffect, LeafEvent } from '@xylem/discovery';
import { DialFence, LeafDiscovery } from '@xylem/discovery';
import { MentionedKnowledge, createAgent } from '@xylem/discovery/strategies';
import { PRODUCTION, tapLeaf, tapLiveness } from './cores.ts';
import type { Tap } from './cores.ts';
import { knowsByBareRevisions, hearsNoSender } from './planted-knowledge.ts';
import { dropEffect } from './planted-tap.ts';
import type { PlantedBug } from './planted-tap.ts';

function leaf(name: string, tap: () => Tap<LeafEvent, LeafEffect>): PlantedBug {
  return { name, overrides: { cores: { leaf: (config, host) => tapLeaf(PRODUCTION.leaf(config, host), tap()) } } };
}

class LenientFence extends DialFence {
  override check(proxy: string, mark: FenceMark, admission: Admission): string | undefined {
    return mark.incarnation === 0n ? undefined : super.check(proxy, mark, admission);
  }
}

/** Mistakes of a leaf agent. */
export const LEAF_BUGS: readonly PlantedBug[] = [
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
  {
    name: 'agent serves dials of any incarnation',
    overrides: { cores: { fence: () => Object.assign(new DialFence(), { check: () => undefined }) } },
  },
  {
    name: 'agent serves whoever is not registered, though another with its name is',
    overrides: { cores: { fence: () => new LenientFence() } },
    harmless:
      "the newer tunnel's grant closes the older one: what is left are the milliseconds between its welcome and that, which no seed meets (a test of `DialFence` does)",
  },
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
  leaf('what a registry signed in a time that was lost is kept to oneself', () => dropEffect('showEvidence')),
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
  {
    name: 'evidence is compared by bare revisions, without the epoch',
    overrides: { cores: { leaf: knowsByBareRevisions } },
  },
  {
    name: 'the incarnation of a proxy that registers while one stands by goes unheard',
    overrides: { cores: { leaf: hearsNoSender } },
  },
];
