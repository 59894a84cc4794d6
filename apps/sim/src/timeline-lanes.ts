import type { AgentLane, Bar, DialMark, EntryState, FaultMark, GossipMark, Mark, ProcessLane } from '@xylem/simulator';
import { escapeHtml, percent, seconds, titled } from './timeline-html.ts';
import type { Place } from './timeline-html.ts';

/** One line of the picture: a label, and what is drawn beside it. */
export interface Lane {
  readonly label: string;
  /** Classes of the row: its kind and its colour. */
  readonly kind: string;
  readonly heightPx: number;
  readonly shapes: readonly string[];
}

/** How moments are told in words, and how large lanes are. */
export interface LaneStyle {
  readonly instant: (ms: number) => string;
  readonly span: (from: number, to: number) => string;
  /** Height of lanes, 1 for many. */
  readonly scale: number;
  /** Whether states are written into their bars. */
  readonly labelled: boolean;
}

export const IN_SECONDS: LaneStyle = {
  instant: seconds,
  span: (from, to) => `${seconds(from)} to ${seconds(to)} (${seconds(to - from)})`,
  scale: 1,
  labelled: false,
};

/** The class that colours what belongs to a root proxy. */
export type ColourOf = (proxy: string) => string;

interface Shape {
  readonly y: number;
  readonly height: number;
}

/** Claims fill the lane, what is less than a claim is thinner. */
const ENTRY_SHAPES: Readonly<Record<EntryState, Shape>> = {
  claimed: { y: 2, height: 12 },
  provisional: { y: 2, height: 12 },
  draining: { y: 2, height: 12 },
  standby: { y: 6, height: 4 },
  sibling: { y: 7, height: 2 },
  seeking: { y: 4, height: 8 },
  backoff: { y: 5, height: 6 },
  gone: { y: 7.5, height: 1 },
};
const ENTRY_HEIGHT_PX = 16;
const GOSSIP_HEIGHT_PX = 14;

export class LaneMaker {
  readonly #place: Place;
  readonly #style: LaneStyle;
  readonly #colourOf: ColourOf;

  constructor(place: Place, style: LaneStyle, colourOf: ColourOf) {
    this.#place = place;
    this.#style = style;
    this.#colourOf = colourOf;
  }

