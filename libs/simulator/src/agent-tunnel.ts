import type { ProxyId, TunnelId } from '@xylem/discovery';
import type { LivenessCore } from './cores.ts';
import type { Admitted } from './fenced-dials.ts';
import type { Host } from './host.ts';
import type { AgentMessage } from './messages.ts';
import type { End } from './network.ts';

export type Attached = Readonly<Pick<AgentTunnel, 'id' | 'proxy' | 'end' | 'admitted' | 'life'>>;

/** One tunnel as its agent has it: the connection, whether the root proxy answers, and what it said. */
export class AgentTunnel {
  readonly id: TunnelId;
  readonly proxy: ProxyId;
  readonly end: End;
  readonly admitted: Admitted;
  /** Which start of the root proxy's process is at the other end: for checkers only. */
  readonly life: number;
  granted = false;
  drainAnnounced = false;
  readonly #host: Host;
  readonly #liveness: LivenessCore;
  readonly #onSilent: (tunnel: AgentTunnel) => void;

  constructor(attached: Attached, host: Host, liveness: LivenessCore, onSilent: (tunnel: AgentTunnel) => void) {
    this.id = attached.id;
    this.proxy = attached.proxy;
    this.end = attached.end;
    this.admitted = attached.admitted;
    this.life = attached.life;
    this.#host = host;
    this.#liveness = liveness;
    this.#onSilent = onSilent;
  }

  send(message: AgentMessage): void {
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

  #perform(): void {
    for (let effect = this.#liveness.pollEffect(); effect !== undefined; effect = this.#liveness.pollEffect()) {
      if (effect.type === 'sendPing') this.send({ type: 'ping', nonce: effect.nonce });
      if (effect.type !== 'declareDead') continue;
      this.end.reset();
      this.#onSilent(this);
    }
  }
}
