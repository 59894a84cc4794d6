import type { GossipMessage, LeafEffect, LeafEvent } from '@xylem/discovery';
import type { LeafCore } from './cores.ts';
import type { AgentLane, DialMark, EntryState, GossipMark, LifeState } from './timeline.ts';
import { Track } from './timeline-track.ts';

interface OpenDial extends Pick<DialMark, 'from' | 'target' | 'replaces'> {
  cancelled: boolean;
}

/** Writes down what one agent does, by looking over its core's shoulder. */
export class AgentScribe {
  readonly name: string;
  readonly leaf: string;
  readonly life = new Track<LifeState>();
  readonly #clock: () => number;
  readonly #entries = new Map<string, Track<EntryState>>();
  readonly #tunnels = new Map<string, string>();
  /** By tunnel, the place of the dial that made it. */
  readonly #made = new Map<string, number>();
  readonly #open = new Map<number, OpenDial>();
  readonly #dials: DialMark[] = [];
  readonly #gossip: GossipMark[] = [];

  constructor(name: string, leaf: string, clock: () => number) {
    this.name = name;
    this.leaf = leaf;
    this.#clock = clock;
  }

  /** The same core, watched. */
  watch(core: LeafCore): LeafCore {
    return {
      handle: (event, now) => {
        const before = knownText(core);
        core.handle(event, now);
        this.#heard(event, before !== knownText(core));
        this.#look(core);
      },
      pollEffect: () => {
        const effect = core.pollEffect();
        if (effect !== undefined) this.#acted(effect);
        return effect;
      },
      nextTimeout: () => core.nextTimeout(),
      status: () => core.status(),
    };
  }

  /** The process is gone, and all it knew with it. */
  ended(): void {
    const at = this.#clock();
    for (const track of this.#entries.values()) track.set(at, undefined);
    for (const dial of this.#open.keys()) this.#finish(dial, { outcome: 'unfinished' });
    this.#tunnels.clear();
    this.#made.clear();
  }

  lane(endMs: number): AgentLane {
    for (const dial of [...this.#open.keys()]) this.#finish(dial, { outcome: 'unfinished' });
    const entries = [...this.#entries].map(([proxy, track]) => ({ proxy, bars: track.bars(endMs) }));
    entries.sort((one, another) => compareNames(one.proxy, another.proxy));
    const { name, leaf } = this;
    return { name, leaf, life: this.life.bars(endMs), entries, dials: this.#dials, gossip: this.#gossip };
  }

  #look(core: LeafCore): void {
    const at = this.#clock();
    const seen = new Set<string>();
    for (const { proxy, state, token, why, via } of core.status().entries) {
      seen.add(proxy);
      const held = state === 'claimed';
      const note = held ? `${token === 0n ? 'not recorded yet' : `token ${String(token)}`}${viaText(via)}` : why;
      this.#track(proxy).set(at, held && token === 0n ? 'provisional' : state, note, held);
    }
    for (const [proxy, track] of this.#entries) if (!seen.has(proxy)) track.set(at, undefined);
  }

  #track(proxy: string): Track<EntryState> {
    let track = this.#entries.get(proxy);
    if (track === undefined) this.#entries.set(proxy, (track = new Track()));
    return track;
  }

  #heard(event: LeafEvent, changed: boolean): void {
    switch (event.type) {
      case 'tunnelEstablished':
        this.#tunnels.set(event.tunnel, event.proxy);
        this.#made.set(event.tunnel, this.#dials.length);
        return this.#finish(event.dial, { outcome: 'reached', reached: event.proxy, via: event.via });
      case 'dialFailed':
        return this.#finish(event.dial, { outcome: event.reason });
      case 'gossipReceived': {
        const from = this.#tunnels.get(event.tunnel) ?? '';
        return void this.#gossip.push({ at: this.#clock(), from, changed, text: gossipText(event.message) });
      }
      case 'tunnelClosed':
        this.#made.delete(event.tunnel);
        return void this.#tunnels.delete(event.tunnel);
      default:
        return;
    }
  }

  #acted(effect: LeafEffect): void {
    if (effect.type === 'dial') {
      const { dial, target, replaces } = effect;
      this.#open.set(dial, { from: this.#clock(), target, replaces: replaces !== undefined, cancelled: false });
    } else if (effect.type === 'cancelDial') {
      const dial = this.#open.get(effect.dial);
      if (dial !== undefined) dial.cancelled = true;
    } else if (effect.type === 'closeTunnel' && effect.reason === 'duplicate') {
      const place = this.#made.get(effect.tunnel);
      const dial = place === undefined ? undefined : this.#dials[place];
      if (place !== undefined && dial !== undefined) this.#dials[place] = { ...dial, outcome: 'wasted' };
    }
  }

  #finish(id: number, end: Pick<DialMark, 'outcome'> & Partial<Pick<DialMark, 'reached' | 'via'>>): void {
    const open = this.#open.get(id);
    if (open === undefined) return;
    this.#open.delete(id);
    const { cancelled, ...dial } = open;
    const outcome = cancelled && end.reached === undefined ? 'cancelled' : end.outcome;
    this.#dials.push({ ...dial, to: this.#clock(), reached: end.reached, via: end.via, outcome });
  }
}

/** p2 before p10. */
export function compareNames(one: string, another: string): number {
  const [a, b] = [sortKey(one), sortKey(another)];
  return a < b ? -1 : a > b ? 1 : 0;
}

function sortKey(name: string): string {
  return name.replaceAll(/\d+/g, (digits) => digits.padStart(8, '0'));
}

function viaText(via: string | undefined): string {
  return via === undefined ? '' : `, relayed by ${via}`;
}

/** What the agent takes for its world: changes when gossip told it something. */
function knownText(core: LeafCore): string {
  const { stamp, entries } = core.status();
  const known = entries.map(
    ({ proxy, incarnation, state }) => `${proxy}@${String(incarnation)}${state === 'gone' ? '-' : ''}`,
  );
  return `${String(stamp?.epoch)}.${String(stamp?.revision)} ${known.join(' ')}`;
}

function gossipText(message: GossipMessage): string {
  if (message.kind === 'snapshot') {
    const listed = message.proxies.map(({ id, state }) => (state === 'draining' ? `${id} (draining)` : id));
    return `all as of revision ${String(message.stamp.revision)}: ${listed.join(', ') || 'none'}`;
  }
  const changes = [
    ...message.changed.map(({ id, state }) => (state === 'draining' ? `${id} drains` : `+${id}`)),
    ...message.removed.map((id) => `-${id}`),
  ];
  return `change to revision ${String(message.to.revision)}: ${changes.join(', ') || 'nothing'}`;
}
