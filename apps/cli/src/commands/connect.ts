import { constants } from 'node:os';
import type { Duplex } from 'node:stream';
import { FramePort, carry } from '@xylem/carrier';
import type { GrpcChannel } from '@xylem/grpc';
import { parseIdentity, signDial } from '@xylem/identity';
import type { TlsMaterial } from '@xylem/identity';
import { printable } from '@xylem/matrix';
import { parseAuthority } from '@xylem/tunnel';
import type { Authority, ConnectionEnd } from '@xylem/tunnel';
import { RawFrameMethods } from '@xylem/wire';
import { withRootProxy } from '../client.ts';
import type { ClientConfig } from '../config.ts';
import { CommandError, STATUS, statusOf } from '../exit.ts';

/** The answer may take this much longer than the dial itself: the way there and back. */
const OUTCOME_MARGIN_MS = 5_000;
const SIGNALS = ['SIGHUP', 'SIGINT', 'SIGTERM'] as const;

/** Reads `<node>.<leaf>[:port]`. Throws a CommandError with the remedy. */
export function readTarget(text: string): Authority {
  const parsed = parseAuthority(text, 'optional');
  if (parsed.ok) return parsed.authority;
  throw new CommandError(STATUS.usage, parsed.problem);
}

/**
 * Carries `socket` to the node and resolves when both directions have ended in order. Rejects with a CommandError when the
 * dial fails (status by outcome) or the connection is reset. Nothing is read before the node accepted.
 */
export async function connectTo(config: ClientConfig, target: Authority, socket: Duplex): Promise<void> {
  await withRootProxy(config, async (channel, identity) => {
    const end = await dial(
      channel,
      target,
      config.timeoutMs,
      socket,
      signedFor(channel, identity, config.domain, target),
    );
    const name = `${target.node}.${target.leaf}${target.port === 0 ? '' : `:${target.port}`}`;
    const detail = end.detail === '' ? '' : `: ${printable(end.detail)}`;
    if (end.kind === 'not-connected') {
      const outcome = end.outcome ?? 'tunnel-lost';
      const hint = statusOf(outcome) === STATUS.noHost ? '; see: xylem ls' : '';
      throw new CommandError(statusOf(outcome), `${name} ${OUTCOME_TEXT[outcome]}${detail}${hint}`);
    }
    if (end.reason === 'cancelled' && process.exitCode !== undefined) return;
    if (end.kind === 'reset') {
      const why = (await endingOf(channel)) ?? detail;
      throw new CommandError(
        STATUS.failed,
        `connection to ${name} was reset (${end.reason ?? 'unknown reason'})${why}`,
      );
    }
  });
}

/** Why the whole channel has ended, which says more than the end of a stream on it: a certificate that is over, for one. */
async function endingOf(channel: GrpcChannel): Promise<string | undefined> {
  const loss = await Promise.race([channel.lost, Promise.resolve(undefined)]);
  if (loss === undefined || loss.kind === 'broken' || loss.kind === 'closed') return undefined;
  const remedy = loss.detail.includes('certificate') ? '; log in again: xylem login' : '';
  return `: ${printable(loss.detail)}${remedy}`;
}

/** The user's signature for this dial through this root proxy; empty when the certificate is not one that signs. */
function signedFor(channel: GrpcChannel, own: TlsMaterial, domain: string, target: Authority): string {
  const identity = parseIdentity(channel.peer?.uris ?? [], domain);
  const { leaf, node, port } = target;
  return identity.kind === 'proxy' ? signDial(own, domain, { entry: identity.proxy, leaf, node, port }) : '';
}

async function dial(
  channel: GrpcChannel,
  target: Authority,
  timeoutMs: number,
  socket: Duplex,
  signed: string,
): Promise<ConnectionEnd> {
  const frames = new FramePort(channel.duplex(RawFrameMethods.dial));
  const proof = { kind: { $case: 'certificate' as const, value: { certificates: [], signed } } };
  frames.send({ kind: { $case: 'open', value: { target, hops: 0, traceparent: '', timeoutMs, user: '', proof } } });
  const carried = carry({ socket, frames, role: 'requester', outcomeTimeoutMs: timeoutMs + OUTCOME_MARGIN_MS });
  const release = onSignal(() => carried.abort('cancelled', 'the user ended it'));
  const end = await carried.closed;
  release();
  return end;
}

/** ssh ends its ProxyCommand with SIGHUP. Not an error: the far end is told, and nothing is printed. */
function onSignal(stop: () => void): () => void {
  const listeners = SIGNALS.map((signal) => {
    const listener = (): void => {
      process.exitCode = 128 + constants.signals[signal];
      stop();
    };
    process.once(signal, listener);
    return () => process.off(signal, listener);
  });
  return () => listeners.forEach((off) => off());
}

const OUTCOME_TEXT = {
  connected: 'connected',
  refused: 'refused the connection',
  'timed-out': 'did not answer in time',
  denied: 'may not be dialled',
  'no-such-node': 'is not a node of its leaf cluster',
  'no-such-leaf': 'belongs to no known leaf cluster',
  'leaf-offline': 'cannot be reached: no agent of its leaf cluster is attached',
  invalid: 'is not a valid request',
  overloaded: 'cannot be dialled now: a limit was reached',
  unreachable: 'is unreachable from its agent',
  'tunnel-lost': 'was being dialled when the tunnel was lost',
} as const;
