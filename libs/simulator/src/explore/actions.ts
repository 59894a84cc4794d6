import type { AgentId, InstanceNonce, TunnelId } from '@xylem/discovery';
import type { StoreOperation } from '@xylem/membership';
import { LEAF, MEMBER_KEY } from './draft.ts';
import type { Cores, Draft } from './draft.ts';
import { AGENTS } from './state.ts';
import type { Agent, Bounds, FaultKind, Instance, InstanceIndex, State } from './state.ts';
import { describeOperation } from './view-claims.ts';

/** One thing that may happen next. */
export interface Action {
  readonly name: string;
  readonly fault: FaultKind | undefined;
  readonly apply: (draft: Draft) => void;
}

const INSTANCES = [0, 1] as const;

function action(name: string, apply: (draft: Draft) => void, fault?: FaultKind): Action {
  return { name, fault, apply };
}

/** Everything that may happen in this state, within the bounds. */
export function actionsOf(state: State, bounds: Bounds, cores: Cores): readonly Action[] {
  const used = Object.values(state.used).reduce((sum, count) => sum + count, 0);
  const actions = [
    ...operationActions(state, cores),
    ...watchActions(state),
    ...INSTANCES.flatMap((index) => instanceActions(state, index, bounds)),
    ...tunnelActions(state, bounds, cores),
    ...leaseActions(state, cores),
  ];
  return actions.filter(
    ({ fault }) => fault === undefined || (used < bounds.faults && state.used[fault] < bounds.perKind[fault]),
  );
}

/** The store executes what it was asked, in any order; its answer comes, comes later, or never. */
function operationActions(state: State, cores: Cores): readonly Action[] {
  return state.operations.flatMap(({ number, request, outcome, abandoned }) => {
    const name = `operation ${String(number)} (${describeOperation(request)})`;
    if (abandoned) return [action(`the store executes the late ${name}`, (draft) => execute(draft, cores, number))];
    const unknown = action(
      `the registry gives ${name} up: unknown outcome`,
      (draft) => giveUp(draft, number),
      'unknown',
    );
    const answer = action(`the registry hears the answer to ${name}`, (draft) => reply(draft, number));
    if (outcome !== undefined) return [answer, unknown];
    const both = action(`the store executes ${name}, and the registry hears it`, (draft) => {
      execute(draft, cores, number);
      if (draft.broken === undefined) reply(draft, number);
    });
    const later = action(`the store executes ${name}`, (draft) => execute(draft, cores, number));
    return touchesClaims(request) ? [both, later, unknown] : [both, unknown];
  });
}

function touchesClaims(request: StoreOperation): boolean {
  return request.type === 'txn' && request.success.some(({ key }) => key.includes('/claims/'));
}

function execute(draft: Draft, cores: Cores, number: number): void {
  const operation = draft.state.operations.find((one) => one.number === number);
  if (operation === undefined) return;
  const { node, outcome, batch } = cores.store.execute(draft.state.store, operation.request);
  const others = draft.state.operations.filter((one) => one !== operation);
  draft.setOperations(
    operation.abandoned ? others : draft.state.operations.map((one) => (one === operation ? { ...one, outcome } : one)),
  );
  draft.storeMoved(node, batch);
}

function reply(draft: Draft, number: number): void {
  const operation = draft.state.operations.find((one) => one.number === number);
  if (operation?.outcome === undefined) return;
  draft.setOperations(draft.state.operations.filter((one) => one !== operation));
  draft.toRegistry({ type: 'storeReplied', operation: number, outcome: operation.outcome });
}

function giveUp(draft: Draft, number: number): void {
  const { operations } = draft.state;
  draft.setOperations(
    operations.flatMap((one) => {
      if (one.number !== number) return [one];
      return one.outcome === undefined ? [{ ...one, abandoned: true }] : [];
    }),
  );
  const outcome = { status: 'unknown', detail: 'no answer' } as const;
  draft.toRegistry({ type: 'storeReplied', operation: number, outcome });
}

function watchActions({ lagging }: State): readonly Action[] {
  if (!lagging)
    return [action('the watch tells nothing for a while', (draft) => draft.change({ lagging: true }), 'lag')];
  return [
    action('the watch tells the registry all that has changed', (draft) => {
      draft.change({ lagging: false });
      draft.tellWatch();
    }),
  ];
}

