import type { TlsSource } from '@xylem/grpc';
import { Peer } from './peer.ts';
import type { PeerAddress, PeerEvents } from './peer.ts';

/** One kept connection per other live member. */
export class Peers {
  readonly #self: string;
  readonly #tls: TlsSource;
  readonly #domain: string;
  readonly #events: PeerEvents;
  readonly #peers = new Map<string, Peer>();
  /** Members no more, with connections of users still running over them. */
  readonly #retired = new Set<Peer>();

  constructor(self: string, domain: string, tls: TlsSource, events: PeerEvents) {
    this.#self = self;
    this.#domain = domain;
    this.#tls = tls;
    this.#events = events;
  }

  /**
   * Takes over a membership: connects to who is new, and uses who has left no more. A new incarnation at the same address
   * changes nothing: when it is another process, its connections have broken by themselves.
   */
  replace(members: readonly PeerAddress[]): void {
    const wanted = new Map(members.filter(({ proxy }) => proxy !== this.#self).map((at) => [at.proxy, at]));
    for (const [proxy, peer] of this.#peers) {
      const at = wanted.get(proxy);
      if (at?.address === peer.at.address) continue;
      this.#retire(peer);
      this.#peers.delete(proxy);
    }
    for (const [proxy, at] of wanted) {
      if (!this.#peers.has(proxy)) this.#peers.set(proxy, new Peer(at, this.#tls, this.#domain, this.#events));
    }
  }

  #retire(peer: Peer): void {
    this.#retired.add(peer);
    void peer.retire().then(() => this.#retired.delete(peer));
  }

  /** Ends the connection to a root proxy that is trusted no more, with all that runs over it; it is dialled again. */
  cut(proxy: string, detail: string): void {
    for (const peer of [this.#peers.get(proxy), ...this.#retired]) if (peer?.at.proxy === proxy) peer.cut(detail);
  }

  get(proxy: string): Peer | undefined {
    return this.#peers.get(proxy);
  }

  /** Names of all live members but this one, in order. */
  names(): readonly string[] {
    return [...this.#peers.keys()].toSorted();
  }

  close(): void {
    for (const peer of [...this.#peers.values(), ...this.#retired]) peer.close();
    this.#peers.clear();
    this.#retired.clear();
  }
}
