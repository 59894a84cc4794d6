import { assert, unreachable } from '../assert.ts';
import type { DialOutcome, ResetReason } from '../codes.ts';
import type { Instant } from '../time.ts';
import { MAX_DATA_BYTES } from './types.ts';
import type { ConnectionConfig, ConnectionEffect, ConnectionEnd, ConnectionEvent, ConnectionStatus } from './types.ts';

/**
 *   dialling ──connected──► open ──both directions ended──► flushing ──socket and stream done──► closed (clean)
 *      │                      │                                 │
 *      │ any other outcome    │ reset, loss, abort, violation   │ the same, or its deadline
 *      └──────────────────────┴──────────► ending ──stream over, or its deadline──► closed (not-connected | reset)
 */
type State =
  | { readonly phase: 'dialling'; readonly deadline: Instant }
  | { readonly phase: 'open'; sendEnded: boolean; receiveEnded: boolean; socketFlushed: boolean }
  | { readonly phase: 'flushing'; readonly deadline: Instant; socketFlushed: boolean; framesEnded: boolean }
  | { readonly phase: 'ending'; readonly deadline: Instant; readonly end: PartialEnd }
  | { readonly phase: 'closed' };

type PartialEnd = Omit<ConnectionEnd, 'sentBytes' | 'receivedBytes'>;

const START_PUMPING: ConnectionEffect = { type: 'startPumping' };
const SEND_DATA: ConnectionEffect = { type: 'sendData' };
const DELIVER: ConnectionEffect = { type: 'deliver' };
const END_SOCKET: ConnectionEffect = { type: 'endSocket' };
const RESET_SOCKET: ConnectionEffect = { type: 'resetSocket' };
const END_FRAMES: ConnectionEffect = { type: 'endFrames' };

/**
 * One carried connection seen from one end: a socket on one side, a frame stream on the other. Decides what may flow,
 * when each direction ends and how the connection ends. Performs no I/O and reads no clock; payloads never pass through.
 *
 * Invariants
 * - Half-close is kept: the end of one direction never touches the other.
 * - A socket gets a FIN only after End with the number of bytes that were counted here; every other ending is a reset.
 * - One outcome, before any data. Nothing is delivered after an ending.
 * - Exactly one `closed`, the last effect, with one reason: the first cause wins.
 *
 * A peer may send Reset after its End, while the other direction is still open.
 *
 * Use: `handle(event, now)`, then `pollEffect()` until undefined; `handle({ type: 'timeout' }, now)` at `nextTimeout()`.
 */
export class CarriedConnection {
  readonly #config: ConnectionConfig;
  readonly #effects: ConnectionEffect[] = [];
  #state: State;
  #sentBytes = 0;
  #receivedBytes = 0;
  #movedAt: Instant;

  constructor(config: ConnectionConfig, now: Instant) {
    this.#config = config;
    this.#state = { phase: 'dialling', deadline: now + config.outcomeTimeoutMs };
    this.#movedAt = now;
  }

  /** The only mutator. `now` never goes backwards. */
  handle(event: ConnectionEvent, now: Instant): void {
    switch (event.type) {
      case 'connectedBefore':
        return this.#connectedBefore(now);
      case 'outcomeDecided':
        return this.#outcomeDecided(event.outcome, event.detail, now);
      case 'outcomeReceived':
        return this.#outcomeReceived(event.outcome, event.detail, now);
      case 'dataReceived':
        return this.#dataReceived(event.bytes, now);
      case 'endReceived':
        return this.#endReceived(event.totalBytes, now);
      case 'resetReceived':
        return this.#resetReceived(event.reason, event.detail, now);
      case 'frameInvalid':
        return this.#violation(event.detail, now);
      case 'socketRead':
        return this.#socketRead(event.bytes, now);
      case 'socketEnded':
        return this.#socketEnded(now);
      case 'socketFlushed':
        return this.#socketFlushed();
      case 'socketFailed':
        return this.#socketFailed(event.detail, now);
      case 'framesEnded':
        return this.#framesEnded(event.orderly, event.detail);
      case 'abortRequested':
        return this.#reset(event.reason, event.detail, now);
      case 'timeout':
        return this.#timeout(now);
      default:
        return unreachable(event);
    }
  }

