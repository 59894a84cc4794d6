import { CarriedConnection, DEFAULT_CONNECTION_CONFIG } from '@xylem/tunnel';
import type {
  ConnectionConfig,
  ConnectionEffect,
  ConnectionEnd,
  ConnectionEvent,
  ConnectionStatus,
  DialOutcome,
  ResetReason,
} from '@xylem/tunnel';
import { decodeFrame, encodeDataFrame, FrameDecodeError } from '@xylem/wire';
import type { carry as wire } from '@xylem/wire';
import type { Duplex } from 'node:stream';
import { outcomeFromWire, outcomeToWire, reasonFromWire, reasonToWire } from './codes.ts';
import type { FramePort } from './frame-port.ts';
import { PacedSource } from './pace.ts';
import type { OpenLane } from './pace.ts';
import { SocketPort } from './socket-port.ts';
import { DeadlineTimer } from './timer.ts';
import { plainText } from './plain-text.ts';

export interface CarryOptions extends Partial<Omit<ConnectionConfig, 'role'>> {
  /**
   * A net.Socket made with `allowHalfOpen: true`, or any Duplex (stdin and stdout, TLS). Must not be read from before;
   * carry() owns it once the connection is open, and never touches it before.
   */
  readonly socket: Duplex;
  readonly frames: FramePort;
  readonly role: 'requester' | 'answerer';
  /**
   * `connected`: the outcome is behind us (read with `frames.first`, or there is none as in PeerService.Relay). An
   * answerer that leaves it out sends `connected` itself, first of all. A requester that leaves it out waits for it.
   */
  readonly outcome?: 'connected';
  /** An answerer's own name, for the outcome's `via`. */
  readonly via?: readonly string[];
  /** Requester: called when the node accepted, before any payload. The place to tell the user of success. */
  readonly onConnected?: () => void;
  /**
   * How to make the far end of the socket see a TCP reset, where `socket` is not itself the TCP socket (TLS). Default:
   * `resetAndDestroy` where there is one, else `destroy`.
   */
  readonly reset?: () => void;
  /** How fast the socket, and the frames, may be read. Default: as fast as the other end takes it. */
  readonly pace?: { readonly socket: OpenLane; readonly frames: OpenLane };
}

/** A connection being carried. */
export interface Carried {
  /** How it ended; resolves exactly once and never rejects. The socket and the frame stream are done with by then. */
  readonly closed: Promise<ConnectionEnd>;
  /** Gives the connection up: both TCP ends see a reset. For drain deadlines and shutdown. */
  abort(reason: ResetReason, detail: string): void;
  status(): ConnectionStatus;
}

/**
 * Carries bytes between a socket and a frame stream until both directions have ended, with back-pressure and half-close
 * both ways. Memory per direction: QUEUE_BYTES, one read of the socket, and the HTTP/2 stream window.
 */
export function carry(options: CarryOptions): Carried {
  const pump = new Pump(options);
  pump.start();
  return {
    closed: pump.closed,
    abort: (reason, detail) => pump.event({ type: 'abortRequested', reason, detail }),
    status: () => pump.core.status(),
  };
}

const NO_PAYLOAD: Uint8Array = new Uint8Array(0);

/** The shell of one CarriedConnection: turns frames and socket events into events, effects into I/O. */
class Pump {
  readonly core: CarriedConnection;
  readonly closed: Promise<ConnectionEnd>;
  readonly #options: CarryOptions;
  readonly #frames: FramePort;
  readonly #socket: SocketPort;
  readonly #fromSocket: PacedSource;
  readonly #fromFrames: PacedSource;
  readonly #timer = new DeadlineTimer(() => this.event({ type: 'timeout' }));
  #resolve: (end: ConnectionEnd) => void = () => {};
  /** The payload of the event being handled. */
  #payload: Uint8Array = NO_PAYLOAD;

