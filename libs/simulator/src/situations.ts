import type { TraceLine } from './trace.ts';

/** A situation that the seeds must reach: promises kept in a world where nothing happens prove nothing. */
export interface Situation {
  readonly name: string;
  /** Whether this line of the trace is it. */
  readonly matches: (line: TraceLine) => boolean;
}

function says(text: string): (line: TraceLine) => boolean {
  return (line) => line.what.includes(text);
}

/** All that CI demands to be reached. */
export const SITUATIONS: readonly Situation[] = [
  { name: 'a standby is promoted', matches: says('promotes standby') },
  {
    name: 'a zombie root proxy resumed and dialled with a stale incarnation',
    matches: says('refuses a dial of a stale incarnation'),
  },
  { name: 'a tunnel is relayed', matches: says('relayed by') },
  {
    name: 'a relayed tunnel is replaced by a direct one',
    matches: (line) => line.what.startsWith('closes p') && line.what.endsWith(': replaced'),
  },
  { name: 'a challenge is answered', matches: says('challenge answered by') },
  { name: 'a challenge stays unanswered', matches: says('did not answer here and has come back') },
  { name: 'a second instance of an agent is refused', matches: says('is attached by live instance') },
  { name: 'a gap in the deltas leads to a snapshot', matches: says('asks for a snapshot') },
  { name: 'a root proxy resumes its incarnation at a registry', matches: says('"resumed":true') },
  { name: 'a root proxy is registered anew', matches: says('"resumed":false') },
  { name: 'a session is superseded', matches: says(': superseded') },
  { name: 'a root proxy is evicted', matches: says('"type":"evicted"') },
  { name: 'the epoch rises after a restore', matches: says('"type":"storeRestored"') },
  { name: 'a watch is compacted', matches: says('watch is compacted') },
  { name: 'the store is read again as a whole', matches: says('"type":"relisted"') },
  { name: 'a replica loses its own lease', matches: says('"type":"replicaLeaseLost"') },
  { name: 'a write of unknown outcome had succeeded', matches: says('a request was applied, and its answer lost') },
  { name: 'a write lands after everybody gave it up', matches: says('a request lands late') },
  {
    name: 'a claim granted without a registry is recorded later',
    matches: says('records a claim that was provisional'),
  },
  { name: 'a root proxy leaves in order', matches: says('has left') },
  { name: 'an agent leaves a draining proxy', matches: says(': drained') },
  { name: 'a peer is found dead by its silence', matches: says('over: silent') },
  {
    name: 'a claim lost its race to a record of somebody else',
    matches: says('finds its slot recorded for somebody-else'),
  },
  {
    name: 'a provisional claim lost its race to the record of the one before it',
    matches: (line) => line.what.startsWith('finds its slot recorded for ') && !line.what.endsWith('somebody-else'),
  },
  { name: 'a root proxy that is not registered is served', matches: says('serves a dial of an unregistered') },
  {
    name: 'a restore shows by a revision that went back',
    matches: (line) => says('"type":"storeRestored"')(line) && says('after revision')(line),
  },
  { name: 'a restore shows by a list that contradicts', matches: says('the list contradicts what was seen before') },
  {
    name: 'a restore shows by what a root proxy had seen',
    matches: (line) => says('"type":"storeRestored"')(line) && /"proxy p[0-9]+: /.test(line.what),
  },
  {
    name: 'a restore shows by what an agent had kept',
    matches: (line) => says('"type":"storeRestored"')(line) && says('an agent of proxy')(line),
  },
  { name: 'a lease lapses while its root proxy is stopped or cut off', matches: says('the lease has lapsed') },
  { name: 'a session breaks while a registration is under way', matches: says('"code":"store-unavailable"') },
  { name: 'a drain is cut at its deadline', matches: says('drain-deadline') },
  { name: 'a second agent takes over without a registry', matches: says('promotes standby, without a registry') },
  { name: 'a dial fails on a certificate that does not fit', matches: says('dial failed: handshake') },
];

/** Remembers which situations a trace has shown. */
export class Reached {
  readonly #open = new Set(SITUATIONS);
  readonly #names: string[] = [];

  see(line: TraceLine): void {
    for (const situation of this.#open) {
      if (!situation.matches(line)) continue;
      this.#open.delete(situation);
      this.#names.push(situation.name);
    }
  }

  get names(): readonly string[] {
    return this.#names;
  }
}
