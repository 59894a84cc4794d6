import { status } from '@grpc/grpc-js';
import { FramePort } from '@xylem/carrier';
import { defaultRootConfig, RootDiscovery } from '@xylem/discovery';
import type {
  Incarnation,
  LivenessConfig,
  ProxyId,
  Random,
  RootCloseReason,
  RootConfig,
  RootEffect,
  RootEvent,
  RootStatus,
  ServingConfig,
  Snapshot,
  TunnelId,
} from '@xylem/discovery';
import { StatusError } from '@xylem/grpc';
import type { StreamPeer } from '@xylem/grpc';
import type { RateLimits } from '@xylem/quota';
import type { Identity } from '@xylem/identity';
import { carry, PROBE_NODE } from '@xylem/wire';
import type { tunnel as wire } from '@xylem/wire';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import { unreachable } from '../assert.ts';
import { now } from '../clock.ts';
import type { Dials } from '../dials/dials.ts';
import type { TunnelDial } from '../dials/types.ts';
import { Driver } from '../driver.ts';
import type { ClaimsObserved } from '../registry/link.ts';
import type { ClaimAnswer } from '../registry/messages.ts';
import type { TunnelConnection } from '../relay/connections.ts';
import { AttachQuotas } from './attach-quotas.ts';
import { gossipToWire } from './gossip.ts';
import { checkHello } from './hello.ts';
import { LeavingRelays } from './leaving-relays.ts';
import { Probes } from './probes.ts';
import type { AcceptedHello } from './hello.ts';
import { Tunnel } from './tunnel.ts';
import type { AgentMessage, ControlStream, TunnelEnd } from './tunnel.ts';

export interface PlaneOptions {
  readonly maxTunnels: number;
  /** Streams of one agent that nobody waits for. */
  readonly unasked: RateLimits;
  readonly proxy: ProxyId;
  readonly software: string;
  readonly root: Partial<Omit<RootConfig, 'proxy'>>;
  readonly liveness: LivenessConfig;
  readonly serving: ServingConfig;
  readonly random: Random;
}

export type ClaimOrder = Extract<RootEffect, { type: 'recordClaim' | 'releaseClaim' }>;

export interface PlanePorts {
  readonly dials: Dials;
  /** Sends claim orders to the registry; answered through `claimAnswered`, or voided by `registryLost`. */
  order(order: ClaimOrder): void;
  /** An agent says that a registry signed a later list than we have. */
  evidenceShown(evidence: wire.Evidence): void;
  /** Marks this proxy's member record as draining. */
  deregister(): void;
  /** A tunnel came or went. */
  leavesChanged(): void;
  readonly observer: PlaneObserver;
}

/** For logs, spans and metrics. */
export interface PlaneObserver {
  tunnelRefused(source: string, identity: string, reason: string, detail: string): void;
  tunnelAttached(tunnel: Tunnel): void;
  /** The answer to a claim, or a later promotion. */
  granted(tunnel: Tunnel, slot: number): void;
  held(tunnel: Tunnel, holder: string): void;
  recorded(tunnel: Tunnel, slot: number, token: bigint): void;
  gossipSent(tunnel: Tunnel, kind: 'snapshot' | 'delta'): void;
  pinged(roundTripMs: number): void;
  probed(roundTripMs: number): void;
  /** The agent holds a claim and does not serve it; its tunnel is closed next. */
  unserved(tunnel: Tunnel, detail: string): void;
  rejected(tunnel: Tunnel, detail: string): void;
  tunnelClosed(tunnel: Tunnel, end: TunnelEnd): void;
}

const { Reason } = carry;

/** What agents are told; the codes that agents look for are in these reasons. */
const REASON_OF_CLOSE: Readonly<Record<RootCloseReason, carry.Reason>> = {
  'duplicate-id': Reason.REASON_DUPLICATE_ID,
  replaced: Reason.REASON_REPLACED,
  'drain-deadline': Reason.REASON_DRAIN_DEADLINE,
  draining: Reason.REASON_SHUTDOWN,
  'standby-unwanted': Reason.REASON_CLAIM_HELD,
  'stale-incarnation': Reason.REASON_STALE_INCARNATION,
  'claim-lost': Reason.REASON_CLAIM_HELD,
  unserved: Reason.REASON_TIMEOUT,
  overloaded: Reason.REASON_OVERLOADED,
};

