import { sendOutcome } from '@xylem/carrier';
import type { FramePort } from '@xylem/carrier';
import { MAX_PROBE_BYTES } from '@xylem/wire';

/** From the outcome to the message, and from the echo to the end of the stream. */
const PATIENCE_MS = 5_000;

/** Answers a probe of the root proxy: the outcome of a dial, then the one message back that comes. Owns the stream. Never rejects. */
export async function answerProbe(frames: FramePort, agent: string): Promise<void> {
  sendOutcome(frames, 'connected', '', [agent]);
  const first = await frames.first(PATIENCE_MS);
  const kind = first.kind === 'frame' ? first.frame.kind : undefined;
  if (kind?.$case !== 'data' || kind.value.length > MAX_PROBE_BYTES) {
    frames.cancel('a probe is one small message');
    return;
  }
  frames.send({ kind });
  frames.end();
  await ended(frames);
}

function ended(frames: FramePort): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => frames.cancel('the echo was not taken in time'), PATIENCE_MS);
    const over = (): void => {
      clearTimeout(timer);
      resolve();
    };
    frames.listen({ frame: () => undefined, writable: () => undefined, over });
  });
}
