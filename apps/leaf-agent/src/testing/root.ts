import { FramePort } from '@xylem/carrier';
import { createServer, handleDuplex, handleStream } from '@xylem/grpc';
import type { GrpcServer, MessageStream } from '@xylem/grpc';
import { createAuthority, memoryTlsSource } from '@xylem/identity';
import type { Authority, DialGrant } from '@xylem/identity';
import { RawFrameMethods, TunnelService } from '@xylem/wire';
import type { carry, tunnel } from '@xylem/wire';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SigningRegistry } from './registry.ts';

/** A root proxy that does what a test tells it: a double of the peer protocol, not of the product's proxy. */
export interface ScriptedRoot {
  readonly port: number;
  readonly registry: SigningRegistry;
  /** The next agent's control stream, with its hello read. Rejects when none comes in time. */
  attached(): Promise<ScriptedTunnel>;
  /** The next Carry stream. */
  carried(): Promise<{ readonly connection: string; readonly frames: FramePort }>;
  close(): Promise<void>;
}

export interface ScriptedTunnel {
  readonly hello: tunnel.AgentHello;
  readonly stream: MessageStream<tunnel.AttachResponse, tunnel.AttachRequest>;
  send(kind: NonNullable<tunnel.AttachResponse['kind']>): void;
  /** Asks for a dial with the grant that a registry gives for it, changed or replaced by `grant`. */
  dial(request: Omit<tunnel.DialRequest, 'grant'>, grant?: Partial<DialGrant> | string): void;
  welcome(changes?: Partial<tunnel.ProxyWelcome>): void;
  /** Welcomes, grants the claim and gossips that this proxy is the only one. */
  accept(changes?: Partial<tunnel.ProxyWelcome>): void;
  /** The next message of this kind; others are skipped. */
  next<Case extends RequestCase>($case: Case): Promise<Extract<RequestKind, { $case: Case }>>;
  /** Resolves when the stream is over. */
  readonly over: Promise<void>;
}

type RequestKind = NonNullable<tunnel.AttachRequest['kind']>;
type RequestCase = RequestKind['$case'];

export const DOMAIN = 'xylem.internal';
const WAIT_MS = 5_000;

/** Rejects when `promise` takes longer than tests should wait. */
export function soon<T>(promise: Promise<T>, what: string): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`waited ${WAIT_MS} ms for ${what}`)), WAIT_MS);
  return Promise.race([promise, late.promise]).finally(() => clearTimeout(timer));
}

/** Hands things from where they happen to who awaits them, in order. */
export class Mailbox<T> {
  readonly #items: T[] = [];
  readonly #waiting: ((item: T) => void)[] = [];

  put(item: T): void {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#items.push(item);
    else waiting(item);
  }