  constructor(options: CarryOptions) {
    this.#options = options;
    this.#frames = options.frames;
    const { role, ...rest } = options;
    const config: ConnectionConfig = {
      role,
      outcomeTimeoutMs: rest.outcomeTimeoutMs ?? DEFAULT_CONNECTION_CONFIG.outcomeTimeoutMs,
      idleTimeoutMs: rest.idleTimeoutMs ?? DEFAULT_CONNECTION_CONFIG.idleTimeoutMs,
      flushTimeoutMs: rest.flushTimeoutMs ?? DEFAULT_CONNECTION_CONFIG.flushTimeoutMs,
      resetTimeoutMs: rest.resetTimeoutMs ?? DEFAULT_CONNECTION_CONFIG.resetTimeoutMs,
    };
    this.core = new CarriedConnection(config, performance.now());
    this.closed = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.#socket = new SocketPort(options.socket, options.reset, {
      read: (bytes) => {
        this.#payload = bytes;
        this.event({ type: 'socketRead', bytes: bytes.length });
        this.#fromSocket.passed(bytes.length);
      },
      ended: () => this.event({ type: 'socketEnded' }),
      writable: () => this.#fromFrames.resume(),
      flushed: () => this.event({ type: 'socketFlushed' }),
      failed: (detail) => this.event({ type: 'socketFailed', detail }),
    });
    this.#fromSocket = new PacedSource(this.#socket, options.pace?.socket);
    this.#fromFrames = new PacedSource(options.frames, options.pace?.frames);
  }

  start(): void {
    if (this.#options.outcome === 'connected') this.event({ type: 'connectedBefore' });
    else if (this.#options.role === 'answerer')
      this.event({ type: 'outcomeDecided', outcome: 'connected', detail: '' });
    else this.#timer.arm(this.core.nextTimeout());
    this.#frames.listen({
      frame: (bytes) => {
        this.#frame(bytes);
        this.#fromFrames.passed(bytes.length);
      },
      writable: () => this.#fromSocket.resume(),
      over: ({ orderly, detail }) => this.event({ type: 'framesEnded', orderly, detail }),
    });
  }

  event(event: ConnectionEvent): void {
    this.core.handle(event, performance.now());
    for (let effect = this.core.pollEffect(); effect !== undefined; effect = this.core.pollEffect())
      this.#perform(effect);
    this.#payload = NO_PAYLOAD;
    this.#timer.arm(this.core.nextTimeout());
  }

  #frame(bytes: Buffer): void {
    let frame: wire.Frame;
    try {
      frame = decodeFrame(bytes);
    } catch (error) {
      if (!(error instanceof FrameDecodeError)) throw error;
      return this.event({ type: 'frameInvalid', detail: error.message });
    }
    const { kind } = frame;
    switch (kind?.$case) {
      case 'data':
        this.#payload = kind.value;
        return this.event({ type: 'dataReceived', bytes: kind.value.length });
      case 'end':
        return this.event({ type: 'endReceived', totalBytes: kind.value.totalBytes });
      case 'reset':
        return this.event({
          type: 'resetReceived',
          reason: reasonFromWire(kind.value.reason),
          detail: plainText(kind.value.detail),
        });
      case 'outcome':
        return this.#outcome(kind.value);
      case 'open':
        return this.event({ type: 'frameInvalid', detail: 'an open frame came after the start' });
      default:
        return this.event({ type: 'frameInvalid', detail: 'a frame of unknown kind came' });
    }
  }

  #outcome({ code, detail }: wire.Outcome): void {
    const outcome: DialOutcome | undefined = outcomeFromWire(code);
    if (outcome === undefined)
      return this.event({ type: 'frameInvalid', detail: `an outcome with unknown code ${code} came` });
    this.event({ type: 'outcomeReceived', outcome, detail: plainText(detail) });
  }

  #perform(effect: ConnectionEffect): void {
    switch (effect.type) {
      case 'sendData':
        if (!this.#frames.sendRaw(encodeDataFrame(this.#payload))) this.#fromSocket.pause();
        return;
      case 'deliver':
        if (!this.#socket.write(this.#payload)) this.#fromFrames.pause();
        return;
      case 'sendOutcome':
        this.#send({
          $case: 'outcome',
          value: { code: outcomeToWire(effect.outcome), detail: effect.detail, via: [...(this.#options.via ?? [])] },
        });
        return;
      case 'startPumping':
        this.#options.onConnected?.();
        return this.#socket.start();
      case 'sendEnd':
        return this.#send({ $case: 'end', value: { totalBytes: effect.totalBytes } });
      case 'sendReset':
        return this.#send({ $case: 'reset', value: { reason: reasonToWire(effect.reason), detail: effect.detail } });
      case 'endSocket':
        return this.#socket.end();
      case 'resetSocket':
        return this.#socket.reset();
      case 'endFrames':
        // An ending connection still reads, so that the other side's ending gets through a full buffer.
        this.#fromFrames.resume();
        return this.#frames.end();
      case 'cancelFrames':
        return this.#frames.cancel(effect.detail);
      case 'closed':
        this.#timer.stop();
        this.#fromSocket.close();
        this.#fromFrames.close();
        return this.#resolve(effect.end);
    }
  }

  #send(kind: NonNullable<wire.Frame['kind']>): void {
    this.#frames.send({ kind });
  }
}
