import { assert } from '../assert.ts';
import type { OfferedNode, RouterTunnelStatus } from './types.ts';

/** One attached tunnel of this root proxy, as dials see it. */
export interface TunnelEntry {
  readonly tunnel: string;
  readonly leaf: string;
  readonly agent: string;
  readonly nodes: ReadonlyMap<string, readonly number[]>;
  /** undefined until a claim is granted: standbys take no dials. */
  claim: { readonly incarnation: bigint; readonly token: bigint } | undefined;
  draining: boolean;
  /** Dials sent and not yet answered. */
  readonly pending: Set<string>;
  open: number;
}

/** What a set of tunnels can do for one dial. */
export type Choice =
  | { readonly kind: 'tunnel'; readonly entry: TunnelEntry; readonly port: number }
  | { readonly kind: 'no-such-node'; readonly detail: string }
  | { readonly kind: 'invalid'; readonly detail: string }
  | { readonly kind: 'overloaded'; readonly detail: string };

/** The tunnels of this root proxy by name and by leaf cluster. */
export class TunnelTable {
  readonly #byName = new Map<string, TunnelEntry>();
  readonly #byLeaf = new Map<string, Set<TunnelEntry>>();

  attach(tunnel: string, leaf: string, agent: string, nodes: readonly OfferedNode[]): void {
    assert(!this.#byName.has(tunnel), `tunnel ${tunnel} attached twice`);
    const entry: TunnelEntry = {
      tunnel,
      leaf,
      agent,
      nodes: new Map(nodes.map((node) => [node.name, [...new Set(node.ports)]])),
      claim: undefined,
      draining: false,
      pending: new Set(),
      open: 0,
    };
    this.#byName.set(tunnel, entry);
    const siblings = this.#byLeaf.get(leaf) ?? new Set();
    siblings.add(entry);
    this.#byLeaf.set(leaf, siblings);
  }

  get(tunnel: string): TunnelEntry | undefined {
    return this.#byName.get(tunnel);
  }

  remove(entry: TunnelEntry): void {
    this.#byName.delete(entry.tunnel);
    const siblings = this.#byLeaf.get(entry.leaf);
    siblings?.delete(entry);
    if (siblings?.size === 0) this.#byLeaf.delete(entry.leaf);
  }

  attached(leaf: string): boolean {
    return this.#byLeaf.has(leaf);
  }

  /** Tunnels with a claim of this leaf cluster, either the ready ones or the draining ones. */
  serving(leaf: string, draining: boolean): TunnelEntry[] {
    return [...(this.#byLeaf.get(leaf) ?? [])].filter(
      (entry) => entry.claim !== undefined && entry.draining === draining,
    );
  }

  status(): RouterTunnelStatus[] {
    return [...this.#byName.values()]
      .sort((a, b) => (a.tunnel < b.tunnel ? -1 : 1))
      .map((entry) => ({
        tunnel: entry.tunnel,
        leaf: entry.leaf,
        agent: entry.agent,
        state: entry.claim === undefined ? 'attached' : entry.draining ? 'draining' : 'claimed',
        openConnections: entry.open,
        pendingDials: entry.pending.size,
        nodes: [...entry.nodes].map(([name, ports]) => ({ name, ports })),
      }));
  }
}

/**
 * The tunnel with the fewest connections among those whose agent offers the node and port. `random` in [0, 1) breaks
 * ties, so that short connections spread as well. `candidates` is not empty.
 */
export function chooseTunnel(
  candidates: readonly TunnelEntry[],
  target: { readonly leaf: string; readonly node: string; readonly port: number },
  maxConnections: number,
  random: number,
): Choice {
  const offering = candidates.filter((entry) => entry.nodes.has(target.node));
  if (offering.length === 0) {
    return { kind: 'no-such-node', detail: `leaf cluster ${target.leaf} offers no node ${target.node}` };
  }
  const fitting = offering.flatMap((entry) => {
    const port = portOn(entry, target.node, target.port);
    return port === undefined ? [] : [{ entry, port }];
  });
  if (fitting.length === 0) return wrongPort(offering, target);
  const least = Math.min(...fitting.map(({ entry }) => loadOf(entry)));
  if (least >= maxConnections) {
    return {
      kind: 'overloaded',
      detail: `leaf cluster ${target.leaf} has ${maxConnections} connections open on every tunnel here`,
    };
  }
  const best = fitting.filter(({ entry }) => loadOf(entry) === least);
  const chosen = best[Math.floor(random * best.length)];
  assert(chosen !== undefined, `random ${random} outside [0, 1)`);
  return { kind: 'tunnel', entry: chosen.entry, port: chosen.port };
}

function loadOf(entry: TunnelEntry): number {
  return entry.open + entry.pending.size;
}

/** The port to dial, or undefined when the node does not offer it, or port 0 leaves a choice. */
function portOn(entry: TunnelEntry, node: string, port: number): number | undefined {
  const ports = entry.nodes.get(node) ?? [];
  if (port !== 0) return ports.includes(port) ? port : undefined;
  return ports.length === 1 ? ports[0] : undefined;
}

function wrongPort(
  offering: readonly TunnelEntry[],
  target: { readonly leaf: string; readonly node: string; readonly port: number },
): Choice {
  const ports = [...new Set(offering.flatMap((entry) => entry.nodes.get(target.node) ?? []))].sort((a, b) => a - b);
  const name = `${target.node}.${target.leaf}`;
  if (ports.length === 0) return { kind: 'no-such-node', detail: `node ${name} offers no port` };
  if (target.port === 0)
    return { kind: 'invalid', detail: `node ${name} has several ports, name one of: ${ports.join(', ')}` };
  return { kind: 'no-such-node', detail: `node ${name} has no port ${target.port}, only: ${ports.join(', ')}` };
}