  take(what: string): Promise<T> {
    const item = this.#items.shift();
    return item === undefined
      ? soon(new Promise((resolve) => this.#waiting.push(resolve)), what)
      : Promise.resolve(item);
  }
}

export async function startScriptedRoot(authority: Authority, proxy = 'p1', ttlMs = 3_600_000): Promise<ScriptedRoot> {
  const issued = await authority.issue({ kind: 'proxy', proxy }, ttlMs);
  const registry = await SigningRegistry.of(authority);
  const attached = new Mailbox<ScriptedTunnel>();
  const carried = new Mailbox<{ connection: string; frames: FramePort }>();
  const server: GrpcServer = createServer({
    tls: memoryTlsSource({ ca: issued.ca, cert: issued.cert, key: issued.key.reveal() }),
    services: [
      handleStream(TunnelService.attach, (stream) =>
        scripted(stream, proxy, registry, (tunnel) => attached.put(tunnel)),
      ),
      handleDuplex(RawFrameMethods.carry, (call) => {
        carried.put({ connection: String(call.metadata.get('xylem-connection')[0]), frames: new FramePort(call) });
      }),
    ],
  });
  const port = await server.listen('127.0.0.1:0');
  return {
    port,
    registry,
    attached: () => attached.take('an agent to attach'),
    carried: () => carried.take('a carry stream'),
    close: () => server.close(0),
  };
}

async function scripted(
  stream: MessageStream<tunnel.AttachResponse, tunnel.AttachRequest>,
  proxy: string,
  registry: SigningRegistry,
  started: (tunnel: ScriptedTunnel) => void,
): Promise<void> {
  const inbox = new Mailbox<RequestKind>();
  const over = Promise.withResolvers<void>();
  const send = (kind: NonNullable<tunnel.AttachResponse['kind']>): void => void stream.send({ kind });
  const welcome = (changes: Partial<tunnel.ProxyWelcome> = {}): void => {
    const base = {
      version: 1,
      proxy,
      incarnation: 7n,
      pingIntervalMs: 5_000,
      deadAfterMs: 10_000,
      via: '',
      claimsPerProxy: 1,
      software: 'test',
    };
    send({ $case: 'welcome', value: { ...base, ...changes } });
  };
  for await (const { kind } of stream) {
    if (kind === undefined) continue;
    if (kind.$case === 'ping') send({ $case: 'pong', value: kind.value });
    if (kind.$case !== 'hello') {
      inbox.put(kind);
      continue;
    }
    started({
      hello: kind.value,
      stream,
      send,
      dial: (request, grant = {}) => {
        const text =
          typeof grant === 'string' ? grant : registry.grant({ ...wanted(request, kind.value, proxy), ...grant });
        send({ $case: 'dialRequest', value: { ...request, grant: text } });
      },
      welcome,
      accept: (changes) => {
        welcome(changes);
        send({ $case: 'claimGranted', value: { slot: 0 } });
        send({ $case: 'discoveryRequest', value: onlyProxy(registry, proxy) });
      },
      next: async ($case) => {
        for (;;) {
          const message = await inbox.take(`a ${$case} from the agent`);
          if (isCase(message, $case)) return message;
        }
      },
      over: over.promise,
    });
  }
  over.resolve();
}

function isCase<Case extends RequestCase>(
  kind: RequestKind,
  $case: Case,
): kind is Extract<RequestKind, { $case: Case }> {
  return kind.$case === $case;
}

/** What the grant for a dial says. */
function wanted(
  { connection, target, user }: Omit<tunnel.DialRequest, 'grant'>,
  { agent, instanceNonce }: tunnel.AgentHello,
  proxy: string,
): DialGrant {
  return {
    user: user === '' ? undefined : user,
    leaf: target?.leaf ?? '',
    agent,
    instance: instanceNonce,
    proxy,
    node: target?.node ?? '',
    port: target?.port ?? 0,
    connection,
    policyVersion: 1,
  };
}

export function proxyInfo(id: string, incarnation = 7n): tunnel.ProxyInfo {
  return { id, incarnation, state: 1, generation: 0 };
}

export function onlyProxy(registry: SigningRegistry, id: string, revision = 10n): tunnel.DiscoveryRequest {
  return registry.snapshot({ epoch: 1n, revision }, [proxyInfo(id)]);
}

/** The outcome that the agent sent first on a Carry stream. */
export async function outcomeOf(frames: FramePort): Promise<carry.Outcome> {
  const first = await frames.first(WAIT_MS);
  if (first.kind !== 'frame' || first.frame.kind?.$case !== 'outcome')
    throw new Error(`no outcome came first: ${first.kind}`);
  return first.frame.kind.value;
}

/** A certificate authority and the files of one agent, in a directory of their own. */
export interface TestIdentity {
  readonly authority: Authority;
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string };
  remove(): void;
}

export async function makeIdentity(leaf: string, agent: string): Promise<TestIdentity> {
  const directory = mkdtempSync(join(tmpdir(), 'xylem-agent-'));
  const authority = await createAuthority({ domain: DOMAIN });
  const issued = await authority.issue({ kind: 'agent', leaf, agent }, 3_600_000);
  const tls = { ca: join(directory, 'ca.pem'), cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem') };
  writeFileSync(tls.ca, issued.ca);
  writeFileSync(tls.cert, issued.cert);
  writeFileSync(tls.key, issued.key.reveal(), { mode: 0o600 });
  return { authority, tls, remove: () => rmSync(directory, { recursive: true }) };
}