  /** The next thing to do, or undefined when all is done; drain after every `handle`. */
  pollEffect(): ConnectionEffect | undefined {
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

  status(): ConnectionStatus {
    const state = this.#state;
    const both = state.phase === 'flushing';
    return {
      phase: state.phase,
      sendEnded: state.phase === 'open' ? state.sendEnded : both,
      receiveEnded: state.phase === 'open' ? state.receiveEnded : both,
      sentBytes: this.#sentBytes,
      receivedBytes: this.#receivedBytes,
    };
  }

  #connectedBefore(now: Instant): void {
    if (this.#over()) return;
    assert(this.#state.phase === 'dialling', 'the outcome was known already');
    this.#open(now);
  }

  #outcomeDecided(outcome: DialOutcome, detail: string, now: Instant): void {
    assert(this.#config.role === 'answerer', 'only the answerer decides the outcome');
    if (this.#over()) return;
    assert(this.#state.phase === 'dialling', 'the outcome was decided twice');
    this.#effects.push({ type: 'sendOutcome', outcome, detail });
    if (outcome === 'connected') return this.#open(now);
    this.#notConnected(outcome, detail, now);
  }

  #outcomeReceived(outcome: DialOutcome, detail: string, now: Instant): void {
    if (this.#over()) return;
    if (this.#config.role === 'answerer') return this.#violation('an outcome came from the requester', now);
    if (this.#state.phase !== 'dialling') return this.#violation('a second outcome came', now);
    if (outcome === 'connected') return this.#open(now);
    this.#notConnected(outcome, detail, now);
  }

  #open(now: Instant): void {
    this.#state = { phase: 'open', sendEnded: false, receiveEnded: false, socketFlushed: false };
    this.#movedAt = now;
    this.#effects.push(START_PUMPING);
  }

  #notConnected(outcome: DialOutcome, detail: string, now: Instant): void {
    const end: PartialEnd = { kind: 'not-connected', outcome, reason: undefined, detail };
    this.#state = { phase: 'ending', deadline: now + this.#config.resetTimeoutMs, end };
    this.#effects.push(END_FRAMES);
  }

  #dataReceived(bytes: number, now: Instant): void {
    const state = this.#state;
    if (this.#over()) return;
    if (state.phase === 'dialling') return this.#violation('data came before the outcome', now);
    if (state.phase === 'flushing' || (state.phase === 'open' && state.receiveEnded)) {
      return this.#violation('data came after the end', now);
    }
    if (bytes < 1 || bytes > MAX_DATA_BYTES) return this.#violation(`a data frame of ${bytes} bytes came`, now);
    this.#receivedBytes += bytes;
    this.#movedAt = now;
    this.#effects.push(DELIVER);
  }

  #endReceived(totalBytes: bigint, now: Instant): void {
    const state = this.#state;
    if (this.#over()) return;
    if (state.phase === 'dialling') return this.#violation('the end came before the outcome', now);
    if (state.phase !== 'open' || state.receiveEnded) return this.#violation('a second end came', now);
    if (totalBytes !== BigInt(this.#receivedBytes)) {
      return this.#reset('data-loss', `${totalBytes} bytes were sent and ${this.#receivedBytes} arrived`, now);
    }
    state.receiveEnded = true;
    this.#movedAt = now;
    this.#effects.push(END_SOCKET);
    this.#flushWhenBothEnded(now);
  }

  #socketRead(bytes: number, now: Instant): void {
    const state = this.#state;
    if (this.#over()) return;
    assert(state.phase === 'open' && !state.sendEnded, `socket read while ${state.phase}`);
    assert(bytes >= 1 && bytes <= MAX_DATA_BYTES, `socket read of ${bytes} bytes`);
    this.#sentBytes += bytes;
    this.#movedAt = now;
    this.#effects.push(SEND_DATA);
  }

  #socketEnded(now: Instant): void {
    const state = this.#state;
    if (this.#over()) return;
    assert(state.phase === 'open' && !state.sendEnded, `socket ended while ${state.phase}`);
    state.sendEnded = true;
    this.#movedAt = now;
    this.#effects.push({ type: 'sendEnd', totalBytes: BigInt(this.#sentBytes) });
    this.#flushWhenBothEnded(now);
  }

  #flushWhenBothEnded(now: Instant): void {
    const state = this.#state;
    if (state.phase !== 'open' || !state.sendEnded || !state.receiveEnded) return;
    const deadline = now + this.#config.flushTimeoutMs;
    this.#state = { phase: 'flushing', deadline, socketFlushed: state.socketFlushed, framesEnded: false };
    this.#effects.push(END_FRAMES);
  }

  #socketFlushed(): void {
    if (this.#over()) return;
    const state = this.#state;
    assert(state.phase === 'open' || state.phase === 'flushing', `socket flushed while ${state.phase}`);
    state.socketFlushed = true;
    this.#closeWhenFlushed();
  }

  #closeWhenFlushed(): void {
    const state = this.#state;
    if (state.phase !== 'flushing' || !state.socketFlushed || !state.framesEnded) return;
    this.#close({ kind: 'clean', outcome: undefined, reason: undefined, detail: '' });
  }

  #socketFailed(detail: string, now: Instant): void {
    const state = this.#state;
    if (state.phase === 'flushing' && state.socketFlushed) return;
    this.#reset(state.phase === 'dialling' ? 'cancelled' : 'peer-reset', detail, now);
  }

  #resetReceived(reason: ResetReason, detail: string, now: Instant): void {
    if (this.#over()) return;
    const end = this.#resetSocket(reason, detail);
    this.#state = { phase: 'ending', deadline: now + this.#config.resetTimeoutMs, end };
    this.#effects.push(END_FRAMES);
  }

  #violation(detail: string, now: Instant): void {
    this.#reset('protocol-error', detail, now);
  }

  /** Ends the connection from this end: the other end must see a reset too. */
  #reset(reason: ResetReason, detail: string, now: Instant): void {
    if (this.#over()) return;
    const streamOver = this.#state.phase === 'flushing' && this.#state.framesEnded;
    const end = this.#resetSocket(reason, detail);
    if (streamOver) return this.#close(end);
    this.#state = { phase: 'ending', deadline: now + this.#config.resetTimeoutMs, end };
    this.#effects.push({ type: 'sendReset', reason, detail }, END_FRAMES);
  }

  #framesEnded(orderly: boolean, detail: string): void {
    const state = this.#state;
    switch (state.phase) {
      case 'closed':
        return;
      case 'ending':
        return this.#close(state.end);
      case 'flushing':
        if (orderly) {
          state.framesEnded = true;
          return this.#closeWhenFlushed();
        }
        break;
      default:
        break;
    }
    this.#close(this.#resetSocket('tunnel-lost', detail));
  }