const HELLO_TIMEOUT_MS = 5_000;
/** From the end of Attach to the end of its connection. */
const LAST_MESSAGES_MS = 1_000;
const RETRY_AFTER_MS = { draining: 1_000, overloaded: 5_000, refused: 5_000 } as const;

/** Runs RootDiscovery: takes tunnels in, tells agents what was decided, and lets dials know who serves. */
export class TunnelPlane {
  readonly #options: PlaneOptions;
  readonly #ports: PlanePorts;
  readonly #core: RootDiscovery;
  readonly #driver: Driver<RootEvent, RootEffect>;
  readonly #tunnels = new Map<string, Tunnel>();
  readonly #quotas: AttachQuotas;
  /** By the far end of their TLS connection, which is one object for all its streams, for Carry. */
  readonly #byPeer = new Map<StreamPeer, Tunnel>();
  readonly #leavingRelays: LeavingRelays;
  readonly #probes: Probes;
  #trustGeneration = 0n;
  /** A registry's, as told last; empty while there is none. */
  #revokedProxies = '';
  readonly #drained = Promise.withResolvers<void>();

  constructor(options: PlaneOptions, ports: PlanePorts) {
    this.#options = options;
    this.#quotas = new AttachQuotas(options.unasked);
    this.#ports = ports;
    this.#core = new RootDiscovery({ ...defaultRootConfig(options.proxy), ...options.root }, options.random, now());
    this.#driver = new Driver(this.#core, (effect) => this.#perform(effect));
    this.#leavingRelays = new LeavingRelays(ports.dials, () => this.#tunnels.values());
    this.#probes = new Probes(options.serving, options.random, {
      send: (tunnel, connection, timeoutMs) => this.#sendProbe(tunnel, connection, timeoutMs),
      answered: (roundTripMs) => ports.observer.probed(roundTripMs),
      unserved: (tunnel, detail) => this.#unserved(tunnel, detail),
    });
  }

  status(): RootStatus {
    return this.#core.status();
  }

  /** Leaf clusters that have a tunnel here. */
  leaves(): ReadonlySet<string> {
    return new Set([...this.#tunnels.values()].map(({ hello }) => hello.leaf));
  }

  tunnel(id: string): Tunnel | undefined {
    return this.#tunnels.get(id);
  }

  get size(): number {
    return this.#tunnels.size;
  }

  /** Dials carry the new incarnation at once: agents hold dials of the old one against us as soon as they hear of it. */
  registryConnected(incarnation: Incarnation): void {
    this.#driver.feed({ type: 'registryConnected', incarnation });
    for (const { tunnel, slot, token } of this.#core.status().tunnels) {
      if (slot !== undefined && this.#tunnels.has(tunnel)) this.#ports.dials.tunnelClaimed(tunnel, incarnation, token);
    }
  }

  registryLost(): void {
    this.#driver.feed({ type: 'registryLost' });
  }

  membershipChanged(snapshot: Snapshot): void {
    this.#driver.feed({ type: 'membershipChanged', snapshot });
  }

  claimsObserved(observed: ClaimsObserved): void {
    this.#driver.feed(observed);
  }

  claimAnswered(answer: ClaimAnswer): void {
    this.#driver.feed(answer);
  }

  /** Tells every agent, those that attach later included, that a renewal is due; who knows this generation ignores it. */
  trustChanged(generation: bigint): void {
    if (generation <= this.#trustGeneration) return;
    this.#trustGeneration = generation;
    for (const tunnel of this.#tunnels.values()) this.#adviseRenewal(tunnel);
  }

  #adviseRenewal(tunnel: Tunnel): void {
    if (this.#trustGeneration === 0n) return;
    tunnel.send({ $case: 'renewalDue', value: { trustGeneration: this.#trustGeneration } });
  }

  /** Passes on to every agent, those that attach later included, which root proxies were revoked. Kept while no registry answers. */
  revokedProxiesTold(statement: string): void {
    this.#revokedProxies = statement;
    for (const tunnel of this.#tunnels.values()) this.#tellRevoked(tunnel);
  }

  #tellRevoked(tunnel: Tunnel): void {
    const statement = this.#revokedProxies;
    if (statement !== '') tunnel.send({ $case: 'revokedProxies', value: { statement } });
  }

  /** Which root proxies drain: tunnels that they relay are moved off them. */
  relaysLeaving(proxies: ReadonlySet<string>): void {
    this.#leavingRelays.set(proxies);
  }

  /** Announces that this proxy is about to stop. Resolves when every tunnel has gone, at the deadline at the latest. */
  drain(spreadMs: number, deadlineMs: number): Promise<void> {
    this.#driver.feed({ type: 'drainRequested', spreadMs, deadlineMs });
    return this.#drained.promise;
  }

  /** Ends every tunnel with GOODBYE. */
  stop(): void {
    this.#leavingRelays.stop();
    this.#probes.stop();
    for (const tunnel of [...this.#tunnels.values()])
      tunnel.goodbye(Reason.REASON_SHUTDOWN, 'shutdown', 'the root proxy stops');
    this.#driver.stop();
  }

  sendDial(dial: TunnelDial): void {
    const { tunnel, connection, leaf, node, port, user, timeoutMs, incarnation, token, traceparent, grant } = dial;
    const value = {
      connection,
      target: { leaf, node, port },
      user,
      timeoutMs,
      incarnation,
      token,
      traceparent,
      grant,
    };
    this.#tunnels.get(tunnel)?.send({ $case: 'dialRequest', value });
  }

  sendCancel(tunnel: string, connection: string): void {
    this.#tunnels.get(tunnel)?.send({ $case: 'dialCancelled', value: { connection } });
  }

  /** A user's dial on this tunnel got no answer in its time: does its agent serve at all? */
  doubt(tunnel: string): void {
    const known = this.#tunnels.get(tunnel);
    if (known !== undefined) this.#probes.doubt(known.id);
  }

  #sendProbe(id: TunnelId, connection: string, timeoutMs: number): void {
    const tunnel = this.#tunnels.get(id);
    if (tunnel === undefined) return;
    const { incarnation } = this.#core.status();
    const target = { leaf: tunnel.hello.leaf, node: PROBE_NODE, port: 0 };
    const value = { connection, target, user: '', timeoutMs, incarnation, token: 0n, traceparent: '', grant: '' };
    tunnel.send({ $case: 'dialRequest', value });
  }

  #unserved(id: TunnelId, detail: string): void {
    const tunnel = this.#tunnels.get(id);
    if (tunnel === undefined) return;
    this.#ports.observer.unserved(tunnel, detail);
    this.#driver.feed({ type: 'claimUnserved', tunnel: id, detail });
  }

  /** Serves one Attach stream on a connection that has no other, and ends the connection with it. */
  async attach(
    stream: ControlStream,
    identity: Extract<Identity, { kind: 'agent' }>,
    connection: TunnelConnection,
  ): Promise<void> {
    try {
      await this.#serve(stream, identity, connection);
    } finally {
      // Nobody else would: the time limit for attaching ended when Attach began.
      setTimeout(() => connection.close(), LAST_MESSAGES_MS).unref();
    }
  }

  async #serve(
    stream: ControlStream,
    identity: Extract<Identity, { kind: 'agent' }>,
    connection: TunnelConnection,
  ): Promise<void> {
    const messages = stream[Symbol.asyncIterator]();
    const hello = await this.#awaitHello(stream, messages);
    const check = checkHello(hello, identity, this.#options.proxy);
    if (!check.ok)
      return this.#refuse(
        stream,
        connection,
        identity,
        check.refusal.reason,
        check.refusal.detail,
        RETRY_AFTER_MS.refused,
      );
    const unwelcome = this.#unwelcome(check.hello);
    if (unwelcome !== undefined) return this.#refuse(stream, connection, identity, ...unwelcome);
    await this.#welcome(stream, check.hello, connection).run(messages);
  }

  /** Serves one Carry stream: the answer to a dial that went out on the tunnel of the same connection. */
  async carry(call: ServerDuplexStream<Buffer, Buffer>, peer: StreamPeer): Promise<void> {
    const frames = new FramePort(call);
    const tunnel = this.#byPeer.get(peer);
    const connection = call.metadata.get('xylem-connection')[0]?.toString() ?? '';
    if (tunnel === undefined)
      throw new StatusError(status.FAILED_PRECONDITION, 'no tunnel is attached on this connection');
    if (connection === '') throw new StatusError(status.INVALID_ARGUMENT, 'metadata xylem-connection is missing');
    if (this.#probes.take(tunnel.id, connection, frames)) return;
    if (!this.#ports.dials.awaits(connection)) this.#refuseUnasked(tunnel);
    await this.#ports.dials.carryOpened(tunnel.id, connection, frames);
  }

  /** Throws: who opens a stream that nobody waits for is not waited for either. */
  #refuseUnasked(tunnel: Tunnel): never {
    const { leaf, agent } = tunnel.hello;
    if (!this.#quotas.unasked(leaf, agent, now())) {
      tunnel.goodbye(Reason.REASON_OVERLOADED, 'unasked', 'the agent opens more streams than it is asked for');
    }
    throw new StatusError(status.CANCELLED, 'nobody waits for this connection');
  }

  async #awaitHello(stream: ControlStream, messages: AsyncIterator<wire.AttachRequest>): Promise<wire.AgentHello> {
    const timer = setTimeout(() => stream.cancel('no hello in time', status.DEADLINE_EXCEEDED), HELLO_TIMEOUT_MS);
    const first = await messages.next();
    clearTimeout(timer);
    const kind = first.done === true ? undefined : first.value.kind;
    if (kind?.$case !== 'hello') throw new StatusError(status.INVALID_ARGUMENT, 'the first message must be a hello');
    return kind.value;
  }

  /** Why a well-formed hello is not welcome now. */
  #unwelcome(hello: AcceptedHello): [carry.Reason, string, number] | undefined {
    const { proxy, maxTunnels } = this.#options;
    if (this.#core.status().draining)
      return [Reason.REASON_SHUTDOWN, `root proxy ${proxy} is about to stop`, RETRY_AFTER_MS.draining];
    if (this.#tunnels.has(hello.tunnel))
      return [Reason.REASON_PROTOCOL_ERROR, 'this tunnel_id is in use', RETRY_AFTER_MS.refused];
    if (this.#tunnels.size >= maxTunnels)
      return [Reason.REASON_OVERLOADED, `root proxy ${proxy} serves ${maxTunnels} tunnels`, RETRY_AFTER_MS.overloaded];
    const { heldMs } = this.#core.serving(hello.leaf, hello.agent, now());
    if (heldMs > 0)
      return [Reason.REASON_TIMEOUT, `this agent held a claim of ${proxy} and did not serve it`, Math.ceil(heldMs)];
    const refusal = this.#quotas.enter(hello.leaf, hello.agent, now());
    return refusal && [Reason.REASON_OVERLOADED, refusal.detail, refusal.retryAfterMs];
  }

  #refuse(
    stream: ControlStream,
    connection: TunnelConnection,
    identity: Extract<Identity, { kind: 'agent' }>,
    reason: carry.Reason,
    detail: string,
    retryAfterMs: number,
  ): void {
    this.#ports.observer.tunnelRefused(connection.source, `${identity.leaf}/${identity.agent}`, nameOf(reason), detail);
    stream.send({ kind: { $case: 'refused', value: { reason, detail, retryAfterMs } } });
  }

  #welcome(stream: ControlStream, hello: AcceptedHello, connection: TunnelConnection): Tunnel {
    const { proxy, software, liveness, random } = this.#options;
    const tunnel = new Tunnel(stream, hello, connection, liveness, random, this.#listener);
    this.#tunnels.set(hello.tunnel, tunnel);
    this.#byPeer.set(stream.peer, tunnel);
    const { incarnation } = this.#core.status();
    const claimsPerProxy = this.#options.root.claimsPerProxy ?? 1;
    const { intervalMs: pingIntervalMs, deadAfterMs } = liveness;
    const via = connection.via ?? '';
    tunnel.send({
      $case: 'welcome',
      value: { version: hello.version, proxy, incarnation, pingIntervalMs, deadAfterMs, via, claimsPerProxy, software },
    });
    this.#ports.observer.tunnelAttached(tunnel);
    const { leaf, agent, nonce, replaces, nodes } = hello;
    this.#ports.dials.tunnelAttached(tunnel.id, leaf, agent, nodes);
    this.#ports.leavesChanged();
    this.#driver.feed({
      type: 'attachRequested',
      tunnel: tunnel.id,
      leaf,
      agent,
      nonce,
      replaces,
      via: connection.via,
    });
    this.#stopDialling(replaces);
    this.#adviseRenewal(tunnel);
    this.#tellRevoked(tunnel);
    // What the agent sees when it dials again says whether it may come back.
    stream.peer.onEnding(({ cause, detail }) => tunnel.goodbye(Reason.REASON_DENIED, cause, detail));
    return tunnel;
  }

  /** A tunnel that was replaced finishes what it carries; the core says so in its status only. */
  #stopDialling(replaced: string | undefined): void {
    if (replaced === undefined || !this.#tunnels.has(replaced)) return;
    const found = this.#core.status().tunnels.find(({ tunnel }) => tunnel === replaced);
    if (found?.state !== 'draining') return;
    this.#ports.dials.tunnelDraining(replaced);
    this.#probes.ended(found.tunnel);
  }

  readonly #listener = {
    message: (
      tunnel: Tunnel,
      message: Extract<AgentMessage, { $case: 'standby' | 'snapshotWanted' | 'evidence' | 'drain' }>,
    ): void => {
      if (message.$case === 'standby') return this.#driver.feed({ type: 'standbyRequested', tunnel: tunnel.id });
      if (message.$case === 'snapshotWanted')
        return this.#driver.feed({ type: 'snapshotRequested', tunnel: tunnel.id });
      if (message.$case === 'evidence') return this.#ports.evidenceShown(message.value);
      this.#ports.dials.tunnelDraining(tunnel.id);
      this.#probes.ended(tunnel.id);
      this.#driver.feed({ type: 'agentDraining', tunnel: tunnel.id });
    },
    alive: (tunnel: Tunnel): void => this.#driver.feed({ type: 'challengeAnswered', tunnel: tunnel.id }),
    pinged: (roundTripMs: number): void => this.#ports.observer.pinged(roundTripMs),
    rejected: (tunnel: Tunnel, detail: string): void => this.#ports.observer.rejected(tunnel, detail),
    ended: (tunnel: Tunnel, end: TunnelEnd): void => {
      this.#tunnels.delete(tunnel.id);
      this.#probes.ended(tunnel.id);
      this.#ports.leavesChanged();
      this.#quotas.left(tunnel.hello.leaf, tunnel.hello.agent);
      this.#byPeer.delete(tunnel.peer);
      this.#ports.dials.tunnelClosed(tunnel.id);
      this.#ports.observer.tunnelClosed(tunnel, end);
      this.#driver.feed({ type: 'tunnelClosed', tunnel: tunnel.id });
    },
  };

  #perform(effect: RootEffect): void {
    switch (effect.type) {
      case 'recordClaim':
      case 'releaseClaim':
        return this.#ports.order(effect);
      case 'deregister':
        return this.#ports.deregister();
      case 'drained':
        return this.#drained.resolve();
      default: {
        // A tunnel may have ended while earlier effects were performed; its end is fed to the core next.
        const tunnel = this.#tunnels.get(effect.tunnel);
        if (tunnel !== undefined) this.#tell(tunnel, effect);
      }
    }
  }

  #tell(tunnel: Tunnel, effect: Extract<RootEffect, { readonly tunnel: unknown }>): void {
    const { dials, observer } = this.#ports;
    switch (effect.type) {
      case 'grantClaim':
        tunnel.send({ $case: 'claimGranted', value: { slot: effect.slot } });
        dials.tunnelClaimed(tunnel.id, this.#core.status().incarnation, 0n);
        this.#probes.claimed(tunnel.id, this.#core.serving(tunnel.hello.leaf, tunnel.hello.agent, now()).suspect);
        return observer.granted(tunnel, effect.slot);
      case 'confirmClaim': {
        const { slot, token, incarnation } = effect;
        tunnel.send({ $case: 'claimRecorded', value: { slot, token, incarnation } });
        dials.tunnelClaimed(tunnel.id, incarnation, token);
        return observer.recorded(tunnel, slot, token);
      }
      case 'reportHeld':
        tunnel.send({ $case: 'claimHeld', value: { holder: effect.holder } });
        return observer.held(tunnel, effect.holder);
      case 'sendGossip':
        tunnel.send({ $case: 'discoveryRequest', value: gossipToWire(effect.message) });
        return observer.gossipSent(tunnel, effect.message.kind);
      case 'challengeTunnel':
        return tunnel.challenge();
      case 'closeTunnel':
        return tunnel.goodbye(REASON_OF_CLOSE[effect.reason], effect.reason, effect.detail);
      case 'announceDrain':
        this.#probes.ended(tunnel.id);
        tunnel.send({ $case: 'drain', value: { spreadMs: effect.spreadMs, deadlineMs: effect.deadlineMs } });
        return dials.tunnelDraining(tunnel.id);
      default:
        return unreachable(effect);
    }
  }
}

/** `REASON_CLAIM_HELD` as `claim-held`. */
function nameOf(reason: carry.Reason): string {
  const name = Object.entries(Reason).find(([, code]) => code === reason)?.[0] ?? 'REASON_UNKNOWN';
  return name.slice('REASON_'.length).toLowerCase().replaceAll('_', '-');
}
