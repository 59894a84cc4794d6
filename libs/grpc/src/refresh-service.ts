import { status as Status } from '@grpc/grpc-js';
import { ChannelService } from '@xylem/wire';
import type { channel } from '@xylem/wire';
import type { LifetimeOptions, MethodBinding, ServerFault, TlsSource } from './api.ts';
import { acceptProof, makeProof, ProofError } from './channel-proof.ts';
import { StatusError } from './errors.ts';
import { handleUnary } from './handlers.ts';
import { LIFETIME } from './session-life.ts';
import { SessionPeer } from './session-peer.ts';

/** A proof costs its receiver some tenths of a millisecond, and some milliseconds when its certificate is a new one. */
const BURST = 8;

interface Allowance {
  tokens: number;
  at: number;
}

/** ChannelService for every connection of one server. */
export class RefreshService {
  readonly #tls: TlsSource;
  readonly #intervalMs: number;
  readonly #onFault: (fault: ServerFault) => void;
  readonly #allowances = new WeakMap<SessionPeer, Allowance>();

  constructor(tls: TlsSource, lifetime: LifetimeOptions | undefined, onFault: (fault: ServerFault) => void) {
    this.#tls = tls;
    this.#intervalMs = lifetime?.refreshIntervalMs ?? LIFETIME.refreshIntervalMs;
    this.#onFault = onFault;
  }

  binding(): MethodBinding {
    return handleUnary(ChannelService.refresh, ({ client }, { peer }) => {
      if (!(peer instanceof SessionPeer)) throw new StatusError(Status.UNAVAILABLE, 'the connection is gone');
      return this.#refresh(client, peer);
    });
  }

  async #refresh(client: channel.Proof | undefined, peer: SessionPeer): Promise<channel.RefreshResponse> {
    const { verify } = this.#tls;
    if (!this.#allowed(peer)) throw new StatusError(Status.RESOURCE_EXHAUSTED, 'refreshed too often; wait a second');
    try {
      await acceptProof(client, { role: 'client', peer, verify, serverName: undefined });
      return { server: makeProof('server', this.#tls.current(), peer) };
    } catch (error) {
      if (!(error instanceof ProofError)) throw error;
      this.#onFault({ kind: 'refresh', where: peer.address, cause: error });
      throw new StatusError(Status.PERMISSION_DENIED, error.message, { cause: error });
    }
  }

  #allowed(peer: SessionPeer): boolean {
    const now = performance.now();
    const allowance = this.#allowances.get(peer) ?? { tokens: BURST, at: now };
    allowance.tokens = Math.min(BURST, allowance.tokens + (now - allowance.at) / this.#intervalMs);
    allowance.at = now;
    this.#allowances.set(peer, allowance);
    if (allowance.tokens < 1) return false;
    allowance.tokens -= 1;
    return true;
  }
}
