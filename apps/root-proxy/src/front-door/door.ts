import { carry } from '@xylem/carrier';
import type { Carried } from '@xylem/carrier';
import { describeIdentity, parseIdentity } from '@xylem/identity';
import type { UserProofs } from '@xylem/identity';
import { ATTRIBUTE, SPAN } from '@xylem/telemetry';
import type { SpanHandle, Tracing } from '@xylem/telemetry';
import type { Dials } from '../dials/dials.ts';
import type { DialAnswer, DialOrder, Ending, OpenConnection } from '../dials/types.ts';
import { ANONYMOUS_PROOF, certificateProof, tokenProof } from '../security/proof.ts';
import { LOGIN_WANTED, refusalOf, renderConnected, tokenRefused } from './answer.ts';
import type { Refusal } from './answer.ts';
import { answerAndClose } from './server.ts';
import type { FrontDoorRequest } from './server.ts';

/** Who may dial without a user certificate. */
export type AnonymousPolicy = 'never' | 'loopback' | 'always';

export interface FrontDoorPorts {
  readonly dials: Pick<Dials, 'dial'>;
  /** Verifies access tokens. */
  readonly proofs: Pick<UserProofs, 'verify'>;
  readonly tracing: Tracing;
  /** Told the status of every answer to a CONNECT request. */
  readonly onAnswer: (request: FrontDoorRequest, user: string, status: number, reason: string) => void;
}

type Admission = { readonly ok: true; readonly caller: Caller } | { readonly ok: false; readonly refusal: Refusal };

type Caller = Pick<DialOrder, 'user' | 'proof'>;

/** Turns CONNECT requests into dials, and their outcomes into HTTP answers: success only after the node answered. */
export class FrontDoor {
  readonly #domain: string;
  readonly #anonymous: AnonymousPolicy;
  readonly #ports: FrontDoorPorts;

  constructor(domain: string, anonymous: AnonymousPolicy, ports: FrontDoorPorts) {
    this.#domain = domain;
    this.#anonymous = anonymous;
    this.#ports = ports;
  }

  /** Takes over the request's sockets. */
  async serve(request: FrontDoorRequest): Promise<void> {
    const admission = await this.#admit(request);
    // The client went away meanwhile.
    if (request.socket.destroyed) return;
    if (!admission.ok) return this.#refuse(request, '', admission.refusal);
    const { caller } = admission;
    const { user } = caller;
    const span = this.#startSpan(request, user);
    const answer = await this.#dial(request, caller, span);
    if (answer === undefined) return span.end();
    span.setAttribute(ATTRIBUTE.outcome, answer.outcome);
    span.setAttribute(ATTRIBUTE.via, answer.via.join(','));
    if (answer.outcome === 'connected') {
      this.#ports.onAnswer(request, user, 200, '');
      this.#carry(request, answer.connection, answer.via);
    } else {
      span.fail(answer.detail);
      this.#refuse(request, user, refusalOf(answer.outcome, answer.detail));
    }
    span.end();
  }

  /** By the token, by the certificate, or as nobody in particular. Who shows both has to be the same in both. */
  async #admit(request: FrontDoorRequest): Promise<Admission> {
    const { login } = request;
    if (login.kind === 'none') return this.#admitByCertificate(request);
    const verdict = await this.#ports.proofs.verify({ kind: 'token', token: login.token });
    if (verdict.kind === 'refused') return { ok: false, refusal: tokenRefused(verdict.detail) };
    const { user = '', notAfterMs } = verdict;
    const byCertificate = request.uris.length > 0 ? this.#admitByCertificate(request) : undefined;
    if (byCertificate?.ok === false) return byCertificate;
    const names = [login.user ?? user, byCertificate?.caller.user ?? user];
    if (names.some((name) => name !== user)) {
      return { ok: false, refusal: tokenRefused(`the access token is that of user ${user}, not of who shows it`) };
    }
    if (notAfterMs !== undefined) request.endAfter(notAfterMs);
    return { ok: true, caller: { user, proof: tokenProof(login.token) } };
  }

  #admitByCertificate({ uris, certificates, loopback }: FrontDoorRequest): Admission {
    if (uris.length > 0) {
      const identity = parseIdentity(uris, this.#domain);
      if (identity.kind === 'user') {
        return { ok: true, caller: { user: identity.user, proof: certificateProof(certificates, '') } };
      }
      const who =
        identity.kind === 'problem'
          ? identity.detail
          : `the certificate is that of ${describeIdentity(identity)}, not of a user`;
      return { ok: false, refusal: { status: 403, outcome: 'denied', reason: who } };
    }
    const anonymous = this.#anonymous === 'always' || (this.#anonymous === 'loopback' && loopback);
    return anonymous
      ? { ok: true, caller: { user: '', proof: ANONYMOUS_PROOF } }
      : { ok: false, refusal: LOGIN_WANTED };
  }

  #startSpan({ authority }: FrontDoorRequest, user: string): SpanHandle {
    return this.#ports.tracing.startSpan(SPAN.frontDoor, {
      kind: 'server',
      attributes: {
        [ATTRIBUTE.leaf]: authority.leaf,
        [ATTRIBUTE.node]: authority.node,
        [ATTRIBUTE.port]: authority.port,
        [ATTRIBUTE.user]: user,
      },
    });
  }

  /** undefined: the client went away first. */
  async #dial(
    { authority, socket, source }: FrontDoorRequest,
    { user, proof }: Caller,
    span: SpanHandle,
  ): Promise<DialAnswer | undefined> {
    const { traceparent } = span;
    const dial = this.#ports.dials.dial({ ...authority, user, proof, source, hops: 0, timeoutMs: 0, traceparent });
    const gone = Promise.withResolvers<undefined>();
    const onClose = (): void => {
      dial.abandon();
      gone.resolve(undefined);
    };
    socket.once('close', onClose);
    if (socket.destroyed) onClose();
    // Starts reading into the socket's bounded buffer, without which a client that hangs up would not be noticed.
    socket.read(0);
    const answer = await Promise.race([dial.answer, gone.promise]);
    socket.off('close', onClose);
    return answer;
  }

  #carry(request: FrontDoorRequest, connection: OpenConnection, via: readonly string[]): void {
    const { socket, rawSocket } = request;
    const carried = carry({
      socket,
      frames: connection.frames,
      role: 'requester',
      outcome: 'connected',
      pace: { socket: connection.lane, frames: connection.lane },
      onConnected: () => void socket.write(renderConnected(via)),
      reset: () => {
        rawSocket.resetAndDestroy();
        socket.destroy();
      },
    });
    connection.join(endingOf(carried));
  }

  #refuse(request: FrontDoorRequest, user: string, refusal: Refusal): void {
    this.#ports.onAnswer(request, user, refusal.status, refusal.reason);
    answerAndClose(request.socket, refusal);
  }
}

/** Seen from the user's end: what the socket sent went up to the node. */
function endingOf(carried: Carried): Ending {
  const closed = carried.closed.then(({ kind, reason, detail, sentBytes, receivedBytes }) => {
    return { kind, reason, detail, upBytes: sentBytes, downBytes: receivedBytes };
  });
  const totals = () => {
    const { sentBytes, receivedBytes } = carried.status();
    return { upBytes: sentBytes, downBytes: receivedBytes };
  };
  return { closed, totals, abort: (reason, detail) => carried.abort(reason, detail) };
}
