import type { access, tunnel } from '@xylem/wire';
import type { PolicyGate } from './policy-gate.ts';

type Nodes = readonly tunnel.Node[];

/** What a user may hear of the deployment: the nodes and ports that the policy allows to be dialled; administrators hear of all. */
export class Visible {
  readonly #gate: PolicyGate;
  readonly #user: string;
  readonly #all: boolean;

  constructor(gate: PolicyGate, user: string) {
    this.#gate = gate;
    this.#user = user;
    this.#all = gate.isAdmin(user);
  }

  leaves(leaves: readonly access.LeafNodes[]): access.LeafNodes[] {
    if (this.#all) return [...leaves];
    return leaves
      .map(({ leaf, nodes }) => ({ leaf, nodes: this.#nodes(leaf, nodes) }))
      .filter(({ nodes }) => nodes.length > 0);
  }

  /** Tunnels of leaf clusters with nothing to dial are left out: their names and agents are nobody else's business. */
  status(status: access.GetStatusResponse): access.GetStatusResponse {
    if (this.#all) return status;
    const proxies = status.proxies.map((proxy) => ({ ...proxy, tunnels: this.#tunnels(proxy.tunnels) }));
    return { ...status, proxies };
  }

  #tunnels(tunnels: readonly access.TunnelStatus[]): access.TunnelStatus[] {
    return tunnels
      .map((entry) => ({ ...entry, nodes: this.#nodes(entry.leaf, entry.nodes) }))
      .filter(({ nodes }) => nodes.length > 0);
  }

  #nodes(leaf: string, nodes: Nodes): tunnel.Node[] {
    return nodes
      .map(({ name, ports }) => ({ name, ports: ports.filter((port) => this.#mayDial(leaf, name, port)) }))
      .filter(({ ports }) => ports.length > 0);
  }

  #mayDial(leaf: string, node: string, port: number): boolean {
    return this.#gate.mayDial({ user: this.#user, leaf, node, port });
  }
}
