import type { Socket } from 'node:net';

/** What a look at the first bytes of a connection came to. */
export type PeekResult<T> =
  | { readonly kind: 'seen'; readonly value: T }
  /** The bytes cannot become what was looked for. */
  | { readonly kind: 'malformed'; readonly detail: string }
  | { readonly kind: 'too-long' }
  | { readonly kind: 'deadline' }
  /** The other end went before it had said enough. */
  | { readonly kind: 'gone' };

export type PeekStep<T> =
  | { readonly kind: 'seen'; readonly value: T }
  | { readonly kind: 'more' }
  | { readonly kind: 'malformed'; readonly detail: string };

export interface PeekLimits {
  readonly deadlineMs: number;
  /** Bytes that may arrive before `look` must have decided. */
  readonly maxBytes: number;
}

/**
 * Reads the first bytes of a socket until `look` has decided, then puts every one of them back, so that whoever takes
 * the socket next reads it from its beginning. The socket is paused when this returns. `look` is given all bytes so far.
 */
export function peek<T>(
  socket: Socket,
  limits: PeekLimits,
  look: (bytes: Buffer) => PeekStep<T>,
): Promise<PeekResult<T>> {
  return new Promise((resolve) => {
    let bytes: Buffer = Buffer.alloc(0);
    const finish = (result: PeekResult<T>): void => {
      clearTimeout(timer);
      socket.off('readable', onReadable).off('end', onGone).off('close', onGone).off('error', onGone);
      if (bytes.length > 0 && !socket.destroyed) socket.unshift(bytes);
      resolve(result);
    };
    const onReadable = (): void => {
      const chunk: unknown = socket.read();
      if (!Buffer.isBuffer(chunk)) return;
      bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
      const step = look(bytes);
      if (step.kind !== 'more') finish(step);
      else if (bytes.length >= limits.maxBytes) finish({ kind: 'too-long' });
    };
    const onGone = (): void => finish({ kind: 'gone' });
    const timer = setTimeout(() => finish({ kind: 'deadline' }), limits.deadlineMs);
    socket.on('readable', onReadable).once('end', onGone).once('close', onGone).once('error', onGone);
  });
}
