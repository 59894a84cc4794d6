import type { AgentId, LeafId, TunnelId } from '@xylem/discovery';
import type { LivenessCore } from './cores.ts';
import type { Host } from './host.ts';
import type { ProxyMessage } from './messages.ts';
import type { End } from './network.ts';
import type { PeerSeen } from './trace.ts';

/** A challenge is answered within a second; whoever was held up within this may have had no chance to. */
const ANSWER_MS = 2_000;

/** What a tunnel's liveness means to its root proxy. */
export interface ProxyTunnelListener {
  /** The agent answered a challenge. */
  answered(tunnel: ProxyTunnel): void;
  /** The agent answers no more; the connection was reset. */
  silent(tunnel: ProxyTunnel): void;
}

/** Who is at the other end of a tunnel, by its hello. */
export interface TunnelHello {
  readonly tunnel: TunnelId;
  readonly leaf: LeafId;
  readonly agent: AgentId;
}

/** One tunnel as its root proxy has it: the connection, whether the agent answers, and what it was told. */
export class ProxyTunnel {
  readonly id: TunnelId;
  readonly leaf: LeafId;
  readonly agent: AgentId;
  readonly end: End;
  /** The slot of the last grant that was sent. */
  granted: number | undefined;
  grantedOffline = false;
  drainAnnounced = false;
  readonly #host: Host;
  readonly #liveness: LivenessCore;
  readonly #listener: ProxyTunnelListener;
  #challenged = false;

  constructor(hello: TunnelHello, end: End, host: Host, liveness: LivenessCore, listener: ProxyTunnelListener) {
    this.id = hello.tunnel;
    this.leaf = hello.leaf;
    this.agent = hello.agent;
    this.end = end;
    this.#host = host;
    this.#liveness = liveness;
    this.#listener = listener;
  }

  /** The other end, as nobody but the simulator knows it. */
  get peer(): PeerSeen {
    const { peerDiedAt, peerClosed, peer } = this.end;
    return {
      alive: peerDiedAt === undefined && !peerClosed,
      troubled: peer.pausedWithin(ANSWER_MS) || this.end.blockedWithin(ANSWER_MS),
    };
  }

  send(message: ProxyMessage): void {
    this.end.send(message);
  }

  nextTimeout(): number | undefined {
    return this.#liveness.nextTimeout();
  }

  timeout(now: number): void {
    const due = this.#liveness.nextTimeout();
    if (due === undefined || due > now) return;
    this.#liveness.handle({ type: 'timeout' }, now);
    this.#perform();
  }

  ponged(nonce: bigint): void {
    this.#liveness.handle({ type: 'pongReceived', nonce }, this.#host.now);
    this.#perform();
  }

  challenge(): void {
    this.#challenged = true;
    this.#liveness.handle({ type: 'challengeRequested' }, this.#host.now);
    this.#perform();
  }

  #perform(): void {
    for (let effect = this.#liveness.pollEffect(); effect !== undefined; effect = this.#liveness.pollEffect()) {
      if (effect.type === 'sendPing') this.send({ type: 'ping', nonce: effect.nonce });
      else if (effect.type === 'reportAlive') this.#alive();
      else {
        this.end.reset();
        this.#listener.silent(this);
      }
    }
  }

  #alive(): void {
    if (!this.#challenged) return;
    this.#challenged = false;
    this.#listener.answered(this);
  }
}
