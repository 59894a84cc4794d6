import type { Socket } from 'node:net';

/**
 * Notices the loss of a connection whose HTTP/2 session is stuck in a write.
 *
 * Node's HTTP/2 stops reading while a write of its own is in progress (since CVE-2019-9511). When the connection is
 * reset then, nobody reads the error; over TLS the write itself never fails either, and the session lives for ever
 * (nodejs/node#50884). So a socket whose write makes no progress is read for a moment: one that is lost says so, and
 * from one that is only slow nothing is taken but what its windows allow anyway.
 *
 * This costs nothing per message, unlike SocketBridge, but it does not undo the deadlock that the bridge's comment
 * tells of. That takes one end only, and all our clients have the bridge.
 */

const CHECK_MS = 100;
const LONGEST_PAUSE_MS = 4_000;
/** How long a stuck socket is read. */
const PEEK_MS = 10;

/** What is used of Node's handle of a socket, which is not documented. Without it the socket is not watched. */
interface StreamHandle {
  readonly writeQueueSize: number;
  readStart(): number;
  readStop(): number;
}

interface Watched {
  readonly socket: Socket;
  queued: number;
  pauseMs: number;
  dueMs: number;
}

export class StallWatch {
  readonly #sockets = new Map<Socket, Watched>();
  #timer: NodeJS.Timeout | undefined;

  /** False when this socket, or this version of Node, cannot be watched. */
  add(socket: Socket): boolean {
    if (handleOf(socket) === undefined) return false;
    this.#sockets.set(socket, { socket, queued: 0, pauseMs: CHECK_MS, dueMs: 0 });
    socket.once('close', () => this.#remove(socket));
    this.#timer ??= setInterval(() => this.#check(performance.now()), CHECK_MS).unref();
    return true;
  }

  #remove(socket: Socket): void {
    this.#sockets.delete(socket);
    if (this.#sockets.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #check(now: number): void {
    for (const watched of this.#sockets.values()) {
      const handle = handleOf(watched.socket);
      if (handle === undefined) continue;
      const queued = handle.writeQueueSize;
      if (queued === 0 || queued !== watched.queued) {
        watched.queued = queued;
        watched.pauseMs = CHECK_MS;
        watched.dueMs = now;
      } else if (now >= watched.dueMs) {
        peek(watched.socket, handle, queued);
        watched.pauseMs = Math.min(watched.pauseMs * 2, LONGEST_PAUSE_MS);
        watched.dueMs = now + watched.pauseMs;
      }
    }
  }
}

function peek(socket: Socket, handle: StreamHandle, queued: number): void {
  handle.readStart();
  setTimeout(() => {
    // Only while the same write is stuck: once it has moved, reading is the session's business again.
    if (!socket.destroyed && handleOf(socket) === handle && handle.writeQueueSize === queued) handle.readStop();
  }, PEEK_MS).unref();
}

function handleOf(socket: Socket): StreamHandle | undefined {
  const handle: unknown = Reflect.get(socket, '_handle');
  return isStreamHandle(handle) ? handle : undefined;
}

function isStreamHandle(value: unknown): value is StreamHandle {
  return (
    typeof value === 'object' &&
    value !== null &&
    'writeQueueSize' in value &&
    typeof value.writeQueueSize === 'number' &&
    'readStart' in value &&
    typeof value.readStart === 'function' &&
    'readStop' in value &&
    typeof value.readStop === 'function'
  );
}
