import type { RootStatus, TunnelId } from '@xylem/discovery';
import type { ProxyMessage } from './messages.ts';

type Dial = Extract<ProxyMessage, { readonly type: 'dial' }>;

/** Users' connections of one root proxy, one at a time over every claimed tunnel: what was asked and not yet served. */
export class UserDials {
  readonly #open = new Map<number, TunnelId>();
  #last = 0;

  /** Dials of the last round that were not answered with success, for a person. */
  get unserved(): readonly string[] {
    return [...this.#open].map(([dial, tunnel]) => `dial ${String(dial)} over ${tunnel}`);
  }

  /** A new round, carrying incarnation and token as production does. `life` is for checkers only. */
  round(status: RootStatus, life: number): readonly { readonly tunnel: TunnelId; readonly dial: Dial }[] {
    this.#open.clear();
    return status.tunnels.flatMap(({ tunnel, state, token }) => {
      if (state !== 'claimed' && state !== 'provisional') return [];
      this.#last += 1;
      this.#open.set(this.#last, tunnel);
      const { incarnation } = status;
      return [{ tunnel, dial: { type: 'dial', dial: this.#last, incarnation, token, life } as const }];
    });
  }

  answered(dial: number, connected: boolean): void {
    if (connected) this.#open.delete(dial);
  }

  /** The process is over, and its users with it. */
  forget(): void {
    this.#open.clear();
  }
}
