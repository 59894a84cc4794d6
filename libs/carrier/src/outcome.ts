import type { DialOutcome } from '@xylem/tunnel';
import { outcomeToWire } from './codes.ts';
import type { FramePort } from './frame-port.ts';

/** How long an outcome may take to leave before the stream is cancelled. */
const LEAVE_TIMEOUT_MS = 1_000;

/** Sends the outcome of a dial as the first frame. After `connected` go on with `carry` or `splice`. */
export function sendOutcome(frames: FramePort, outcome: DialOutcome, detail: string, via: readonly string[]): void {
  frames.send({ kind: { $case: 'outcome', value: { code: outcomeToWire(outcome), detail, via: [...via] } } });
}

/** Answers a dial that did not connect: the outcome, then the end of the stream. Owns the stream from here on. */
export function refuse(
  frames: FramePort,
  outcome: Exclude<DialOutcome, 'connected'>,
  detail: string,
  via: readonly string[] = [],
): void {
  const timer = setTimeout(() => frames.cancel('the outcome was not taken in time'), LEAVE_TIMEOUT_MS);
  frames.listen({ frame: () => {}, writable: () => {}, over: () => clearTimeout(timer) });
  sendOutcome(frames, outcome, detail, via);
  frames.end();
}
