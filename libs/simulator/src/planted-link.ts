import { PRODUCTION, tapLink } from './cores.ts';
import type { LinkTap } from './cores.ts';
import { dropEffect } from './planted-tap.ts';
import type { PlantedBug } from './planted-tap.ts';

function link(name: string, tap: () => LinkTap): PlantedBug {
  return { name, overrides: { cores: { link: (config, host) => tapLink(PRODUCTION.link(config, host), tap()) } } };
}

/** Longer than any simulation. */
const FOR_EVER_MS = 3_600_000;

/** Mistakes of a root proxy with its registries. */
export const LINK_BUGS: readonly PlantedBug[] = [
  link('the epoch is ignored', () => ({
    effect: (effect) =>
      effect.type === 'reportMembership'
        ? [{ ...effect, snapshot: { ...effect.snapshot, stamp: { ...effect.snapshot.stamp, epoch: 1n } } }]
        : [effect],
  })),
  {
    name: 'a lease is believed for ever',
    overrides: {
      cores: { link: (config, host) => PRODUCTION.link({ ...config, leaseMarginMs: -FOR_EVER_MS }, host) },
    },
  },
  link('whoever is refused as a duplicate goes on believing in its lease', () => ({
    event: (event) =>
      event.type === 'refused' && event.code === 'duplicate-id' ? [{ ...event, code: 'denied' }] : [event],
  })),
  link('the end of a session goes unnoticed', () => ({
    event: (event) => (event.type === 'sessionEnded' ? [] : [event]),
  })),
  link('heartbeats are not sent', () => dropEffect('sendHeartbeat')),
  link('a lost registry is not reported', () => dropEffect('reportLost')),
  link('membership is not passed on', () => dropEffect('reportMembership')),
  {
    ...link('sessions are opened with an incarnation long over', () => {
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
    harmless:
      'a registry resumes what the store has for the instance; of the hello it only takes that a revision was reached',
  },
];
