import { actionsOf } from './actions.ts';
import type { Action } from './actions.ts';
import { Names, canonical } from './automaton.ts';
import type { Cores } from './draft.ts';
import type { GuardName } from './guards.ts';
import { coresOf, retell, startOf, take } from './play.ts';
import type { Story, Visit } from './play.ts';
import { DEFAULT_BOUNDS } from './state.ts';
import type { Bounds, Instance, State } from './state.ts';

export interface ExploreOptions {
  /** The guard to leave out; undefined for the product as it is. */
  readonly without?: GuardName | undefined;
  readonly bounds?: Bounds;
  /** States to visit, at most. */
  readonly maxStates: number;
}

/** What was visited with exactly so many faults. */
export interface Stratum {
  readonly faults: number;
  readonly states: number;
  readonly transitions: number;
  /** Steps on the shortest way to the last of these states: all that are nearer were visited. */
  readonly depth: number;
  /** Every state with so many faults was visited; otherwise the search ended here. */
  readonly complete: boolean;
}

export interface Exploration {
  readonly strata: readonly Stratum[];
  readonly states: number;
  readonly transitions: number;
  /** In the fewest faults, and then the fewest steps. */
  readonly found: Story | undefined;
}

/**
 * Visits every state of a small deployment that the real claim cores can get into: runs with fewer faults first, and among them
 * breadth first. A state's key covers all that influences what comes: the histories of the three cores, the store's content,
 * everything under way, and what is left of the bounds.
 */
class Explorer {
  readonly #cores: Cores;
  readonly #bounds: Bounds;
  readonly #maxStates: number;
  readonly #names = new Names();
  readonly #seen = new Set<string>();
  /** Of the present number of faults, by depth. */
  #waiting: Visit[][] = [];
  #transitions = 0;
  #visited = 0;

  constructor({ without, bounds, maxStates }: ExploreOptions) {
    this.#bounds = bounds ?? DEFAULT_BOUNDS;
    this.#maxStates = maxStates;
    this.#cores = coresOf(without);
  }

  run(): Exploration {
    const strata: Stratum[] = [];
    let broken: Visit | undefined;
    this.#enqueue(startOf(this.#cores));
    for (let faults = 0; faults <= this.#bounds.faults && broken === undefined; faults += 1) {
      const before = this.#transitions;
      const visited: Visit[] = [];
      broken = this.#visitAll(visited);
      const complete = broken === undefined && this.#waiting.length === 0;
      if (complete && faults < this.#bounds.faults) broken = this.#strike(visited);
      const transitions = this.#transitions - before;
      strata.push({ faults, states: visited.length, transitions, depth: visited.at(-1)?.depth ?? 0, complete });
      if (!complete) break;
    }
    return {
      strata,
      states: this.#visited,
      transitions: this.#transitions,
      found: broken === undefined ? undefined : retell(this.#cores, broken),
    };
  }

  /** Everything that can be reached without another fault; what is left over waits. Returns the first that breaks a promise. */
  #visitAll(visited: Visit[]): Visit | undefined {
    for (let depth = 0; depth < this.#waiting.length; depth += 1) {
      for (const visit of this.#waiting[depth] ?? []) {
        if (this.#visited >= this.#maxStates) return undefined;
        this.#visited += 1;
        visited.push(visit);
        const broken = this.#expand(visit, (action) => action.fault === undefined);
        if (broken !== undefined) return broken;
      }
      this.#waiting[depth] = [];
    }
    this.#waiting = [];
    return undefined;
  }

  /** One more fault, in each of these states. */
  #strike(visited: readonly Visit[]): Visit | undefined {
    for (const visit of visited) {
      const broken = this.#expand(visit, (action) => action.fault !== undefined);
      if (broken !== undefined) return broken;
    }
    return undefined;
  }

  /** Takes the wanted actions of one state. Returns the first that breaks a promise. */
  #expand(visit: Visit, wanted: (action: Action) => boolean): Visit | undefined {
    for (const action of actionsOf(visit.state, this.#bounds, this.#cores)) {
      if (!wanted(action)) continue;
      const draft = take(this.#cores, visit.state, action);
      this.#transitions += 1;
      const next: Visit = { state: draft.state, parent: visit, action, depth: visit.depth + 1 };
      if (draft.broken !== undefined) return next;
      if (draft.state.operations.length <= this.#bounds.inFlight) this.#enqueue(next);
    }
    return undefined;
  }

  #enqueue(visit: Visit): void {
    const key = this.#key(visit.state);
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    while (this.#waiting.length <= visit.depth) this.#waiting.push([]);
    this.#waiting[visit.depth]?.push(visit);
  }

  /**
   * `releasing` and the contents of requests follow from the histories; everything else of the state is here. Histories are
   * numbers, so are texts.
   */
  #key(state: State): string {
    const instance = ({ phase, core, session, inbox }: Instance): string =>
      `${phase}${String(core)}${session ?? '-'}${inbox.length === 0 ? '' : String(this.#names.of(canonical(inbox)))}`;
    const operations = state.operations.map(
      ({ number, outcome, abandoned }) =>
        `${String(number)}${abandoned ? 'x' : ''}${outcome === undefined ? '' : `=${String(this.#names.of(canonical(outcome)))}`}`,
    );
    return [
      state.store.name,
      state.registry,
      ...state.instances.map(instance),
      operations.join(','),
      state.watch.length === 0 ? '' : this.#names.of(canonical(state.watch)),
      state.tunnels.map(({ id, instance: at }) => `${id}${String(at)}`).join(','),
      state.fences.join(','),
      state.seen.join(','),
      state.released.length === 0 ? '' : this.#names.of(canonical(state.released)),
      Object.values(state.used).join(''),
      state.attached,
      state.lagging ? 1 : 0,
      state.opened,
    ].join('|');
  }
}

/** Explores the claim protocol within the bounds; the same options give the same report. */
export function explore(options: ExploreOptions): Exploration {
  return new Explorer(options).run();
}
