import { status as Status } from '@grpc/grpc-js';
import { handleStream } from '@xylem/grpc';
import type { MessageStream, MethodBinding } from '@xylem/grpc';
import { isSignedEvidence } from '@xylem/identity';
import type { StatementVerifier } from '@xylem/identity';
import type { CloseReason, SessionReply } from '@xylem/membership';
import { RegistryService } from '@xylem/wire';
import type { registry } from '@xylem/wire';
import type { Guard } from '../authorise.ts';
import { replyToWire, requestFromWire } from '../messages.ts';
import type { Replica, SessionPort } from '../replica.ts';
import type { SecurityHub } from '../security/hub.ts';
import type { RevokedProxiesNotice } from '../security/revoked-proxies.ts';

type SessionStream = MessageStream<registry.SessionResponse, registry.SessionRequest>;

export interface SessionParts {
  readonly replica: Replica;
  readonly guard: Guard;
  readonly hub: SecurityHub;
  readonly notice: RevokedProxiesNotice;
  readonly verifier: Pick<StatementVerifier, 'membership'>;
  /** Told in the welcome; 0 for none. */
  readonly enrolPort: () => number;
}

/** RegistryService.Session: one stream of one root proxy, handed to the replica message by message. */
export function sessionHandler(parts: SessionParts): MethodBinding {
  const { replica, guard, verifier } = parts;
  return handleStream(RegistryService.session, async (stream) => {
    const port = new StreamPort(stream, parts, () => replica.flowing(session));
    const session = replica.open(guard.session(stream.peer), stream.peer.address, port);
    try {
      for await (const message of stream) {
        const request = requestFromWire(message);
        // Newer root proxies may say more than we understand.
        if (request === undefined) continue;
        const evidence = message.kind?.$case === 'evidence' ? message.kind.value : undefined;
        if (evidence !== undefined && !(await isSignedEvidence(verifier, evidence))) continue;
        replica.received(session, request);
      }
    } finally {
      port.ended();
      replica.closed(session);
    }
  });
}

/** What the replica says goes out as it comes; once it has said welcome, so does what hub and notice say. */
class StreamPort implements SessionPort {
  readonly #stream: SessionStream;
  readonly #parts: SessionParts;
  readonly #onFlowing: () => void;
  #stalled = false;
  #unsubscribe: (() => void) | undefined;

  constructor(stream: SessionStream, parts: SessionParts, onFlowing: () => void) {
    this.#stream = stream;
    this.#parts = parts;
    this.#onFlowing = onFlowing;
  }

  send(message: SessionReply, statement: string): boolean {
    const { enrolPort } = this.#parts;
    const flowing = this.#stream.send(replyToWire(message, { statement, enrolPort: enrolPort() }));
    if (message.type === 'welcome') {
      this.#unsubscribe ??= this.#subscribe();
    }
    if (!flowing && !this.#stalled) {
      this.#stalled = true;
      void this.#stream.drained().then(() => {
        this.#stalled = false;
        this.#onFlowing();
      });
    }
    return flowing;
  }

  #subscribe(): () => void {
    const { hub, notice } = this.#parts;
    const stops = [
      hub.subscribe((security) => void this.#stream.send({ kind: { $case: 'security', value: security } })),
      notice.subscribe((statement) => {
        this.#stream.send({ kind: { $case: 'revokedProxies', value: { statement } } });
      }),
    ];
    return () => {
      for (const stop of stops) stop();
    };
  }

  close(reason: CloseReason, detail: string): void {
    this.ended();
    close(this.#stream, reason, detail);
  }

  ended(): void {
    this.#unsubscribe?.();
  }
}

/** A status may overtake messages, so a stream whose last message says why ends with OK. */
function close(stream: SessionStream, reason: CloseReason, detail: string): void {
  switch (reason) {
    case 'answered':
    case 'closed':
      return stream.end();
    case 'superseded':
      return stream.cancel(detail, Status.ABORTED);
    case 'silent':
      return stream.cancel(detail, Status.DEADLINE_EXCEEDED);
    case 'store-unavailable':
      return stream.cancel(detail, Status.UNAVAILABLE);
  }
}
