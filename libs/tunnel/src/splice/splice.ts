import { unreachable } from '../assert.ts';
import { MAX_DATA_BYTES } from '../connection/types.ts';
import type { ResetReason } from '../codes.ts';
import type { Instant } from '../time.ts';
import type { Side, SpliceConfig, SpliceEffect, SpliceEnd, SpliceEvent } from './types.ts';

/** open ──End from both sides──► flushing ──both streams over──► closed; open | flushing ──anything else──► ending ──► closed */
type State =
  | { readonly phase: 'open' }
  | { readonly phase: 'flushing'; readonly deadline: Instant }
  | { readonly phase: 'ending'; readonly deadline: Instant; readonly reason: ResetReason; readonly detail: string }
  | { readonly phase: 'closed' };

interface SideState {
  /** End came from this side. */
  ended: boolean;
  /** The stream of this side is over. */
  over: boolean;
}

const SIDES: readonly Side[] = ['requester', 'answerer'];
const FORWARD: Readonly<Record<Side, SpliceEffect>> = {
  requester: { type: 'forward', to: 'requester' },
  answerer: { type: 'forward', to: 'answerer' },
};

/**
 * One open connection seen from a hop in the middle: frames come on one stream and leave unchanged on the other.
 * Performs no I/O and reads no clock.
 *
 * Invariants: frames of one side are forwarded until that side's End or Reset and never after; a stream that is over
 * too early becomes a Reset on the other one, never an End; exactly one `closed`, the first cause wins. Byte totals
 * are the two ends' affair: they check them against End.
 */
export class SplicedConnection {
  readonly #config: SpliceConfig;
  readonly #effects: SpliceEffect[] = [];
  readonly #sides: Readonly<Record<Side, SideState>> = {
    requester: { ended: false, over: false },
    answerer: { ended: false, over: false },
  };
  #state: State = { phase: 'open' };
  #movedAt: Instant;
  #upBytes = 0;
  #downBytes = 0;

  constructor(config: SpliceConfig, now: Instant) {
    this.#config = config;
    this.#movedAt = now;
  }

  /** The only mutator. `now` never goes backwards. */
  handle(event: SpliceEvent, now: Instant): void {
    switch (event.type) {
      case 'dataReceived':
        return this.#dataReceived(event.from, event.bytes, now);
      case 'endReceived':
        return this.#endReceived(event.from, now);
      case 'resetReceived':
        return this.#resetReceived(event.from, event.reason, event.detail, now);
      case 'frameInvalid':
        return this.#reset('protocol-error', event.detail, now);
      case 'framesEnded':
        return this.#framesEnded(event.side, event.orderly, event.detail, now);
      case 'abortRequested':
        return this.#reset(event.reason, event.detail, now);
      case 'timeout':
        return this.#timeout(now);
      default:
        return unreachable(event);
    }
  }

  /** The next thing to do, or undefined when all is done; drain after every `handle`. */
  pollEffect(): SpliceEffect | undefined {
    return this.#effects.shift();
  }

  /** When `timeout` is due; undefined for never. */
  nextTimeout(): Instant | undefined {
    switch (this.#state.phase) {
      case 'open':
        return this.#config.idleTimeoutMs === 0 ? undefined : this.#movedAt + this.#config.idleTimeoutMs;
      case 'closed':
        return undefined;
      default:
        return this.#state.deadline;
    }
  }

  /** Payload bytes forwarded so far. */
  totals(): { readonly upBytes: number; readonly downBytes: number } {
    return { upBytes: this.#upBytes, downBytes: this.#downBytes };
  }

  #dataReceived(from: Side, bytes: number, now: Instant): void {
    if (this.#finished()) return;
    if (this.#sides[from].ended) return this.#reset('protocol-error', `data came from the ${from} after its end`, now);
    if (bytes < 1 || bytes > MAX_DATA_BYTES) {
      return this.#reset('protocol-error', `a data frame of ${bytes} bytes came from the ${from}`, now);
    }
    if (from === 'requester') this.#upBytes += bytes;
    else this.#downBytes += bytes;
    this.#movedAt = now;
    this.#effects.push(FORWARD[other(from)]);
  }

  #endReceived(from: Side, now: Instant): void {
    if (this.#finished()) return;
    const side = this.#sides[from];
    if (side.ended) return this.#reset('protocol-error', `a second end came from the ${from}`, now);
    side.ended = true;
    this.#movedAt = now;
    this.#effects.push(FORWARD[other(from)]);
    if (!this.#sides[other(from)].ended) return;
    this.#state = { phase: 'flushing', deadline: now + this.#config.flushTimeoutMs };
    for (const name of SIDES) this.#effects.push({ type: 'endFrames', side: name });
  }

  #resetReceived(from: Side, reason: ResetReason, detail: string, now: Instant): void {
    if (this.#finished()) return;
    if (!this.#sides[other(from)].over) this.#effects.push({ type: 'sendReset', to: other(from), reason, detail });
    this.#finish(reason, detail, now);
  }

  #reset(reason: ResetReason, detail: string, now: Instant): void {
    if (this.#finished()) return;
    for (const side of SIDES) {
      if (!this.#sides[side].over) this.#effects.push({ type: 'sendReset', to: side, reason, detail });
    }
    this.#finish(reason, detail, now);
  }

  #finish(reason: ResetReason, detail: string, now: Instant): void {
    this.#state = { phase: 'ending', deadline: now + this.#config.resetTimeoutMs, reason, detail };
    for (const side of SIDES) {
      if (!this.#sides[side].over) this.#effects.push({ type: 'endFrames', side });
    }
    this.#closeWhenOver();
  }

  #framesEnded(name: Side, orderly: boolean, detail: string, now: Instant): void {
    const side = this.#sides[name];
    if (side.over) return;
    side.over = true;
    const expected = this.#state.phase === 'flushing' && orderly;
    if (!expected) this.#reset('tunnel-lost', `the stream of the ${name} was lost: ${detail}`, now);
    this.#closeWhenOver();
  }

  #closeWhenOver(): void {
    const state = this.#state;
    if (state.phase === 'closed' || state.phase === 'open') return;
    if (SIDES.some((side) => !this.#sides[side].over)) return;
    if (state.phase === 'flushing') this.#close({ kind: 'clean', reason: undefined, detail: '' });
    else this.#close({ kind: 'reset', reason: state.reason, detail: state.detail });
  }

  #timeout(now: Instant): void {
    const due = this.nextTimeout();
    if (due === undefined || now < due) return;
    const state = this.#state;
    switch (state.phase) {
      case 'open':
        return this.#reset('timeout', `no byte moved for ${this.#config.idleTimeoutMs} ms`, now);
      case 'flushing':
        return this.#reset('timeout', `what was queued was not taken within ${this.#config.flushTimeoutMs} ms`, now);
      case 'ending':
        for (const side of SIDES) {
          if (!this.#sides[side].over) this.#effects.push({ type: 'cancelFrames', side, detail: state.detail });
        }
        return this.#close({ kind: 'reset', reason: state.reason, detail: state.detail });
      case 'closed':
        return;
      default:
        return unreachable(state);
    }
  }

  #finished(): boolean {
    return this.#state.phase === 'ending' || this.#state.phase === 'closed';
  }

  #close(end: Omit<SpliceEnd, 'upBytes' | 'downBytes'>): void {
    this.#state = { phase: 'closed' };
    this.#effects.push({ type: 'closed', end: { ...end, upBytes: this.#upBytes, downBytes: this.#downBytes } });
  }
}

function other(side: Side): Side {
  return side === 'requester' ? 'answerer' : 'requester';
}
