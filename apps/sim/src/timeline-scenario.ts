import type { AgentLane, Bar, DialMark, EntryState, GossipMark, Stretch } from '@xylem/simulator';

/** One row of a golden scenario. */
export interface Step {
  readonly ms: number;
  /** The comment that stands above the row, if any. */
  readonly comment: string;
  readonly event: string;
  readonly poolText: string;
  readonly pool: ReadonlyMap<string, { readonly state: EntryState; readonly via: string | undefined }>;
  readonly effects: string;
}

export interface Scenario {
  /** The comment at the top. */
  readonly about: string;
  readonly options: ReadonlyMap<string, string>;
  readonly steps: readonly Step[];
}

const STATES: ReadonlySet<string> = new Set<EntryState>([
  'seeking',
  'claimed',
  'backoff',
  'sibling',
  'standby',
  'draining',
  'gone',
]);

function isState(text: string): text is EntryState {
  return STATES.has(text);
}

/** Reads a golden scenario of an agent (libs/discovery/src/testing/scenario.ts). Throws on any other text. */
export function parseScenario(text: string): Scenario {
  const lines = text.split('\n').filter((line) => line !== '');
  const header = lines.findIndex((line) => line.startsWith('leaf '));
  if (header < 0) throw new Error('not a scenario of an agent: no line begins with "leaf "');
  const about = lines.slice(0, header).map(commentText).join(' ');
  const options = new Map((lines[header] ?? '').split(/\s+/).flatMap((word) => pairOf(word)));
  const steps: Step[] = [];
  let comment = '';
  for (const line of lines.slice(header + 2)) {
    if (line.startsWith('#')) comment = commentText(line);
    else {
      const [time = '', event = '', poolText = '', effects = ''] = line.split('|').map((column) => column.trim());
      steps.push({ ms: Number(time), comment, event, poolText, pool: parsePool(poolText), effects });
      comment = '';
    }
  }
  return { about, options, steps };
}

function commentText(line: string): string {
  return line.replace(/^#\s*/, '');
}

function pairOf(word: string): [string, string][] {
  const [key = '', value] = word.split('=');
  return value === undefined ? [] : [[key, value]];
}

/** `a=claimed b=claimed(c)`. */
function parsePool(text: string): Step['pool'] {
  const entries = text.split(/\s+/).flatMap((word): [string, { state: EntryState; via: string | undefined }][] => {
    const [, proxy = '', state = '', via] = /^([^=]+)=(\w+)(?:\((\S+)\))?$/.exec(word) ?? [];
    return isState(state) ? [[proxy, { state, via }]] : [];
  });
  return new Map(entries);
}

/** Where a comment stands, a part of the scenario begins. Times are steps. */
export function stretchesOf({ steps }: Scenario): readonly Stretch[] {
  const starts = steps.flatMap(({ comment }, index) => (comment === '' ? [] : [{ label: comment, from: index }]));
  return starts.map(({ label, from }, index) => ({ label, from, to: starts[index + 1]?.from ?? steps.length }));
}

/** The agent of a scenario; the instants of its lane are steps, not milliseconds. */
export function readAgent({ steps }: Scenario): AgentLane {
  const proxies = [...new Set(steps.flatMap(({ pool }) => [...pool.keys()]))].sort();
  const entries = proxies.map((proxy) => ({ proxy, bars: barsOf(steps, proxy) }));
  const life = [{ state: 'up', from: 0, to: steps.length, note: '' }] as const;
  return { name: 'agent a1', leaf: 'berlin', life, entries, dials: dialsOf(steps), gossip: gossipOf(steps) };
}

function barsOf(steps: readonly Step[], proxy: string): readonly Bar<EntryState>[] {
  const bars: Bar<EntryState>[] = [];
  for (const [index, { pool }] of steps.entries()) {
    const found = pool.get(proxy);
    if (found === undefined) continue;
    const last = bars.at(-1);
    const note = found.via === undefined ? '' : `relayed by ${found.via}`;
    if (last?.state === found.state && last.to === index) bars[bars.length - 1] = { ...last, to: index + 1 };
    else bars.push({ state: found.state, from: index, to: index + 1, note });
  }
  return bars;
}

function dialsOf(steps: readonly Step[]): readonly DialMark[] {
  const open = new Map<string, { from: number; target: string | undefined; replaces: boolean; cancelled: boolean }>();
  const marks: DialMark[] = [];
  const made = new Map<string, number>();
  const finish = (id: string, to: number, end: Pick<DialMark, 'outcome' | 'reached' | 'via'>): void => {
    const dial = open.get(id);
    if (dial === undefined || !open.delete(id)) return;
    const { cancelled, ...known } = dial;
    const outcome = cancelled && end.reached === undefined ? 'cancelled' : end.outcome;
    marks.push({ ...known, ...end, to, outcome });
  };
  for (const [index, { event, effects }] of steps.entries()) {
    const [verb, id = '', second = '', third = '', fourth = ''] = event.split(/\s+/);
    if (verb === 'fail') finish(id, index, { outcome: second, reached: undefined, via: undefined });
    const via = fourth === '' ? undefined : fourth.replace('via=', '');
    if (verb === 'up') {
      made.set(second, marks.length);
      finish(id, index, { outcome: 'reached', reached: third.split('@')[0], via });
    }
    for (const [, tunnel = ''] of effects.matchAll(/close (\S+) duplicate/g)) {
      const place = made.get(tunnel) ?? -1;
      const mark = marks[place];
      if (mark !== undefined) marks[place] = { ...mark, outcome: 'wasted' };
    }
    for (const [, dial = '', target, replaces] of effects.matchAll(/dial (\d+)(?:>(\S+?))?( replacing \S+)?(?:,|$)/g))
      open.set(dial, { from: index, target, replaces: replaces !== undefined, cancelled: false });
    for (const [, dial = ''] of effects.matchAll(/cancel (\d+)/g)) {
      const found = open.get(dial);
      if (found !== undefined) found.cancelled = true;
    }
  }
  for (const id of [...open.keys()])
    finish(id, steps.length, { outcome: 'unfinished', reached: undefined, via: undefined });
  return marks;
}

function gossipOf(steps: readonly Step[]): readonly GossipMark[] {
  const tunnels = new Map<string, string>();
  return steps.flatMap(({ event, poolText }, index) => {
    const [verb, first = '', second = '', third = ''] = event.split(/\s+/);
    if (verb === 'up') tunnels.set(second, third.split('@')[0] ?? '');
    if (verb !== 'gossip' && verb !== 'delta') return [];
    const changed = poolText !== (steps[index - 1]?.poolText ?? '');
    return [{ at: index, from: tunnels.get(first) ?? '', changed, text: event.split(/\s+/).slice(2).join(' ') }];
  });
}
