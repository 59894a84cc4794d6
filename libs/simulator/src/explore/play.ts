import type { Incarnation } from '@xylem/discovery';
import { actionsOf } from './actions.ts';
import type { Action } from './actions.ts';
import { Automaton } from './automaton.ts';
import { Draft } from './draft.ts';
import type { Cores } from './draft.ts';
import { GUARDS } from './guards.ts';
import type { GuardName } from './guards.ts';
import { fenceMachine, registryMachine, rootMachine } from './machines.ts';
import { NO_FAULTS } from './state.ts';
import type { Bounds, Broken, Instance, State } from './state.ts';
import { StoreGraph } from './store-graph.ts';

/** A state and how it was reached. */
export interface Visit {
  readonly state: State;
  readonly parent: Visit | undefined;
  /** Undefined for the start. */
  readonly action: Action | undefined;
  readonly depth: number;
}

/** A run that ended in a broken promise. */
export interface Story {
  readonly violation: Broken;
  /** For a person: each step, and under it what everybody does in it. */
  readonly lines: readonly string[];
  readonly steps: number;
  /** Faults in it. */
  readonly faults: number;
}

/** The real cores; with `without` one guard less. */
export function coresOf(without: GuardName | undefined): Cores {
  const guard = GUARDS.find(({ name }) => name === without);
  return {
    registry: new Automaton(() => registryMachine(guard)),
    roots: [new Automaton(() => rootMachine(0)), new Automaton(() => rootMachine(1))],
    fence: new Automaton(fenceMachine),
    store: new StoreGraph(),
    fencedAgents: guard?.unfencedAgents !== true,
  };
}

/** Where an action leads. */
export function take(
  cores: Cores,
  state: State,
  action: Action,
  note: (line: string) => void = () => undefined,
): Draft {
  const draft = new Draft(cores, state, note);
  if (action.fault !== undefined)
    draft.change({ used: { ...state.used, [action.fault]: state.used[action.fault] + 1 } });
  action.apply(draft);
  return draft;
}

function faultsOf(state: State): number {
  return Object.values(state.used).reduce((sum, count) => sum + count, 0);
}

/** Where every run starts: the first instance is registered, nothing is under way, no agent has come. */
export function startOf(cores: Cores): Visit {
  const instance: Instance = { phase: 'unborn', core: 0, session: undefined, inbox: [] };
  const none = 0n as Incarnation;
  const empty: State = {
    store: cores.store.initial,
    registry: cores.registry.initial,
    instances: [{ ...instance, phase: 'running' }, instance],
    operations: [],
    lagging: false,
    watch: [],
    tunnels: [],
    fences: [cores.fence.initial, cores.fence.initial],
    seen: [none, none],
    releasing: [],
    released: [],
    used: NO_FAULTS,
    attached: 0,
    opened: 0,
  };
  const draft = new Draft(cores, empty, () => undefined);
  draft.toRegistry({ type: 'timeout' });
  settle(draft, cores);
  draft.openSession(0);
  settle(draft, cores);
  if (draft.status(0).incarnation === 0n || draft.broken !== undefined)
    throw new Error(`explorer: the root proxy did not register: ${draft.broken?.detail ?? 'no welcome'}`);
  return { state: draft.state, parent: undefined, action: undefined, depth: 0 };
}

/** Lets everything under way arrive, in the order in which it was sent. */
function settle(draft: Draft, cores: Cores): void {
  const calm: Bounds = { faults: 0, perKind: NO_FAULTS, attaches: 0, reopens: 0, inFlight: 1 };
  while (draft.state.operations.length > 0) actionsOf(draft.state, calm, cores)[0]?.apply(draft);
}

/** Takes the way to a broken promise once more, noting what everybody does. */
export function retell(cores: Cores, broken: Visit): Story {
  const visits: Visit[] = [];
  for (let visit: Visit | undefined = broken; visit !== undefined; visit = visit.parent) visits.unshift(visit);
  const lines: string[] = [];
  let violation: Broken = { promise: 'determinism', detail: 'the run did not break when it was taken again' };
  for (const [index, { parent, action }] of visits.entries()) {
    if (parent === undefined || action === undefined) continue;
    lines.push(
      `${String(index).padStart(3)}. ${action.name}${action.fault === undefined ? '' : `  [${action.fault}]`}`,
    );
    violation = take(cores, parent.state, action, (line) => lines.push(`       ${line}`)).broken ?? violation;
  }
  return { violation, lines, steps: broken.depth, faults: faultsOf(broken.state) };
}
