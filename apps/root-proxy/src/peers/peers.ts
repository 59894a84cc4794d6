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

  constructor(self: string, domain: string, tls: TlsSource, events: PeerEvents) {
    this.#self = self;
    this.#domain = domain;
    this.#tls = tls;
    this.#events = events;
  }

  /** Takes over a membership: connects to who is new, lets go of who has left or was started again. */
  replace(members: readonly PeerAddress[]): void {
    const wanted = new Map(members.filter(({ proxy }) => proxy !== this.#self).map((at) => [at.proxy, at]));
    for (const [proxy, peer] of this.#peers) {
      const at = wanted.get(proxy);
      if (at !== undefined && at.address === peer.at.address && at.incarnation === peer.at.incarnation) continue;
      peer.close();
      this.#peers.delete(proxy);
    }
    for (const [proxy, at] of wanted) {
      if (!this.#peers.has(proxy)) this.#peers.set(proxy, new Peer(at, this.#tls, this.#domain, this.#events));
    }
  }

  get(proxy: string): Peer | undefined {
    return this.#peers.get(proxy);
  }

  /** Names of all live members but this one, in order. */
  names(): readonly string[] {
    return [...this.#peers.keys()].toSorted();
  }

  close(): void {
    for (const peer of this.#peers.values()) peer.close();
    this.#peers.clear();
  }
}
