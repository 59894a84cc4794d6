import { FramePort } from '@xylem/carrier';
import type { GrpcChannel } from '@xylem/grpc';
import { health } from '@xylem/wire';
import type { RawFrameMethods } from '@xylem/wire';

type FrameMethod = (typeof RawFrameMethods)[keyof typeof RawFrameMethods];

/**
 * A peer whose host went away without a word is noticed within 10 s: two checks in a row without an answer. The interval
 * is jittered, so that peers do not ask in step.
 */
const CHECK = { intervalMs: 2_500, deadlineMs: 3_000, failures: 2 } as const;

/** One connection to a peer and the users' connections that run over it. */
export class PeerConnection {
  readonly channel: GrpcChannel;
  readonly #intervalMs: number;
  #open = 0;
  #retired = false;
  #failures = 0;
  #lost = false;
  #check: NodeJS.Timeout;

  constructor(channel: GrpcChannel, checkIntervalMs: number = CHECK.intervalMs) {
    this.channel = channel;
    this.#intervalMs = checkIntervalMs;
    this.#check = this.#nextCheck();
    void channel.lost.then(() => {
      this.#lost = true;
      clearTimeout(this.#check);
    });
  }

  /** Opens a frame stream; undefined when the connection went in this very turn. */
  open(method: FrameMethod, metadata?: Readonly<Record<string, string>>): FramePort | undefined {
    let stream;
    try {
      stream = this.channel.duplex(method, metadata);
    } catch {
      // The channel is closed, which `lost` tells as well.
      return undefined;
    }
    this.#open += 1;
    stream.once('status', () => {
      this.#open -= 1;
      this.#closeWhenIdle();
    });
    return new FramePort(stream);
  }

  /** Nothing new will be opened: closes as soon as what runs over it has ended. Idempotent. */
  retire(): void {
    this.#retired = true;
    this.#closeWhenIdle();
  }

  #closeWhenIdle(): void {
    if (this.#retired && this.#open === 0) this.channel.close();
  }

  #nextCheck(): NodeJS.Timeout {
    return setTimeout(() => void this.#ask(), this.#intervalMs * (0.75 + Math.random() / 2));
  }

  async #ask(): Promise<void> {
    const alive = await this.channel.unary(health.HealthService.check, { service: '' }, CHECK.deadlineMs).then(
      () => true,
      () => false,
    );
    // After a GOAWAY nothing new is answered, and what is open finishes: no sign of life is to be had, none is missed.
    if (this.#lost) return;
    this.#failures = alive ? 0 : this.#failures + 1;
    if (this.#failures >= CHECK.failures) this.channel.close();
    else this.#check = this.#nextCheck();
  }
}