function instanceActions(state: State, index: InstanceIndex, bounds: Bounds): readonly Action[] {
  const { phase, session } = state.instances[index];
  const name = `p#${String(index + 1)}`;
  if (phase === 'dead') return [];
  if (phase === 'unborn')
    return mayStart(state.instances[0])
      ? [action(`${name} starts under the same name`, (draft) => start(draft, index))]
      : [];
  const crash = action(`${name} crashes`, (draft) => crashed(draft, index), 'crash');
  const cut = action(`the registry session of ${name} breaks`, (draft) => draft.endSession(index), 'cut');
  const common = session === undefined ? [crash] : [crash, cut];
  if (phase === 'paused') return [...common, action(`${name} goes on`, (draft) => draft.resume(index))];
  if (index === 0)
    common.push(action(`${name} is stopped`, (draft) => draft.update(index, { phase: 'paused' }), 'pause'));
  if (session === undefined && state.opened < 2 + bounds.reopens)
    common.push(action(`${name} opens a registry session again`, (draft) => draft.openSession(index)));
  return common;
}

/** A second instance is started when the first one seems gone: it runs no more, or has lost its registry. */
function mayStart(first: Instance): boolean {
  return first.phase !== 'running' || first.session === undefined;
}

function start(draft: Draft, index: InstanceIndex): void {
  draft.update(index, { phase: 'running' });
  draft.openSession(index);
}

function crashed(draft: Draft, index: InstanceIndex): void {
  draft.update(index, { phase: 'dead', inbox: [] });
  for (const { id, instance } of draft.state.tunnels) if (instance === index) draft.dropTunnel(id);
  draft.endSession(index);
}

function tunnelActions(state: State, bounds: Bounds, cores: Cores): readonly Action[] {
  const actions: Action[] = [];
  for (const agent of [0, 1] as const) {
    for (const index of INSTANCES) actions.push(...attachment(state, agent, index, bounds, cores));
  }
  for (const tunnel of state.tunnels) {
    const { id, agent, instance } = tunnel;
    actions.push(
      action(`${AGENTS[agent]} closes ${id}`, (draft) => {
        draft.dropTunnel(id);
        draft.tell(instance, { type: 'tunnelClosed', tunnel: id });
      }),
    );
    // Dials of any other incarnation change nothing and break nothing. One that a stopped instance sent before counts, too.
    const { incarnation, tunnels } = cores.roots[instance].view(state.instances[instance].core);
    const holds = tunnels.some(({ tunnel: held, slot }) => held === id && slot !== undefined);
    if (holds && incarnation < state.seen[agent])
      actions.push(action(`a user dials through p#${String(instance + 1)} over ${id}`, (draft) => draft.dial(tunnel)));
  }
  return actions;
}

/** Agents are freer than real ones: any agent may attach to any registered instance at any time, and close at any time. */
function attachment(state: State, agent: Agent, index: InstanceIndex, bounds: Bounds, cores: Cores): readonly Action[] {
  if (state.instances[index].phase !== 'running' || state.attached >= bounds.attaches) return [];
  if (cores.roots[index].view(state.instances[index].core).incarnation === 0n) return [];
  if (state.tunnels.some((tunnel) => tunnel.agent === agent && tunnel.instance === index)) return [];
  // Before anybody has attached the agents differ in nothing but their names.
  if (state.attached === 0 && agent === 1) return [];
  const id = `${AGENTS[agent]}.${String(state.attached + 1)}` as TunnelId;
  return [
    action(`${AGENTS[agent]} attaches to p#${String(index + 1)} by ${id}`, (draft) => {
      draft.change({ attached: state.attached + 1 });
      draft.admit(agent, id, index);
      draft.tell(index, {
        type: 'attachRequested',
        tunnel: id,
        leaf: LEAF,
        agent: AGENTS[agent] as AgentId,
        nonce: AGENTS[agent] as InstanceNonce,
        replaces: undefined,
      });
    }),
  ];
}

function leaseActions(state: State, cores: Cores): readonly Action[] {
  const lease = state.store.kvs.get(MEMBER_KEY)?.lease ?? 0n;
  if (lease === 0n) return [];
  return [
    action(
      `the lease of p lapses in the store`,
      (draft) => {
        const { node, batch } = cores.store.execute(draft.state.store, { type: 'leaseRevoke', lease });
        draft.storeMoved(node, batch);
      },
      'expiry',
    ),
  ];
}
