import type { DialOutcome } from '@xylem/tunnel';
import type { HostPort } from '@xylem/service';
import { connect, isIP } from 'node:net';
import type { Socket } from 'node:net';
import { systemResolver } from './resolve.ts';
import type { Resolver } from './resolve.ts';
import { isSpecialAddress } from './special-addresses.ts';

export type NodeConnection =
  | { readonly kind: 'connected'; readonly socket: Socket }
  /** `detail` is one line for the user: it never holds an address of the leaf cluster. */
  | { readonly kind: 'failed'; readonly outcome: Exclude<DialOutcome, 'connected'>; readonly detail: string };

export interface ConnectOptions {
  readonly address: HostPort;
  /** For resolving and connecting together. */
  readonly timeoutMs: number;
  /** Gives the attempt up; the answer is then `timed-out` and nobody reads it. */
  readonly signal: AbortSignal;
  /** Default: hosts file and name servers of the system. */
  readonly resolve?: Resolver;
}

/**
 * Connects to a listed address: at most one look-up, every answer checked, then one connect() to a checked address, so
 * that a second look-up cannot lead elsewhere. Never rejects. The socket keeps half-close.
 */
export async function connectNode(options: ConnectOptions): Promise<NodeConnection> {
  const { address, signal } = options;
  const giveUp = new AbortController();
  const onAbort = (): void => giveUp.abort();
  const timer = setTimeout(onAbort, options.timeoutMs);
  signal.addEventListener('abort', onAbort);
  if (signal.aborted) onAbort();
  try {
    const target = await resolveChecked(address.host, options.resolve ?? systemResolver, giveUp.signal);
    return typeof target === 'string' ? await connectOnce(target, address.port, giveUp.signal) : target;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

async function resolveChecked(
  host: string,
  resolve: Resolver,
  deadline: AbortSignal,
): Promise<string | NodeConnection> {
  if (isIP(host) !== 0) return host;
  // The operator means this machine, whatever a resolver says.
  if (host === 'localhost') return '127.0.0.1';
  let addresses: readonly string[];
  try {
    addresses = await Promise.race([resolve(host, deadline), aborted(deadline)]);
  } catch (error) {
    if (deadline.aborted) return failed('timed-out', "the node's name was not resolved in time");
    const code = codeOf(error);
    return failed('unreachable', `the node's name cannot be resolved${code === '' ? '' : ` (${code})`}`);
  }
  const [first] = addresses;
  if (first === undefined) return failed('unreachable', "the node's name has no address");
  if (addresses.some(isSpecialAddress)) {
    return failed(
      'denied',
      "the node's name leads to a loopback, link-local or otherwise special address; the agent must list such an address itself",
    );
  }
  return first;
}

function connectOnce(host: string, port: number, deadline: AbortSignal): Promise<NodeConnection> {
  if (deadline.aborted) return Promise.resolve(failed('timed-out', 'the node did not answer in time'));
  return new Promise((settle) => {
    const socket = connect({
      host,
      port,
      allowHalfOpen: true,
      autoSelectFamily: false,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: 60_000,
    });
    const finish = (result: NodeConnection): void => {
      deadline.removeEventListener('abort', onAbort);
      socket.removeListener('error', onError);
      socket.removeListener('connect', onConnect);
      if (result.kind === 'failed') socket.on('error', () => {}).destroy();
      settle(result);
    };
    const onConnect = (): void => finish({ kind: 'connected', socket });
    const onError = (error: Error): void => finish(failureOf(codeOf(error)));
    const onAbort = (): void => finish(failed('timed-out', 'the node did not answer in time'));
    socket.once('connect', onConnect);
    socket.once('error', onError);
    deadline.addEventListener('abort', onAbort);
  });
}

function failureOf(code: string): NodeConnection {
  switch (code) {
    case 'ECONNREFUSED':
    case 'ECONNRESET':
      return failed('refused', "the node's host refused the connection");
    case 'ETIMEDOUT':
      return failed('timed-out', 'the node did not answer in time');
    case 'EACCES':
    case 'EPERM':
      return failed('denied', "the agent's host does not permit this connection");
    case 'EMFILE':
    case 'ENFILE':
    case 'ENOBUFS':
    case 'EADDRNOTAVAIL':
      return failed('overloaded', `the agent's host has no room for another connection (${code})`);
    default:
      return failed('unreachable', `the agent cannot reach the node's host${code === '' ? '' : ` (${code})`}`);
  }
}

function failed(
  outcome: Exclude<DialOutcome, 'connected'>,
  detail: string,
): NodeConnection & { readonly kind: 'failed' } {
  return { kind: 'failed', outcome, detail };
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const fail = (): void => reject(new Error('given up'));
    if (signal.aborted) fail();
    else signal.addEventListener('abort', fail, { once: true });
  });
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}
