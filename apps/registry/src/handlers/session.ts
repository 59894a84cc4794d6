import { status as Status } from '@grpc/grpc-js';
import { handleStream } from '@xylem/grpc';
import type { MessageStream, MethodBinding } from '@xylem/grpc';
import type { CloseReason } from '@xylem/membership';
import { RegistryService } from '@xylem/wire';
import type { registry } from '@xylem/wire';
import type { Authorise } from '../authorise.ts';
import { replyToWire, requestFromWire } from '../messages.ts';
import type { Replica, SessionPort } from '../replica.ts';

type SessionStream = MessageStream<registry.SessionResponse, registry.SessionRequest>;

/** RegistryService.Session: one stream of one root proxy, handed to the replica message by message. */
export function sessionHandler(replica: Replica, authorise: Authorise): MethodBinding {
  return handleStream(RegistryService.session, async (stream) => {
    const session = replica.open(
      authorise(stream.peer),
      stream.peer.address,
      portOf(stream, () => replica.flowing(session)),
    );
    try {
      for await (const message of stream) {
        const request = requestFromWire(message);
        // Newer root proxies may say more than we understand.
        if (request !== undefined) replica.received(session, request);
      }
    } finally {
      replica.closed(session);
    }
  });
}

function portOf(stream: SessionStream, onFlowing: () => void): SessionPort {
  let stalled = false;
  return {
    send(message, statement) {
      const flowing = stream.send(replyToWire(message, statement));
      if (!flowing && !stalled) {
        stalled = true;
        void stream.drained().then(() => {
          stalled = false;
          onFlowing();
        });
      }
      return flowing;
    },
    close: (reason, detail) => close(stream, reason, detail),
  };
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
