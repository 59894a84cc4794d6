/**
 * Whether the holder of a claim serves. PING and PONG show that an agent reads its control stream; an agent that holds a claim and opens
 * nothing for the dials it is sent answers them as well, and users at this root proxy wait in vain (a black hole). So the
 * root proxy asks the way that dials go: a probe is a dial of a node that every agent has, and that sends back what it gets.
 *
 *   idle       the tunnel holds no claim
 *   resting    the last probe was answered; the next is due
 *   asking     a probe is out; without an answer by its deadline it has failed
 *   over       the holder did not serve: said once; the machine is over
 *
 * As in Liveness, who is late itself blames nobody (Lifeguard): a failure noticed late does not count.
 */
import { assert, unreachable } from '../shared/assert.ts';
import { spreadMs } from '../shared/backoff.ts';
import { Queue } from '../shared/queue.ts';
import type { Instant, Random } from '../shared/time.ts';

/** An own timer later than this counts as lag. */
const LAG_MS = 500;
/** Jitter of the interval, as a part of it, to both sides. */
const SPREAD = 0.25;

/** All times in milliseconds. */
export interface ServingConfig {
  /** From an answer to the next probe. Default 15_000: a probe costs what a dial costs. */
  readonly intervalMs: number;
  /** A probe that is not answered for this long has failed. Default 5_000: half of what silence on the control stream may take. */
  readonly timeoutMs: number;
  /** From a failed probe to the next one. Default 1_000. */
  readonly retryMs: number;
  /** Failures in a row after which the holder does not serve. Default 3; 1 for who was found out lately. */
  readonly failures: number;
}

export const DEFAULT_SERVING_CONFIG: ServingConfig = {
  intervalMs: 15_000,
  timeoutMs: 5_000,
  retryMs: 1_000,
  failures: 3,
};

export type ServingEvent =
  /** The tunnel holds a claim. `suspect`: its agent was found not to serve lately; it is asked at once, and one failure is enough. */
  | { readonly type: 'claimGranted'; readonly suspect: boolean }
  /** It holds none any more, or takes no new dials: nothing is asked of it. */
  | { readonly type: 'claimEnded' }
  /** The probe came back as it was sent, or was refused in words: the way of dials is open. */
  | { readonly type: 'probeAnswered'; readonly probe: number }
  /** Something else than an answer came. */
  | { readonly type: 'probeFailed'; readonly probe: number }
  /** A user's dial got no answer in its time: ask now. */
  | { readonly type: 'dialUnanswered' }
  | { readonly type: 'timeout' };

export type ServingEffect =
  /** Ask for probe `probe`; answered by `probeAnswered`, `probeFailed`, or not at all. */
  | { readonly type: 'sendProbe'; readonly probe: number }
  /** Nobody waits for this probe any more. */
  | { readonly type: 'dropProbe'; readonly probe: number }
  /** The holder does not serve. The last effect. */
  | { readonly type: 'reportUnserved'; readonly failures: number };

export interface ServingStatus {
  readonly state: 'idle' | 'resting' | 'asking' | 'over';
  /** In a row. */
  readonly failures: number;
}

type State =
  | { readonly kind: 'idle' }
  | { readonly kind: 'resting'; readonly probeAt: Instant }
  | { readonly kind: 'asking'; readonly probe: number; readonly failAt: Instant }
  | { readonly kind: 'over' };

/** One for each tunnel. Performs no I/O and reads no clock; used like Liveness. */
export class ServingCheck {
  readonly #config: ServingConfig;
  readonly #random: Random;
  readonly #effects = new Queue<ServingEffect>();
  #state: State = { kind: 'idle' };
  #now: Instant;
  #lastProbe = 0;
  #failures = 0;
  /** How many failures are enough now. */
  #enough: number;

