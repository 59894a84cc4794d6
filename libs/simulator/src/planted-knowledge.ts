import type { Incarnation, Knowledge, LeafConfig, ProxyId, TunnelId, Verdict } from '@xylem/discovery';
import { LeafDiscovery, StampedKnowledge } from '@xylem/discovery';
import { tapLeaf } from './cores.ts';
import type { LeafCore } from './cores.ts';
import type { Host } from './host.ts';

/** Knowledge with something of it done differently. */
function changed(real: StampedKnowledge, change: Partial<Knowledge>): Knowledge {
  return {
    receive: (message, now) => real.receive(message, now),
    shookHands: (proxy, incarnation, now) => real.shookHands(proxy, incarnation, now),
    verdict: (proxy, now) => real.verdict(proxy, now),
    records: (now) => real.records(now),
    nextExpiry: (now) => real.nextExpiry(now),
    get stamp() {
      return real.stamp;
    },
    get evidence() {
      return real.evidence;
    },
    ...change,
  };
}

/** Takes a handshake for newer than a membership when its incarnation, epoch included, is above the revision alone. */
export function knowsByBareRevisions(config: LeafConfig, host: Host): LeafCore {
  const expiryMs = config.expiryMs ?? DEFAULT_EXPIRY_MS;
  const real = new StampedKnowledge(expiryMs);
  const heard = new Map<ProxyId, { readonly incarnation: Incarnation; readonly at: number }>();
  const verdict = (proxy: ProxyId, now: number): Verdict => {
    const judged = real.verdict(proxy, now);
    const own = heard.get(proxy);
    const isNewer = own !== undefined && now - own.at <= expiryMs && own.incarnation > (real.stamp?.revision ?? 0n);
    return judged.kind === 'gone' && isNewer ? { kind: 'ready', incarnation: own.incarnation, generation: 0 } : judged;
  };
  const knowledge = changed(real, {
    verdict,
    shookHands: (proxy, incarnation, now) => {
      heard.set(proxy, { incarnation, at: now });
      real.shookHands(proxy, incarnation, now);
    },
  });
  return new LeafDiscovery(config, host.random, host.now, knowledge);
}

/** Never learns the incarnation of a proxy that was not registered when it shook hands, but by a claim's record. */
export function hearsNoSender(config: LeafConfig, host: Host): LeafCore {
  const real = new StampedKnowledge(config.expiryMs ?? DEFAULT_EXPIRY_MS);
  const unregistered = new Set<TunnelId>();
  let unheard = false;
  const knowledge = changed(real, {
    shookHands: (proxy, incarnation, now) => real.shookHands(proxy, unheard ? NEVER : incarnation, now),
  });
  const core = new LeafDiscovery(config, host.random, host.now, knowledge);
  return tapLeaf(
    {
      handle: (event, now) => {
        const tells = event.type === 'gossipReceived' || event.type === 'tunnelClosed';
        unheard = tells && unregistered.has(event.tunnel);
        core.handle(event, now);
        unheard = false;
      },
      pollEffect: () => core.pollEffect(),
      nextTimeout: () => core.nextTimeout(),
      status: () => core.status(),
    },
    {
      event: (event) => {
        if (event.type === 'tunnelEstablished' && event.incarnation === NEVER) unregistered.add(event.tunnel);
        if (event.type === 'claimRecorded') unregistered.delete(event.tunnel);
        return [event];
      },
    },
  );
}

const DEFAULT_EXPIRY_MS = 180_000;
const NEVER = 0n as Incarnation;
