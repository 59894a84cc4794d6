import { KeyedRandom } from './random.ts';

/** Everything that may go wrong. One fault is one thing that can be left out when a failure is made smaller. */
export const FAULT_KINDS = [
  'proxy-crash',
  'proxy-vanish',
  'proxy-pause',
  'proxy-added',
  'proxy-drain',
  'proxy-zombie',
  'agent-crash',
  'agent-vanish',
  'agent-pause',
  'agent-clone',
  'registry-crash',
  'registry-pause',
  'store-down',
  'store-unknown',
  'store-lying-keepalive',
  'store-watch-lag',
  'store-compaction',
  'store-leader-change',
  'store-wrong-revoke',
  'store-restore',
  'store-rebuilt',
  'all-rebuilt',
  'store-rival-claim',
  'store-claim-deleted',
  'watch-break',
  'link-blocked',
  'link-one-way',
  'connection-cut',
  'gossip-chaos',
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

export interface Fault {
  readonly kind: FaultKind;
  /** Virtual milliseconds from the start. */
  readonly at: number;
  /** How long it lasts; what it means depends on the kind. */
  readonly forMs: number;
  /** In [0, 1): picks the victims among whatever is there then. */
  readonly victim: number;
  readonly other: number;
}

/** Too much at once to be one kind among others. */
const REBUILT_CHANCE = 0.15;

/** A seed's faults: a random subset of the kinds (swarm testing), so that rare combinations get their turn. */
export function planFaults(seed: number, untilMs: number): readonly Fault[] {
  const random = new KeyedRandom(seed, 'faults');
  const kinds = FAULT_KINDS.filter((kind) => kind !== 'all-rebuilt' && random.chance(`kind/${kind}`, 0.4));
  if (kinds.length === 0) return [];
  const count = random.integer('count', 1, 14);
  const faults = Array.from({ length: count }, (_, index) => drawFault(seed, `fault/${String(index)}`, kinds, untilMs));
  if (random.chance('all-rebuilt', REBUILT_CHANCE)) faults.push(drawFault(seed, 'rebuilt', ['all-rebuilt'], untilMs));
  return faults.sort((one, another) => one.at - another.at);
}

function drawFault(seed: number, site: string, kinds: readonly FaultKind[], untilMs: number): Fault {
  const draw = new KeyedRandom(seed, site);
  return {
    kind: draw.pick('kind', kinds),
    at: draw.between('at', 0, untilMs),
    forMs: Math.exp(draw.between('for', Math.log(50), Math.log(30_000))),
    victim: draw.next('victim'),
    other: draw.next('other'),
  };
}
