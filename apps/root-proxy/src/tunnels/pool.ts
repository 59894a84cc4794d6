import { plainText } from '@xylem/carrier';
import { isName } from '@xylem/discovery';
import type { tunnel as wire } from '@xylem/wire';

/** An agent knows as many root proxies; a report with more is cut. */
const MAX_ENTRIES = 1_024;
const MAX_WHY = 128;
const STATES: ReadonlySet<string> = new Set([
  'seeking',
  'claimed',
  'backoff',
  'sibling',
  'standby',
  'draining',
  'gone',
]);

/** What is kept of an agent's report on its pool: whoever asks for the matrix gets it, so nothing in it is as long as the agent likes. */
export function readPool({ entries, dialsTotal, wastedDialsTotal }: wire.PoolReport): wire.PoolReport {
  return {
    entries: entries
      .slice(0, MAX_ENTRIES)
      .filter(({ proxy, state }) => isName(proxy) && STATES.has(state))
      .map(({ proxy, state, why, via }) => ({
        proxy,
        state,
        why: plainText(why, MAX_WHY),
        via: isName(via) ? via : '',
      })),
    dialsTotal,
    wastedDialsTotal,
  };
}
