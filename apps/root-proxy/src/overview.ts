import { status as Status } from '@grpc/grpc-js';
import type { RegistryView, RootTunnelStatus } from '@xylem/discovery';
import { StatusError } from '@xylem/grpc';
import type { access, tunnel as wire } from '@xylem/wire';
import { tunnel } from '@xylem/wire';
import { fitsAnswer, fitStatuses } from './answer-size.ts';
import { now } from './clock.ts';
import type { Dials } from './dials/dials.ts';
import type { Peers } from './peers/peers.ts';
import type { Link } from './registry/link.ts';
import { proxyToWire, stampToWire } from './tunnels/gossip.ts';
import type { TunnelPlane } from './tunnels/plane.ts';

/** How long a peer may take to describe itself; silence is shown as such. */
const DESCRIBE_MS = 1_000;

export interface OverviewPorts {
  readonly proxy: string;
  readonly generation: number;
  readonly plane: TunnelPlane;
  readonly dials: Dials;
  readonly link: Link;
  readonly peers: Peers;
}

/** The deployment as this proxy and its peers see it: data of the agent x proxy matrix. */
export class Overview {
  readonly #ports: OverviewPorts;
  /** One fan-out serves everybody who asks while it runs. */
  #asking: Promise<readonly access.ProxyStatus[]> | undefined;

  constructor(ports: OverviewPorts) {
    this.#ports = ports;
  }

  /** This proxy's own part, as long as one answer at most. */
  own(): access.ProxyStatus {
    const own = this.#own();
    const [fitted = own] = fitStatuses([own]);
    return fitted;
  }

  #own(): access.ProxyStatus {
    const { plane, dials, link } = this.#ports;
    const routed = new Map(dials.status().tunnels.map((entry) => [entry.tunnel, entry]));
    const tunnels = plane.status().tunnels.flatMap((status) => {
      const entry = routed.get(status.tunnel);
      return this.#tunnelStatus(status, entry?.openConnections ?? 0, entry?.nodes ?? []);
    });
    return {
      proxy: this.#ownRecord(link.view()),
      answered: true,
      detail: link.status().problem ?? '',
      tunnels,
      openConnections: dials.openConnections,
      registryConnected: link.status().state === 'connected',
    };
  }

  async status(): Promise<access.GetStatusResponse> {
    const { proxy, link } = this.#ports;
    const proxies = fitStatuses(await this.#all());
    const { state, stamp } = link.status();
    return {
      answeredBy: proxy,
      registryConnected: state === 'connected',
      stamp: stamp === undefined ? undefined : stampToWire(stamp),
      proxies,
    };
  }

  /**
   * What can be dialled now, by leaf cluster.
   *
   * @param leaf Only this one; empty for all.
   * @throws StatusError RESOURCE_EXHAUSTED when it is too long for one answer.
   */
  async nodes(leaf: string): Promise<readonly access.LeafNodes[]> {
    const leaves = new Map<string, Map<string, Set<number>>>();
    for (const { tunnels } of await this.#all()) {
      for (const status of tunnels) {
        if (DIALLABLE.has(status.state) && (leaf === '' || status.leaf === leaf)) merge(leaves, status);
      }
    }
    const listed = sorted(leaves).map(([name, nodes]) => ({
      leaf: name,
      nodes: sorted(nodes).map(([node, ports]) => ({ name: node, ports: [...ports].toSorted((a, b) => a - b) })),
    }));
    if (fitsAnswer({ leaves: listed })) return listed;
    throw new StatusError(Status.RESOURCE_EXHAUSTED, 'the list is too long for one answer; ask for one leaf cluster');
  }

  #all(): Promise<readonly access.ProxyStatus[]> {
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #ask(): Promise<readonly access.ProxyStatus[]> {
    const { peers } = this.#ports;
    const others = peers.names().map((name) => this.#describe(name));
    const all = [this.#own(), ...(await Promise.all(others))];
    return all.toSorted((a, b) => ((a.proxy?.id ?? '') < (b.proxy?.id ?? '') ? -1 : 1));
  }

  async #describe(name: string): Promise<access.ProxyStatus> {
    const { peers, link } = this.#ports;
    try {
      const peer = peers.get(name);
      if (peer === undefined) throw new Error(`root proxy ${name} has left`);
      return await peer.describe(DESCRIBE_MS);
    } catch (error) {
      const record = link
        .view()
        ?.members()
        .find((member) => member.record.id === name)?.record;
      const detail = error instanceof Error ? error.message : String(error);
      const proxy = record === undefined ? unknownProxy(name) : proxyToWire(record);
      return { proxy, answered: false, detail, tunnels: [], openConnections: 0, registryConnected: false };
    }
  }

  #ownRecord(view: RegistryView | undefined): wire.ProxyInfo {
    const { proxy, generation, plane } = this.#ports;
    const { incarnation, draining } = plane.status();
    const record = view?.members().find((member) => member.record.id === proxy)?.record;
    if (record !== undefined && record.incarnation === incarnation && !draining) return proxyToWire(record);
    const state = draining ? tunnel.ProxyState.PROXY_STATE_DRAINING : tunnel.ProxyState.PROXY_STATE_READY;
    return { id: proxy, incarnation, state, generation };
  }

  #tunnelStatus(
    status: RootTunnelStatus,
    openConnections: number,
    nodes: readonly { readonly name: string; readonly ports: readonly number[] }[],
  ): access.TunnelStatus[] {
    const live = this.#ports.plane.tunnel(status.tunnel);
    if (live === undefined) return [];
    return [
      {
        leaf: status.leaf,
        agent: status.agent,
        state: status.state,
        slot: status.slot ?? 0,
        token: status.token,
        via: live.connection.via ?? '',
        ageMs: BigInt(Math.round(now() - live.openedAt)),
        openConnections,
        nodes: nodes.map(({ name, ports }) => ({ name, ports: [...ports] })),
        pool: live.pool,
      },
    ];
  }
}

const DIALLABLE: ReadonlySet<string> = new Set(['claimed', 'provisional', 'draining']);

function merge(leaves: Map<string, Map<string, Set<number>>>, { leaf, nodes }: access.TunnelStatus): void {
  const known = leaves.get(leaf) ?? new Map<string, Set<number>>();
  leaves.set(leaf, known);
  for (const { name, ports } of nodes) known.set(name, new Set([...(known.get(name) ?? []), ...ports]));
}

function sorted<Value>(map: ReadonlyMap<string, Value>): [string, Value][] {
  return [...map].toSorted(([a], [b]) => (a < b ? -1 : 1));
}

function unknownProxy(id: string): wire.ProxyInfo {
  return { id, incarnation: 0n, state: tunnel.ProxyState.PROXY_STATE_UNSPECIFIED, generation: 0 };
}
