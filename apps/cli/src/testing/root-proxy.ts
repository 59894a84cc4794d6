import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Socket } from 'node:net';
import { connect } from 'node:net';
import { FramePort, carry, refuse } from '@xylem/carrier';
import { createServer, handleDuplex, handleUnary } from '@xylem/grpc';
import type { GrpcServer, LifetimeOptions, StatusError } from '@xylem/grpc';
import { createAuthority, memoryTlsSource, writeCertificateFile, writeKeyFile } from '@xylem/identity';
import type { Authority, Identity, TlsMaterial } from '@xylem/identity';
import type { DialOutcome } from '@xylem/tunnel';
import { AccessService, RawFrameMethods, access } from '@xylem/wire';

const DOMAIN = 'xylem.internal';
const TTL_MS = 3_600_000;
const FIRST_FRAME_MS = 5_000;

/** How the stand-in answers a dial of `<node>.<leaf>`. */
export type Answer =
  | { readonly outcome: Exclude<DialOutcome, 'connected'>; readonly detail: string }
  | { readonly port: number };

/** The user's side of a root proxy with mutual TLS, and nothing behind it but what the test says. */
export class StandInRootProxy {
  readonly answers = new Map<string, Answer>();
  status: access.GetStatusResponse = access.GetStatusResponse.fromPartial({});
  /** What GetStatus fails with. */
  refusal: StatusError | undefined;
  nodes: access.ListNodesResponse = access.ListNodesResponse.fromPartial({});
  address = '';
  readonly #authority: Authority;
  #server: GrpcServer | undefined;

  private constructor(authority: Authority) {
    this.#authority = authority;
  }

  static async start(lifetime: LifetimeOptions = {}): Promise<StandInRootProxy> {
    const authority = await createAuthority({ domain: DOMAIN });
    const proxy = new StandInRootProxy(authority);
    const own = await authority.issue({ kind: 'proxy', proxy: 'p1' }, TTL_MS);
    const server = createServer({
      lifetime,
      tls: memoryTlsSource({ ca: own.ca, cert: own.cert, key: own.key.reveal() }),
      services: [
        handleDuplex(RawFrameMethods.dial, (call) => proxy.#dial(new FramePort(call))),
        handleUnary(AccessService.listNodes, () => Promise.resolve(proxy.nodes)),
        handleUnary(AccessService.getStatus, () => {
          return proxy.refusal === undefined ? Promise.resolve(proxy.status) : Promise.reject(proxy.refusal);
        }),
      ],
    });
    proxy.#server = server;
    proxy.address = `127.0.0.1:${await server.listen('127.0.0.1:0')}`;
    return proxy;
  }

  /** Writes an identity folder; returns its path. */
  async identity(parent: string, identity: Identity, ttlMs = TTL_MS): Promise<string> {
    const folder = join(parent, JSON.stringify(identity).replace(/\W+/g, '-'));
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const issued = await this.#authority.issue(identity, ttlMs);
    writeCertificateFile(join(folder, 'ca.pem'), issued.ca);
    writeCertificateFile(join(folder, 'cert.pem'), issued.cert);
    writeKeyFile(join(folder, 'key.pem'), issued.key.reveal());
    return folder;
  }

  /** Credentials of the same authority, for another stand-in. */
  async issue(identity: Identity): Promise<TlsMaterial> {
    const { ca, cert, key } = await this.#authority.issue(identity, TTL_MS);
    return { ca, cert, key: key.reveal() };
  }

  /** Ends what every user has open, as after a revocation. */
  cut(detail: string): void {
    this.#server?.cut(() => true, detail);
  }

  async close(): Promise<void> {
    await this.#server?.close(0);
  }

  async #dial(frames: FramePort): Promise<void> {
    const first = await frames.first(FIRST_FRAME_MS);
    const open = first.kind === 'frame' && first.frame.kind?.$case === 'open' ? first.frame.kind.value : undefined;
    const answer = this.answers.get(`${open?.target?.node}.${open?.target?.leaf}`);
    if (answer === undefined) return refuse(frames, 'no-such-node', 'unknown to the stand-in');
    if ('outcome' in answer) return refuse(frames, answer.outcome, answer.detail);
    const socket = await connected(answer.port);
    await carry({ socket, frames, role: 'answerer' }).closed;
  }
}

function connected(port: number): Promise<Socket> {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  return new Promise((resolve, reject) => socket.once('connect', () => resolve(socket)).once('error', reject));
}
