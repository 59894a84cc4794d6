import type { Socket } from 'node:net';
import type { StreamPeer } from '@xylem/grpc';

/** setTimeout overflows above it. */
const LONGEST_WAIT_MS = 2 ** 31 - 1;

/**
 * Resets a user's connection when the certificate it was made with has been over for the grace: HTTP/1.1 has no way to show
 * a newer one. The certificate has just been verified, so what is left of it is counted on the monotonic clock from now on.
 */
export function endWithCertificate(
  socket: Socket,
  rawSocket: Socket,
  { notAfterMs }: Pick<StreamPeer, 'notAfterMs'>,
  graceMs: number,
): void {
  if (notAfterMs === undefined) return;
  const end = performance.now() + (notAfterMs - Date.now()) + graceMs;
  let timer: NodeJS.Timeout;
  const wait = (): void => {
    const leftMs = end - performance.now();
    if (leftMs > 0) {
      timer = setTimeout(wait, Math.min(leftMs, LONGEST_WAIT_MS));
      return;
    }
    rawSocket.resetAndDestroy();
    socket.destroy();
  };
  wait();
  socket.once('close', () => clearTimeout(timer));
}
