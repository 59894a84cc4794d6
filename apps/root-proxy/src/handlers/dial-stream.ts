import type { ServerDuplexStream } from '@grpc/grpc-js';
import { FramePort, refuse, sendOutcome, splice } from '@xylem/carrier';
import { isName } from '@xylem/discovery';
import { ATTRIBUTE } from '@xylem/telemetry';
import type { SpanName, Tracing } from '@xylem/telemetry';
import type { carry } from '@xylem/wire';
import type { Dials } from '../dials/dials.ts';
import type { DialAnswer, DialOrder } from '../dials/types.ts';

/** How long a requester may take for its first frame. */
const OPEN_TIMEOUT_MS = 10_000;
const MAX_TRACEPARENT = 64;

export interface DialStreamOptions {
  readonly dials: Pick<Dials, 'dial'>;
  readonly tracing: Tracing;
  readonly span: SpanName;
  /** What of the request is the caller's to say: makes the order, or says in one line why there is none. */
  readonly order: (
    open: carry.Open,
  ) => Pick<DialOrder, 'user' | 'proof' | 'source' | 'hops'> | { readonly problem: string };
}

/** Serves one stream that begins with `open`: AccessService.Dial and PeerService.Forward. */
export async function serveDialStream(
  call: ServerDuplexStream<Buffer, Buffer>,
  options: DialStreamOptions,
): Promise<void> {
  const frames = new FramePort(call);
  const first = await frames.first(OPEN_TIMEOUT_MS);
  if (first.kind !== 'frame' || first.frame.kind?.$case !== 'open')
    return refuse(frames, 'invalid', 'the first frame must be open');
  const open = first.frame.kind.value;
  const caller = options.order(open);
  if ('problem' in caller) return refuse(frames, 'invalid', caller.problem);
  const problem = checkTarget(open.target);
  if (problem !== undefined || open.target === undefined)
    return refuse(frames, 'invalid', problem ?? 'open names no target');
  const { leaf, node, port } = open.target;
  const span = options.tracing.startSpan(options.span, {
    kind: 'server',
    traceparent: open.traceparent.length > MAX_TRACEPARENT ? '' : open.traceparent,
    attributes: {
      [ATTRIBUTE.leaf]: leaf,
      [ATTRIBUTE.node]: node,
      [ATTRIBUTE.port]: port,
      [ATTRIBUTE.user]: caller.user,
    },
  });
  const { timeoutMs } = open;
  const dial = options.dials.dial({ leaf, node, port, timeoutMs, ...caller, traceparent: span.traceparent });
  call.once('cancelled', () => {
    dial.abandon();
    span.end();
  });
  const answer = await dial.answer;
  span.setAttribute(ATTRIBUTE.outcome, answer.outcome);
  if (answer.outcome !== 'connected') span.fail(answer.detail);
  span.end();
  answerDial(frames, answer);
}

function answerDial(frames: FramePort, answer: DialAnswer): void {
  if (answer.outcome !== 'connected') return refuse(frames, answer.outcome, answer.detail, answer.via);
  sendOutcome(frames, 'connected', '', answer.via);
  const { connection } = answer;
  const { frames: answerer, lane } = connection;
  connection.join(splice({ requester: frames, answerer, pace: { requester: lane, answerer: lane } }));
}

function checkTarget(target: carry.Target | undefined): string | undefined {
  if (target === undefined) return 'open names no target';
  if (!isName(target.leaf)) return 'target.leaf is not a name: 1 to 63 of a-z, 0-9 and "-"';
  if (!isName(target.node)) return 'target.node is not a name: 1 to 63 of a-z, 0-9 and "-"';
  if (target.port > 65_535) return `target.port ${target.port} is not within 1 to 65535`;
  return undefined;
}
