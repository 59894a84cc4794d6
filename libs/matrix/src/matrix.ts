import { tunnel } from '@xylem/wire';
import type { access } from '@xylem/wire';

/** What one agent is to one root proxy. */
export type CellState =
  | 'claimed'
  /** Claimed in the proxy's memory, not yet recorded in etcd. */
  | 'provisional'
  | 'standby'
  | 'draining'
  /** Another agent of the leaf cluster holds the proxy. */
  | 'sibling'
  | 'seeking'
  | 'backoff'
  | 'gone'
  /** Neither the proxy nor the agent said anything about the other. */
  | 'unknown';

export interface Cell {
  readonly agent: string;
  readonly proxy: string;
  readonly state: CellState;
  /** The root proxy that relays the tunnel; empty for a direct one. */
  readonly via: string;
  /** Why it is not claimed, as the agent says; empty when nothing is wrong. */
  readonly why: string;
  readonly openConnections: number;
  readonly ageMs: number;
}

export interface AgentRow {
  readonly agent: string;
  /** One per column, in their order. */
  readonly cells: readonly Cell[];
  readonly dials: number;
  readonly wastedDials: number;
}

export interface LeafRows {
  readonly leaf: string;
  readonly agents: readonly AgentRow[];
  /** Live root proxies that no agent of this leaf cluster holds. */
  readonly unclaimed: readonly string[];
}

export interface ProxyColumn {
  readonly proxy: string;
  readonly draining: boolean;
  readonly incarnation: bigint;
  /** Empty when the proxy answered; else why there is nothing about it. */
  readonly silence: string;
  readonly registryConnected: boolean;
  readonly openConnections: number;
}

/** Everything there is to know about who holds whom. Sorted by name throughout. */
export interface Matrix {
  readonly answeredBy: string;
  readonly stamp: { readonly epoch: bigint; readonly revision: bigint };
  readonly registryConnected: boolean;
  readonly proxies: readonly ProxyColumn[];
  readonly leaves: readonly LeafRows[];
  /** Every live root proxy is held by every leaf cluster, and every proxy answered. */
  readonly complete: boolean;
}

const TUNNEL_STATES: readonly CellState[] = ['claimed', 'provisional', 'standby', 'draining'];
const POOL_STATES: readonly CellState[] = ['seeking', 'backoff', 'sibling', 'standby', 'draining', 'gone'];

interface AgentView {
  readonly tunnels: Map<string, access.TunnelStatus>;
  pool: tunnel.PoolReport | undefined;
}

/** Joins what the proxies say about their tunnels with what the agents say about their pools. */
export function buildMatrix(response: access.GetStatusResponse): Matrix {
  const columns = response.proxies.map(columnOf).toSorted((a, b) => compare(a.proxy, b.proxy));
  const leaves = [...groupAgents(response)]
    .toSorted(([a], [b]) => compare(a, b))
    .map(([leaf, agents]) => rowsOf(leaf, agents, columns));
  const { stamp } = response;
  return {
    answeredBy: response.answeredBy,
    stamp: { epoch: stamp?.epoch ?? 0n, revision: stamp?.revision ?? 0n },
    registryConnected: response.registryConnected,
    proxies: columns,
    leaves,
    complete:
      leaves.length > 0 &&
      leaves.every(({ unclaimed }) => unclaimed.length === 0) &&
      columns.every(({ silence }) => silence === ''),
  };
}

function columnOf(status: access.ProxyStatus): ProxyColumn {
  return {
    proxy: status.proxy?.id ?? '',
    draining: status.proxy?.state === tunnel.ProxyState.PROXY_STATE_DRAINING,
    incarnation: status.proxy?.incarnation ?? 0n,
    silence: status.answered ? '' : status.detail === '' ? 'did not answer' : status.detail,
    registryConnected: status.registryConnected,
    openConnections: status.openConnections,
  };
}

function groupAgents(response: access.GetStatusResponse): Map<string, Map<string, AgentView>> {
  const leaves = new Map<string, Map<string, AgentView>>();
  for (const status of response.proxies) {
    for (const entry of status.tunnels) {
      const agents = leaves.get(entry.leaf) ?? new Map<string, AgentView>();
      leaves.set(entry.leaf, agents);
      const view = agents.get(entry.agent) ?? { tunnels: new Map<string, access.TunnelStatus>(), pool: undefined };
      agents.set(entry.agent, view);
      const proxy = status.proxy?.id ?? '';
      const known = view.tunnels.get(proxy);
      if (known === undefined || rank(entry.state) < rank(known.state)) view.tunnels.set(proxy, entry);
      if (newer(entry.pool, view.pool)) view.pool = entry.pool;
    }
  }
  return leaves;
}

/** While a relayed tunnel is replaced an agent has two at one proxy: the one that carries counts. */
function rank(state: string): number {
  const order = ['claimed', 'provisional', 'draining', 'standby'].indexOf(state);
  return order === -1 ? Number.MAX_SAFE_INTEGER : order;
}

/** The same report arrives over several tunnels, at different times; dials only ever grow. */
function newer(report: tunnel.PoolReport | undefined, known: tunnel.PoolReport | undefined): boolean {
  if (report === undefined) return false;
  return known === undefined || report.dialsTotal >= known.dialsTotal;
}

function rowsOf(leaf: string, agents: ReadonlyMap<string, AgentView>, columns: readonly ProxyColumn[]): LeafRows {
  const rows = [...agents]
    .toSorted(([a], [b]) => compare(a, b))
    .map(([agent, view]) => ({
      agent,
      cells: columns.map((column) => cellOf(agent, view, column.proxy)),
      dials: Number(view.pool?.dialsTotal ?? 0n),
      wastedDials: Number(view.pool?.wastedDialsTotal ?? 0n),
    }));
  const held = new Set(rows.flatMap(({ cells }) => cells.filter(isHeld).map(({ proxy }) => proxy)));
  const unclaimed = columns.filter(({ proxy, draining }) => !draining && !held.has(proxy)).map(({ proxy }) => proxy);
  return { leaf, agents: rows, unclaimed };
}

function isHeld({ state }: Cell): boolean {
  return state === 'claimed' || state === 'provisional';
}

function cellOf(agent: string, view: AgentView, proxy: string): Cell {
  const entry = view.tunnels.get(proxy);
  const pooled = view.pool?.entries.find((candidate) => candidate.proxy === proxy);
  const said = knownState(entry?.state, TUNNEL_STATES);
  return {
    agent,
    proxy,
    state: said ?? knownState(pooled?.state, POOL_STATES) ?? 'unknown',
    via: entry?.via ?? '',
    why: said === undefined ? (pooled?.why ?? '') : '',
    openConnections: entry?.openConnections ?? 0,
    ageMs: Number(entry?.ageMs ?? 0n),
  };
}

/** undefined: nothing was said, or by a later version. */
function knownState(state: string | undefined, known: readonly CellState[]): CellState | undefined {
  return known.find((candidate) => candidate === state);
}

function compare(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}
