import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { parseHostPort } from '@xylem/service';

/** How one ended; bounded: it labels a metric. */
export type EnrolmentEnd =
  | 'done'
  /** Whoever enrols went without a word, as it does once it has read what it wanted. */
  | 'left'
  | 'unreachable'
  | 'deadline'
  | 'limit'
  | 'reset';

export interface EnrolmentPorts {
  /** Once per connection, when it is over. `address`: the registry, empty when none could be reached. */
  ended(source: string, address: string, end: EnrolmentEnd): void;
}

/** For each address; whoever enrols waits 5 s for the handshake, so that a second one has its chance. */
const CONNECT_TIMEOUT_MS = 2_000;
/** A join or renewal is one request: two handshakes and 8 KiB up, two certificate chains and 64 KiB down. */
const LIMITS = { totalMs: 30_000, upBytes: 64 * 1_024, downBytes: 256 * 1_024 } as const;

/**
 * Hands connections that ask for enrolment on to a registry, bytes as they are: TLS is between whoever enrols and the registry, so that no
 * root proxy learns a token. Short and bounded, because anybody may open one.
 */
export class Enrolments {
  readonly #ports: EnrolmentPorts;
  readonly #open = new Set<Socket>();

  constructor(ports: EnrolmentPorts) {
    this.#ports = ports;
  }

  get size(): number {
    return this.#open.size;
  }

  /** Takes over a socket whose bytes so far were put back; resolves when it is done with. Never rejects. */
  async relay(socket: Socket, addresses: readonly string[], source: string): Promise<void> {
    this.#open.add(socket);
    const deadline = setTimeout(() => socket.destroy(new Deadline()), LIMITS.totalMs);
    const { end, address } = await this.#serve(socket, addresses);
    clearTimeout(deadline);
    socket.destroy();
    this.#open.delete(socket);
    this.#ports.ended(source, address, end);
  }

  abortAll(): void {
    for (const socket of [...this.#open]) socket.destroy();
  }

  async #serve(socket: Socket, addresses: readonly string[]): Promise<{ end: EnrolmentEnd; address: string }> {
    for (const address of addresses) {
      const registry = await reach(address);
      if (registry === undefined) continue;
      return { end: socket.destroyed ? 'left' : await splice(socket, registry), address };
    }
    return { end: 'unreachable', address: '' };
  }
}

/** Connected, or undefined. Never rejects. */
function reach(address: string): Promise<Socket | undefined> {
  const target = parseHostPort(address);
  if (target === undefined) return Promise.resolve(undefined);
  return new Promise((resolve) => {
    const socket = connect({ ...target, noDelay: true, allowHalfOpen: true, timeout: CONNECT_TIMEOUT_MS });
    const fail = (): void => {
      socket.destroy();
      resolve(undefined);
    };
    socket.once('error', fail).once('timeout', fail);
    socket.once('connect', () => {
      socket.off('error', fail).off('timeout', fail).setTimeout(0);
      resolve(socket);
    });
  });
}

class Deadline extends Error {}

/** Copies both ways, half-closes included, until both are closed, something fails or a bound is reached. */
function splice(client: Socket, registry: Socket): Promise<EnrolmentEnd> {
  return new Promise((resolve) => {
    const finish = (end: EnrolmentEnd): void => {
      client.destroy();
      registry.destroy();
      resolve(end);
    };
    const failed =
      (from: Socket) =>
      (error: Error): void => {
        if (error instanceof Deadline) finish('deadline');
        else finish(from === client ? 'left' : 'reset');
      };
    const bounded = (from: Socket, to: Socket, maxBytes: number): void => {
      let bytes = 0;
      from.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > maxBytes) finish('limit');
      });
      from.once('error', failed(from));
      from.once('close', () => {
        if (from.readableEnded) to.end();
        if (to.destroyed || !from.readableEnded)
          finish(from.readableEnded ? 'done' : from === client ? 'left' : 'reset');
      });
      from.pipe(to);
    };
    bounded(client, registry, LIMITS.upBytes);
    bounded(registry, client, LIMITS.downBytes);
  });
}