  /** Before the outcome the socket is the shell's: it still has an answer to give there. After it, the socket is reset. */
  #resetSocket(reason: ResetReason, detail: string): PartialEnd {
    if (this.#state.phase === 'dialling') {
      return { kind: 'not-connected', outcome: reason === 'timeout' ? 'timed-out' : 'tunnel-lost', reason, detail };
    }
    this.#effects.push(RESET_SOCKET);
    return { kind: 'reset', outcome: undefined, reason, detail };
  }

  #timeout(now: Instant): void {
    const due = this.nextTimeout();
    if (due === undefined || now < due) return;
    const state = this.#state;
    switch (state.phase) {
      case 'dialling':
        return this.#reset('timeout', `no outcome within ${this.#config.outcomeTimeoutMs} ms`, now);
      case 'open':
        return this.#reset('timeout', `no byte moved for ${this.#config.idleTimeoutMs} ms`, now);
      case 'flushing':
        return this.#reset('timeout', `what was queued was not taken within ${this.#config.flushTimeoutMs} ms`, now);
      case 'ending':
        this.#effects.push({ type: 'cancelFrames', detail: state.end.detail });
        return this.#close(state.end);
      case 'closed':
        return;
      default:
        return unreachable(state);
    }
  }

  #over(): boolean {
    return this.#state.phase === 'ending' || this.#state.phase === 'closed';
  }

  #close(end: PartialEnd): void {
    this.#state = { phase: 'closed' };
    this.#effects.push({
      type: 'closed',
      end: { ...end, sentBytes: this.#sentBytes, receivedBytes: this.#receivedBytes },
    });
  }
}
