import { parseHostPort } from '@xylem/service';
import type { HostPort } from '@xylem/service';

/** A node as the configuration lists it. */
export interface ListedNode {
  readonly name: string;
  readonly ports: readonly { readonly port: number; readonly address: string }[];
}

export type NodeLookup =
  | { readonly kind: 'listed'; readonly port: number; readonly address: HostPort }
  | { readonly kind: 'no-such-node'; readonly detail: string }
  | { readonly kind: 'invalid'; readonly detail: string };

/** The nodes that may be dialled: default deny. Addresses never leave this process. */
export class NodeList {
  readonly #nodes = new Map<string, ReadonlyMap<number, HostPort>>();

  /** @throws Error on an address that the configuration should have refused. */
  constructor(nodes: readonly ListedNode[]) {
    for (const { name, ports } of nodes) {
      const addresses = new Map<number, HostPort>();
      for (const { port, address } of ports) {
        const parsed = parseHostPort(address);
        if (parsed === undefined) throw new Error(`node ${name}: ${JSON.stringify(address)} is not host:port`);
        addresses.set(port, parsed);
      }
      this.#nodes.set(name, addresses);
    }
  }

  /** What the hello offers: names and ports, in order. */
  offered(): { readonly name: string; readonly ports: number[] }[] {
    return [...this.#nodes]
      .map(([name, ports]) => ({ name, ports: [...ports.keys()].sort((a, b) => a - b) }))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** @param port 0 for the node's only port. */
  find(name: string, port: number): NodeLookup {
    const ports = this.#nodes.get(name);
    if (ports === undefined) return { kind: 'no-such-node', detail: 'this agent lists no such node' };
    const [only] = ports;
    if (port === 0 && ports.size === 1 && only !== undefined)
      return { kind: 'listed', port: only[0], address: only[1] };
    if (port === 0)
      return {
        kind: 'invalid',
        detail: `node ${name} has several ports, name one of: ${[...ports.keys()].join(', ')}`,
      };
    const address = ports.get(port);
    return address === undefined
      ? { kind: 'no-such-node', detail: `node ${name} has no port ${port}` }
      : { kind: 'listed', port, address };
  }
}
