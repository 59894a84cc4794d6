import { Duplex } from 'node:stream';
import type { FramePort, FramesOver } from '@xylem/carrier';
import { carry, decodeFrame, encodeDataFrame, FrameDecodeError } from '@xylem/wire';

/** The other end of a relay gave it up, or the way to it was lost. */
class RelayLost extends Error {
  override readonly name = 'RelayLost';
}

/** carry.proto: greatest payload of one data frame. */
const MAX_PAYLOAD_BYTES = 65_536;
/**
 * How long the last frames may take to leave once it is destroyed, as in a carried connection: a relaying proxy whose
 * agent reads nothing would never take them, and both ends would keep the relay for ever.
 */
const LEAVE_TIMEOUT_MS = { reset: 1_000, end: 300_000 } as const;
/** Read ahead of whoever consumes the bytes; the HTTP/2 stream window comes on top. */
const HIGH_WATER_BYTES = 256 * 1_024;

/**
 * The answering end of a relay as a byte stream: data, end and reset frames on one gRPC stream, with back-pressure both
 * ways. Half-close is kept; destroying it is a reset at the other end, and a stream that ends without `end` is one here.
 */
export class FrameDuplex extends Duplex {
  readonly #frames: FramePort;
  #sentBytes = 0;
  #receivedBytes = 0;
  #endSent = false;
  #endReceived = false;
  #leaving: NodeJS.Timeout | undefined;
  /** Continues the write that waits for room in the stream. */
  #proceed: (() => void) | undefined;

  constructor(frames: FramePort) {
    super({ allowHalfOpen: true, highWaterMark: HIGH_WATER_BYTES });
    this.#frames = frames;
    frames.listen({
      frame: (bytes) => this.#received(bytes),
      writable: () => this.#wake(),
      over: (end) => this.#over(end),
    });
  }

  override _read(): void {
    this.#frames.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    let room = true;
    for (let at = 0; at < chunk.length; at += MAX_PAYLOAD_BYTES) {
      const payload = chunk.subarray(at, at + MAX_PAYLOAD_BYTES);
      this.#sentBytes += payload.length;
      room = this.#frames.sendRaw(encodeDataFrame(payload));
    }
    if (room) done();
    else this.#proceed = done;
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#endSent = true;
    this.#frames.send({ kind: { $case: 'end', value: { totalBytes: BigInt(this.#sentBytes) } } });
    this.#endWhenBothEnded();
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const clean = this.#endSent && this.#endReceived;
    if (!clean) {
      const value = { reason: carry.Reason.REASON_PEER_RESET, detail: error?.message ?? 'the connection was closed' };
      this.#frames.send({ kind: { $case: 'reset', value } });
      this.#frames.end();
    }
    if (this.#frames.over === undefined) this.#leaveWithin(clean ? LEAVE_TIMEOUT_MS.end : LEAVE_TIMEOUT_MS.reset);
    // What still arrives is thrown away, so that the stream can end.
    this.#frames.resume();
    this.#wake();
    done(error);
  }

  #leaveWithin(timeoutMs: number): void {
    this.#leaving = setTimeout(() => this.#frames.cancel('the end of the relay was not taken in time'), timeoutMs);
    this.#leaving.unref();
  }

  #received(bytes: Buffer): void {
    if (this.destroyed) return;
    const kind = this.#decode(bytes);
    switch (kind?.$case) {
      case 'data':
        return this.#data(kind.value);
      case 'end':
        return this.#end(kind.value.totalBytes);
      case 'reset':
        this.destroy(new RelayLost(kind.value.detail));
        return;
      default:
        this.destroy(new RelayLost('the relay carried a frame that has no place in it'));
    }
  }

  #decode(bytes: Buffer): carry.Frame['kind'] {
    try {
      return decodeFrame(bytes).kind;
    } catch (error) {
      if (error instanceof FrameDecodeError) return undefined;
      throw error;
    }
  }

  #data(payload: Uint8Array): void {
    this.#receivedBytes += payload.length;
    if (this.#endReceived) this.destroy(new RelayLost('the relay carried data after its end'));
    else if (!this.push(payload)) this.#frames.pause();
  }

  #end(totalBytes: bigint): void {
    if (this.#endReceived || totalBytes !== BigInt(this.#receivedBytes)) {
      this.destroy(new RelayLost(`${totalBytes} bytes were relayed and ${this.#receivedBytes} arrived`));
      return;
    }
    this.#endReceived = true;
    this.push(null);
    this.#endWhenBothEnded();
  }

  #over(end: FramesOver): void {
    clearTimeout(this.#leaving);
    if (!this.#endReceived || !this.#endSent) this.destroy(new RelayLost(end.detail));
  }

  /** Ending a server's call ends both directions of it. */
  #endWhenBothEnded(): void {
    if (this.#endSent && this.#endReceived) this.#frames.end();
  }

  #wake(): void {
    const proceed = this.#proceed;
    this.#proceed = undefined;
    proceed?.();
  }
}
