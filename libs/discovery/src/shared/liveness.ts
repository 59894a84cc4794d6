/**
 * Whether the other end of a tunnel is alive: PING and PONG with nonces over the control stream.
 *
 *   watching    the last PING is answered; the next is due
 *   waiting     a PING is out; whoever has not answered anything for `deadAfterMs` is dead
 *   dead        declared once; the machine is over
 *
 * Lifeguard (Dadgar et al., "Lifeguard: Local Health Awareness for More Accurate Failure Detection", 2018): a process
 * whose own timers fire late has no right to blame its peers. Its deadlines stretch, twofold to eightfold, and shrink
 * again as its timers come on time.
 */
import { assert, unreachable } from './assert.ts';
import { Queue } from './queue.ts';
import type { Instant, Random } from './time.ts';

/** An own timer later than this counts as lag. */
const LAG_MS = 500;
const MAX_STRETCH = 8;

export interface LivenessConfig {
  /** Between an answer and the next PING. Default 5_000; the root proxy's welcome states it for both ends. */
  readonly intervalMs: number;
  /** Silence after which the peer counts as dead, before stretching. Default 10_000. */
  readonly deadAfterMs: number;
}

export type LivenessEvent =
  | { readonly type: 'pongReceived'; readonly nonce: bigint }
  /** Is the peer there right now? Sends a PING at once; answered by `reportAlive`, or `declareDead` in the end. */
  | { readonly type: 'challengeRequested' }
  | { readonly type: 'timeout' };

export type LivenessEffect =
  | { readonly type: 'sendPing'; readonly nonce: bigint }
  /** The peer answered a PING that was sent after `challengeRequested`. */
  | { readonly type: 'reportAlive' }
  /** Close the tunnel: its peer has not answered. The last effect. */
  | { readonly type: 'declareDead'; readonly silentMs: number };

export interface LivenessStatus {
  readonly state: 'watching' | 'waiting' | 'dead';
  /** Round trip of the last answered PING; undefined before the first. */
  readonly roundTripMs: number | undefined;
  /** 1 when the own timers are on time, up to 8. */
  readonly stretch: number;
  readonly lastHeardAt: Instant;
}

type State =
  | { readonly kind: 'watching'; readonly pingAt: Instant }
  | { readonly kind: 'waiting'; readonly deadAt: Instant }
  | { readonly kind: 'dead' };

/** A PING that is not answered yet. */
interface Ping {
  readonly nonce: bigint;
  readonly sentAt: Instant;
}

/** PINGs that may be out at once; only challenges send more than one. */
const MAX_PINGS = 8;

export class Liveness {
  readonly #config: LivenessConfig;
  readonly #random: Random;
  readonly #effects = new Queue<LivenessEffect>();
  #state: State;
  #now: Instant;
  #lastHeardAt: Instant;
  #lastNonce = 0n;
  #stretch = 1;
  #pings: Ping[] = [];
  /** Since when somebody wants a sign of life; a PONG to an older PING is none. */
  #challengedAt: Instant | undefined;
  #roundTripMs: number | undefined;

  constructor(config: LivenessConfig, random: Random, now: Instant) {
    if (!(config.intervalMs > 0 && config.deadAfterMs > 0)) {
      throw new RangeError('discovery: intervalMs and deadAfterMs must be greater than 0');
    }
    this.#config = config;
    this.#random = random;
    this.#now = now;
    this.#lastHeardAt = now;
    // The first PING comes at a random part of the interval: tunnels that came up together do not ping in step.
    this.#state = { kind: 'watching', pingAt: now + Math.floor(random.next('liveness') * config.intervalMs) };
  }

  handle(event: LivenessEvent, now: Instant): void {
    assert(now >= this.#now, `time went backwards from ${this.#now} to ${now}`);
    this.#now = now;
    if (this.#state.kind === 'dead') return;
    switch (event.type) {
      case 'pongReceived':
        return this.#pong(event.nonce, now);
      case 'challengeRequested':
        this.#challengedAt ??= now;
        return this.#ping(now, false);
      case 'timeout':
        return this.#timeout(now);
      default:
        return unreachable(event, 'event');
    }
  }

  pollEffect(): LivenessEffect | undefined {
    return this.#effects.shift();
  }

  nextTimeout(): Instant | undefined {
    switch (this.#state.kind) {
      case 'watching':
        return this.#state.pingAt;
      case 'waiting':
        return this.#state.deadAt;
      case 'dead':
        return undefined;
    }
  }

  status(): LivenessStatus {
    return {
      state: this.#state.kind,
      roundTripMs: this.#roundTripMs,
      stretch: this.#stretch,
      lastHeardAt: this.#lastHeardAt,
    };
  }

  #pong(nonce: bigint, now: Instant): void {
    const ping = this.#pings.find((sent) => sent.nonce === nonce);
    if (ping === undefined) return;
    this.#roundTripMs = now - ping.sentAt;
    this.#lastHeardAt = now;
    this.#pings = this.#pings.filter((sent) => sent.sentAt > ping.sentAt);
    this.#state = { kind: 'watching', pingAt: now + this.#config.intervalMs };
    if (this.#challengedAt === undefined || ping.sentAt < this.#challengedAt) return;
    this.#challengedAt = undefined;
    this.#effects.push({ type: 'reportAlive' });
  }

  #timeout(now: Instant): void {
    const dueAt = this.nextTimeout();
    if (dueAt === undefined || now < dueAt) return;
    const lag = now - dueAt;
    this.#adjustStretch(lag);
    // Late ourselves: the PONG may wait unread behind this very timeout. Ask once more before blaming the peer.
    if (this.#state.kind === 'watching' || lag > LAG_MS) return this.#ping(now, true);
    const deadAt = this.#lastHeardAt + this.#config.deadAfterMs * this.#stretch;
    if (deadAt > now) {
      this.#state = { kind: 'waiting', deadAt };
      return;
    }
    this.#state = { kind: 'dead' };
    this.#effects.push({ type: 'declareDead', silentMs: now - this.#lastHeardAt });
  }

  #adjustStretch(lag: number): void {
    if (lag > LAG_MS) this.#stretch = Math.min(MAX_STRETCH, this.#stretch * 2);
    else this.#stretch = Math.max(1, this.#stretch / 2);
  }

  /**
   * Sends a PING; `patient` gives the peer time from now on, which a challenge never does: newcomers must not be able to
   * keep a dead tunnel alive. The nonce cannot be foreseen by counting, so that a PONG proves that our PING was read.
   */
  #ping(now: Instant, patient: boolean): void {
    const step = 1n + BigInt(Math.floor(this.#random.next('ping-nonce') * 2 ** 32));
    this.#lastNonce = BigInt.asUintN(64, this.#lastNonce + step);
    this.#pings.push({ nonce: this.#lastNonce, sentAt: now });
    if (this.#pings.length > MAX_PINGS) this.#pings.shift();
    const { deadAfterMs } = this.#config;
    if (patient || this.#state.kind !== 'waiting') {
      const deadAt = Math.max(this.#lastHeardAt + deadAfterMs * this.#stretch, now + deadAfterMs / 2);
      this.#state = { kind: 'waiting', deadAt };
    }
    this.#effects.push({ type: 'sendPing', nonce: this.#lastNonce });
  }
}