  /** An agent: one lane for each root proxy it ever knew, one for dials that met nobody, one for gossip. */
  agent(agent: AgentLane): readonly Lane[] {
    const lost = agent.dials.filter((dial) => dial.reached === undefined && dial.target === undefined);
    const unlisted = new Set(agent.dials.map(laneOf).filter((proxy) => proxy !== undefined));
    for (const { proxy } of agent.entries) unlisted.delete(proxy);
    const entries = [...agent.entries, ...[...unlisted].sort().map((proxy) => ({ proxy, bars: [] }))];
    const lanes = entries.map(({ proxy, bars }): Lane => ({
      label: proxy,
      kind: `entry ${this.#colourOf(proxy)}`,
      heightPx: ENTRY_HEIGHT_PX * this.#style.scale,
      shapes: [
        ...bars.map((bar) => this.#entryBar(agent.name, proxy, bar)),
        ...agent.dials.filter((dial) => laneOf(dial) === proxy).map((dial) => this.#dial(agent.name, dial)),
        ...bars.map((bar) => this.#stateName(bar)),
      ],
    }));
    return [
      this.#life(agent),
      ...(lost.length === 0 ? [] : [this.#anyone(agent.name, lost)]),
      ...lanes,
      {
        label: 'gossip',
        kind: 'gossip',
        heightPx: GOSSIP_HEIGHT_PX,
        shapes: agent.gossip.map((mark) => this.#gossip(agent.name, mark)),
      },
    ];
  }

  #life({ name, life }: Pick<AgentLane, 'name' | 'life'>): Lane {
    const shapes = life.map((bar) =>
      this.#bar(`life ${bar.state}`, { y: 3, height: 4 }, bar, `${name} is ${bar.state}`),
    );
    return { label: name, kind: 'agent', heightPx: 18, shapes };
  }

  #anyone(agent: string, dials: readonly DialMark[]): Lane {
    return {
      label: 'met nobody',
      kind: 'anyone',
      heightPx: ENTRY_HEIGHT_PX * this.#style.scale,
      shapes: dials.map((dial) => this.#dial(agent, dial)),
    };
  }

  /** A root proxy or a registry: its life, and below it whether it has a session with a registry. */
  process({ name, life, registered }: ProcessLane, kind: 'proxy' | 'registry'): Lane {
    return {
      label: name,
      kind: `${kind} ${kind === 'proxy' ? this.#colourOf(name) : ''}`,
      heightPx: kind === 'proxy' ? 22 : 16,
      shapes: [
        ...life.map((bar) => this.#bar(`life ${bar.state}`, { y: 3, height: 10 }, bar, `${name} is ${bar.state}`)),
        ...registered.map((bar) => this.#bar('registered', { y: 15, height: 3 }, bar, `${name} is registered`)),
      ],
    };
  }

  store(bars: readonly Bar<string>[], events: readonly Mark[]): Lane {
    return {
      label: 'store',
      kind: 'store',
      heightPx: 18,
      shapes: [
        ...bars.map((bar) =>
          this.#bar(`trouble ${bar.state}`, { y: 3, height: 12 }, bar, `store: ${bar.state.replaceAll('-', ' ')}`),
        ),
        ...events.map(({ at, label }) => this.#tick('event', at, 3, 12, label)),
      ],
    };
  }

  /** Faults under each other where they overlap. */
  faults(faults: readonly FaultMark[]): readonly Lane[] {
    const rows: { end: number; readonly shapes: string[] }[] = [];
    for (const fault of [...faults].sort((one, another) => one.from - another.from)) {
      const end = Math.max(this.#place(fault.to), this.#place(fault.from) + 0.002 + 0.0052 * fault.kind.length);
      let row = rows.find((each) => each.end < this.#place(fault.from));
      if (row === undefined) rows.push((row = { end: 0, shapes: [] }));
      row.end = end;
      row.shapes.push(this.#fault(fault));
    }
    return rows.map(({ shapes }, index) => ({
      label: index === 0 ? 'faults' : '',
      kind: 'faults',
      heightPx: 18,
      shapes,
    }));
  }

  #fault({ kind, from, to, detail }: FaultMark): string {
    const text = kind.replaceAll('-', ' ');
    const when = to > from ? this.#style.span(from, to) : this.#style.instant(from);
    const title = `${text}, ${when}${detail === '' ? '' : `: ${detail}`}`;
    const x = percent(this.#place(from));
    const width = Math.max(0, this.#place(to) - this.#place(from));
    const body = to > from ? `<rect class="span" x="${x}" y="2" width="${percent(width)}" height="14" rx="2"/>` : '';
    const group = familyOf(kind);
    return `<g class="fault ${group}" tabindex="-1"><title>${escapeHtml(title)}</title>${body}<svg x="${x}" y="2" class="at"><path d="M0 0V14"/><text x="4" y="10.5">${escapeHtml(text)}</text></svg></g>`;
  }

  #entryBar(agent: string, proxy: string, bar: Bar<EntryState>): string {
    const note = bar.note === '' ? '' : `: ${bar.note}`;
    const { scale } = this.#style;
    const { y, height } = ENTRY_SHAPES[bar.state];
    const shape = { y: y * scale, height: height * scale };
    return this.#bar(`e-${bar.state}`, shape, bar, `${agent}, ${proxy} ${bar.state}${note}`);
  }

  #stateName({ state, from }: Bar<EntryState>): string {
    const { scale, labelled } = this.#style;
    if (!labelled || state === 'gone') return '';
    const place = `x="${percent(this.#place(from))}" y="${String((ENTRY_HEIGHT_PX / 2) * scale + 3.5)}" dx="8"`;
    return `<text class="state s-${state}" ${place}>${state}</text>`;
  }

  #bar(kind: string, { y, height }: Shape, { from, to }: Bar<string>, title: string): string {
    const [left, right] = [this.#place(from), this.#place(to)];
    const rect = `x="${percent(left)}" y="${String(y)}" width="${percent(Math.max(0, right - left))}" height="${String(height)}"`;
    const text = `${title}, ${this.#style.span(from, to)}`;
    const plain = titled(`rect class="bar ${kind}" ${rect}`, 'rect', text);
    return HATCHED.has(kind) ? `${plain}<rect class="hatch" ${rect} fill="url(#hatch)"/>` : plain;
  }

  #tick(kind: string, at: number, y: number, height: number, title: string): string {
    const x = percent(this.#place(at));
    const line = `line class="tick ${kind}" x1="${x}" x2="${x}" y1="${String(y)}" y2="${String(y + height)}"`;
    return titled(line, 'line', `${title}, ${this.#style.instant(at)}`);
  }

  /** From where the dial began to where it ended: a full circle for a tunnel, a cross for none. */
  #dial(agent: string, dial: DialMark): string {
    const { from, to, target, reached, via, outcome, replaces } = dial;
    const colour = reached === undefined ? '' : this.#colourOf(reached);
    const aim = target === undefined ? 'anyone' : target;
    const why = replaces ? ' to replace a tunnel' : '';
    const way = via === undefined ? 'directly' : `relayed by ${via}`;
    const met =
      outcome === 'wasted' ? `meets ${String(reached)}, which it holds already` : `reaches ${String(reached)} ${way}`;
    const result = reached === undefined ? outcome : met;
    const [left, right] = [percent(this.#place(from)), percent(this.#place(to))];
    const y = String((ENTRY_HEIGHT_PX / 2) * this.#style.scale);
    const title = `${agent} dials ${aim}${why}: ${result}, ${this.#style.span(from, to)}`;
    const kind = outcome === 'wasted' ? 'wasted' : reached === undefined ? 'failed' : 'met';
    return (
      `<g class="dial ${kind} ${colour}"><title>${escapeHtml(title)}</title>` +
      `<line x1="${left}" x2="${right}" y1="${y}" y2="${y}"/><svg x="${right}" y="${y}" class="at">${this.#glyph(dial)}</svg></g>`
    );
  }

  #glyph({ reached, via, outcome }: DialMark): string {
    if (outcome === 'wasted') return '<circle class="none" r="3.5"/>';
    if (reached !== undefined) {
      const relay = via === undefined ? '' : `<circle class="via ${this.#colourOf(via)}" r="2"/>`;
      return `<circle r="4"/>${relay}`;
    }
    if (outcome === 'cancelled' || outcome === 'unfinished') return '<circle class="none" r="3"/>';
    return '<path d="M-3 -3L3 3M-3 3L3 -3"/>';
  }

  #gossip(agent: string, { at, from, changed, text }: GossipMark): string {
    const title = `${agent} hears from ${from === '' ? 'a proxy' : from}${changed ? '' : ' (nothing new)'}: ${text}`;
    const [y, height] = changed ? [1, 12] : [8, 5];
    return this.#tick(`${changed ? 'news' : 'olds'} ${this.#colourOf(from)}`, at, y, height, title);
  }
}

/** States that are drawn hatched: they are not what they look like. */
const HATCHED: ReadonlySet<string> = new Set(['e-provisional', 'e-draining', 'life paused', 'life draining']);

/** The lane a dial belongs to: whom it reached, else whom it was for. */
function laneOf({ reached, target }: DialMark): string | undefined {
  return reached ?? target;
}

/** The family of a fault, which gives it its colour. */
function familyOf(kind: string): string {
  if (kind.startsWith('store') || kind.startsWith('watch')) return 'f-store';
  if (kind.startsWith('link') || kind.startsWith('connection') || kind.startsWith('gossip')) return 'f-network';
  return 'f-process';
}