  /** Throws RangeError on a bad config. */
  constructor(config: ServingConfig, random: Random, now: Instant) {
    const { intervalMs, timeoutMs, retryMs, failures } = config;
    if (!(intervalMs > 0 && timeoutMs > 0 && retryMs >= 0 && failures >= 1)) {
      throw new RangeError(
        'discovery: intervalMs and timeoutMs must be greater than 0, retryMs at least 0, failures at least 1',
      );
    }
    this.#config = config;
    this.#random = random;
    this.#now = now;
    this.#enough = failures;
  }

  handle(event: ServingEvent, now: Instant): void {
    assert(now >= this.#now, `time went backwards from ${this.#now} to ${now}`);
    this.#now = now;
    if (this.#state.kind === 'over') return;
    switch (event.type) {
      case 'claimGranted':
        return this.#granted(event.suspect, now);
      case 'claimEnded':
        return this.#ended();
      case 'probeAnswered':
        return this.#answered(event.probe, now);
      case 'probeFailed':
        if (this.#isOut(event.probe)) this.#failed(now);
        return;
      case 'dialUnanswered':
        return this.#doubt(now);
      case 'timeout':
        return this.#timeout(now);
      default:
        return unreachable(event, 'event');
    }
  }

  pollEffect(): ServingEffect | undefined {
    return this.#effects.shift();
  }

  nextTimeout(): Instant | undefined {
    if (this.#state.kind === 'resting') return this.#state.probeAt;
    return this.#state.kind === 'asking' ? this.#state.failAt : undefined;
  }

  status(): ServingStatus {
    return { state: this.#state.kind, failures: this.#failures };
  }

  /** A claim that is granted again, or recorded, changes nothing. */
  #granted(suspect: boolean, now: Instant): void {
    if (this.#state.kind !== 'idle') return;
    this.#enough = suspect ? 1 : this.#config.failures;
    if (suspect) this.#ask(now);
    else this.#rest(now);
  }

  #ended(): void {
    if (this.#state.kind === 'asking') this.#effects.push({ type: 'dropProbe', probe: this.#state.probe });
    this.#state = { kind: 'idle' };
    this.#failures = 0;
  }

  #isOut(probe: number): boolean {
    return this.#state.kind === 'asking' && this.#state.probe === probe;
  }

  #answered(probe: number, now: Instant): void {
    if (!this.#isOut(probe)) return;
    this.#failures = 0;
    this.#enough = this.#config.failures;
    this.#rest(now);
  }

  /** Doubts bring the next probe forward, but never more than one each `retryMs`: users' dials set no pace. */
  #doubt(now: Instant): void {
    if (this.#state.kind !== 'resting') return;
    this.#state = { kind: 'resting', probeAt: Math.min(this.#state.probeAt, now + this.#config.retryMs) };
  }

  #timeout(now: Instant): void {
    const dueAt = this.nextTimeout();
    if (dueAt === undefined || now < dueAt) return;
    if (this.#state.kind === 'resting') return this.#ask(now);
    if (this.#state.kind !== 'asking') return;
    this.#effects.push({ type: 'dropProbe', probe: this.#state.probe });
    // Late ourselves: the answer may wait unread behind this very timeout.
    if (now - dueAt > LAG_MS) this.#ask(now);
    else this.#failed(now);
  }

  #failed(now: Instant): void {
    this.#failures += 1;
    if (this.#failures >= this.#enough) {
      this.#state = { kind: 'over' };
      this.#effects.push({ type: 'reportUnserved', failures: this.#failures });
      return;
    }
    this.#state = { kind: 'resting', probeAt: now + this.#config.retryMs };
  }

  #rest(now: Instant): void {
    const { intervalMs } = this.#config;
    const waitMs = spreadMs((1 - SPREAD) * intervalMs, (1 + SPREAD) * intervalMs, this.#random, 'probe');
    this.#state = { kind: 'resting', probeAt: now + waitMs };
  }

  #ask(now: Instant): void {
    this.#lastProbe += 1;
    this.#state = { kind: 'asking', probe: this.#lastProbe, failAt: now + this.#config.timeoutMs };
    this.#effects.push({ type: 'sendProbe', probe: this.#lastProbe });
  }
}
