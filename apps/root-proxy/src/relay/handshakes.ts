import type { Duplex } from 'node:stream';
import { HandshakeAdmission } from '@xylem/discovery';
import type { AdmissionStatus } from '@xylem/discovery';
import { now } from '../clock.ts';

/** ARCHITECTURE, "The way of a tunnel". What one core does beside everything else without anybody noticing. */
export const DEFAULT_HANDSHAKES_PER_SECOND = 50;
/** Half of an agent's patience with a dial. */
const MAX_WAIT_MS = 5_000;
/** A shed client has this long to read why and to close. */
const LINGER_MS = 1_000;

/**
 * A fatal TLS alert in the clear, internal_error: "an internal error unrelated to the peer or the correctness of the protocol"
 * (RFC 8446, 6.2). Every TLS client takes it in place of a ServerHello. Agents know it to mean *busy*: it proves
 * nothing about who is reached, and asks for nothing but patience.
 */
export const BUSY_ALERT: Buffer = Buffer.from([0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x50]);

/** The line in which connections wait for their TLS handshake, so that a herd of agents does not take the whole process. */
export class Handshakes {
  readonly #admission: HandshakeAdmission;

  constructor(handshakesPerSecond: number) {
    this.#admission = new HandshakeAdmission({ handshakesPerSecond, maxWaitMs: MAX_WAIT_MS }, now());
  }

  status(): AdmissionStatus {
    return this.#admission.status(now());
  }

  /**
   * Resolves with `go` when the handshake may begin, within 5 s, and with `gone` when the connection ended meanwhile.
   * `busy`: the line is too long; the client was told and is closed.
   */
  async turn(stream: Duplex): Promise<'go' | 'gone' | 'busy'> {
    const waitMs = this.#admission.arrive(now());
    if (waitMs === undefined) {
      shed(stream);
      return 'busy';
    }
    if (waitMs > 0) await waitOrClose(stream, waitMs);
    return stream.destroyed ? 'gone' : 'go';
  }
}

/** Answers with the alert, and closes once the client has, or soon. Nothing more is read of it but its end. */
export function shed(stream: Duplex): void {
  const linger = setTimeout(() => stream.destroy(), LINGER_MS);
  stream.once('close', () => clearTimeout(linger));
  stream.resume();
  stream.once('end', () => stream.destroy());
  stream.end(BUSY_ALERT);
}

function waitOrClose(stream: Duplex, waitMs: number): Promise<void> {
  return new Promise((resolve) => {
    const over = (): void => {
      clearTimeout(timer);
      stream.off('close', over);
      resolve();
    };
    const timer = setTimeout(over, waitMs);
    stream.once('close', over);
  });
}
