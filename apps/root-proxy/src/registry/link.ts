import { defaultRegistryLinkConfig, RegistryLink } from '@xylem/discovery';
import type {
  Incarnation,
  InstanceNonce,
  LeafId,
  ProxyId,
  Random,
  RegistryEffect,
  RegistryEvent,
  RegistryLinkStatus,
  RegistryView,
  RootEffect,
  RootEvent,
  Snapshot,
} from '@xylem/discovery';
import { status as Status } from '@grpc/grpc-js';
import { StatusError } from '@xylem/grpc';
import type { StreamPeer, TlsSource } from '@xylem/grpc';
import { isSignedEvidence, StatementVerifier } from '@xylem/identity';
import { RegistryService } from '@xylem/wire';
import type { registry as wire, tunnel } from '@xylem/wire';
import { unreachable } from '../assert.ts';
import { now } from '../clock.ts';
import { Driver } from '../driver.ts';
import { readMessage } from './messages.ts';
import type { ClaimAnswer } from './messages.ts';
import { RegistrySession } from './session.ts';

/** Versions of the registry protocol that this build speaks. */
const PROTOCOL = { lowest: 1, highest: 1 } as const;

export interface LinkOptions {
  readonly proxy: ProxyId;
  readonly domain: string;
  readonly registries: readonly string[];
  readonly tls: TlsSource;
  readonly random: Random;
  readonly instanceNonce: InstanceNonce;
  readonly generation: number;
  readonly software: string;
}

/** host:port of each plane as other root proxies reach it. */
export interface Advertised {
  readonly peerAddress: string;
  readonly tunnelAddress: string;
}

export interface LinkListener {
  connected(incarnation: Incarnation): void;
  lost(): void;
  membershipChanged(snapshot: Snapshot): void;
  /** What the records say, for RootDiscovery to compare with its slots. */
  claimsObserved(observed: ClaimsObserved): void;
  /** Members or claims changed. `leaves`: only claims of these did; undefined: anything may have. */
  viewChanged(view: RegistryView, leaves: ReadonlySet<LeafId> | undefined): void;
  claimAnswered(answer: ClaimAnswer): void;
  /** Why the registry with this certificate is not to be believed; undefined when it is. */
  refusal(registry: StreamPeer): string | undefined;
  /** Policy, revocations, trust. */
  securityChanged(security: wire.Security): void;
  /** What the registry signed about revoked root proxies, for agents. */
  revokedProxiesTold(statement: string): void;
  /** Where the registry of the session enrols: this port of its host; 0 for nowhere. */
  enrolmentTold(registry: string, port: number): void;
  /** For logs: one line on why there is no session. */
  sessionFailed(registry: string, detail: string): void;
}

/** What the view says of claims, for RootDiscovery. */
export type ClaimsObserved = Extract<RootEvent, { type: 'claimsObserved' }>;

type ClaimOrder = Extract<RootEffect, { type: 'recordClaim' | 'releaseClaim' }>;

/** Runs RegistryLink: keeps a session with one of the registries, and the newest view. */
export class Link {
  readonly #options: LinkOptions;
  readonly #listener: LinkListener;
  readonly #verifier: StatementVerifier;
  readonly #core: RegistryLink;
  readonly #driver: Driver<RegistryEvent, RegistryEffect>;
  readonly #left = Promise.withResolvers<boolean>();
  /** Any message of a session counts: a registry that answers would have told of a change. */
  #heardAt = now();
  #advertised: Advertised = { peerAddress: '', tunnelAddress: '' };
  #session: { readonly number: number; readonly registry: string; readonly io: RegistrySession } | undefined;

  constructor(options: LinkOptions, listener: LinkListener) {
    this.#options = options;
    this.#listener = listener;
    const { domain, tls } = options;
    this.#verifier = new StatementVerifier({ domain, trust: () => tls.current().ca });
    this.#core = new RegistryLink(defaultRegistryLinkConfig(options.registries), options.random, now());
    this.#driver = new Driver(this.#core, (effect) => this.#perform(effect));
  }

  start(advertised: Advertised): void {
    this.#advertised = advertised;
    this.#driver.start();
  }

  status(): RegistryLinkStatus {
    return this.#core.status();
  }

  view(): RegistryView | undefined {
    return this.#core.view();
  }

  /** Time since the registry was heard from: how old the view, and so the gossip made of it, may be. */
  viewAgeMs(): number {
    return now() - this.#heardAt;
  }

  /** Sends what RootDiscovery wants recorded. Without a session nothing is sent: its loss was, or will be, told. */
  order(order: ClaimOrder): void {
    const { leaf, slot } = order;
    const request = BigInt(order.request);
    if (order.type === 'recordClaim') {
      const { agent, nonce } = order;
      this.#session?.io.send({ $case: 'acquire', value: { request, leaf, slot, agent, nonce } });
    } else {
      this.#session?.io.send({ $case: 'release', value: { request, leaf, slot, token: order.token } });
    }
  }

  /** Asks the registry of the present session for leave. Rejects with a StatusError: UNAVAILABLE at once without a session. */
  async authoriseDial(request: wire.AuthoriseDialRequest, deadlineMs: number): Promise<wire.AuthoriseDialResponse> {
    return this.#connected().unary(RegistryService.authoriseDial, request, deadlineMs);
  }

  /** As `authoriseDial`. */
  async standingGrant(leaf: string, deadlineMs: number): Promise<wire.GetStandingGrantResponse> {
    return this.#connected().unary(RegistryService.getStandingGrant, { leaf }, deadlineMs);
  }

  #connected(): RegistrySession {
    const session = this.#session;
    if (session !== undefined && this.#core.status().state === 'connected') return session.io;
    throw new StatusError(Status.UNAVAILABLE, 'there is no session with a registry');
  }

  /** What an agent showed. Without a registry's signature it is nothing. */
  async evidenceShown({ stamp, statement }: tunnel.Evidence): Promise<void> {
    if (stamp === undefined || !(await isSignedEvidence(this.#verifier, { stamp, statement }))) return;
    this.#driver.feed({ type: 'evidenceShown', evidence: { stamp, statement } });
  }

  drain(): void {
    this.#driver.feed({ type: 'drainRequested' });
  }

  /** Removes this proxy's records. Resolves, within the deadline, with whether the registry said so. */
  async leave(deadlineMs: number): Promise<boolean> {
    this.#driver.feed({ type: 'leaveRequested', deadlineMs });
    const clean = await this.#left.promise;
    this.close();
    return clean;
  }

  /** Ends at once, as a crash would. */
  close(): void {
    this.#driver.stop();
    this.#session?.io.close();
    this.#session = undefined;
  }

  #perform(effect: RegistryEffect): void {
    switch (effect.type) {
      case 'openSession':
        return this.#open(effect);
      case 'closeSession':
        return this.#close(effect.session);
      case 'sendHeartbeat':
        return this.#send(effect.session, { $case: 'heartbeat', value: { sequence: effect.sequence } });
      case 'sendDrain':
        return this.#send(effect.session, { $case: 'drain', value: {} });
      case 'sendLeave':
        return this.#send(effect.session, { $case: 'leave', value: {} });
      case 'sendEvidence': {
        const { stamp, statement } = effect.evidence;
        return this.#send(effect.session, { $case: 'evidence', value: { stamp: { ...stamp }, statement } });
      }
      case 'reportConnected':
        return this.#listener.connected(effect.incarnation);
      case 'reportLost':
        return this.#listener.lost();
      case 'reportMembership':
        return this.#listener.membershipChanged(effect.snapshot);
      case 'reportClaims':
        return this.#listener.claimsObserved({ ...effect, type: 'claimsObserved' });
      case 'reportLeft':
        return this.#left.resolve(effect.clean);
      default:
        return unreachable(effect);
    }
  }

  #open({ session, registry, incarnation, lease }: Extract<RegistryEffect, { type: 'openSession' }>): void {
    const { domain, tls } = this.#options;
    const hello = this.#hello(incarnation, lease);
    const io = new RegistrySession(registry, domain, tls, hello, {
      message: (message) => this.#received(session, message),
      refusal: (peer) => this.#listener.refusal(peer),
      ended: (detail) => {
        this.#listener.sessionFailed(registry, detail);
        this.#driver.feed({ type: 'sessionEnded', session, detail });
      },
    });
    this.#session = { number: session, registry, io };
  }

  #hello(incarnation: Incarnation, lease: bigint): wire.ProxyHello {
    const { proxy, instanceNonce, generation, software } = this.#options;
    const stamp = this.#core.status().stamp;
    return {
      minVersion: PROTOCOL.lowest,
      maxVersion: PROTOCOL.highest,
      proxy,
      instanceNonce,
      ...this.#advertised,
      generation,
      software,
      incarnation,
      lease,
      newestStamp: stamp === undefined ? undefined : { epoch: stamp.epoch, revision: stamp.revision },
    };
  }

  #received(session: number, message: wire.SessionResponse): void {
    const read = readMessage(message, session);
    if (read.kind === 'claim') return this.#listener.claimAnswered(read.answer);
    if (read.kind === 'security') {
      this.#listener.securityChanged(read.security);
      return this.#session?.io.recheck();
    }
    if (read.kind === 'revokedProxies') return this.#listener.revokedProxiesTold(read.statement);
    if (read.kind === 'unknown') return;
    const { event } = read;
    this.#heardAt = now();
    this.#driver.feed(event);
    if (message.kind?.$case === 'welcome' && this.#session?.number === session)
      this.#listener.enrolmentTold(this.#session.registry, message.kind.value.enrolPort);
    if (event.type === 'refused') {
      this.#listener.sessionFailed(this.#session?.registry ?? '', `${event.code}: ${event.detail}`);
      this.#close(session);
    }
    const view = this.#core.view();
    if (view === undefined) return;
    if (event.type === 'viewReceived') this.#listener.viewChanged(view, undefined);
    if (event.type === 'viewDeltaReceived') this.#listener.viewChanged(view, touchedLeaves(event.delta));
  }

  #send(session: number, kind: NonNullable<wire.SessionRequest['kind']>): void {
    if (this.#session?.number === session) this.#session.io.send(kind);
  }

  #close(session: number): void {
    if (this.#session?.number !== session) return;
    this.#session.io.close();
    this.#session = undefined;
  }
}

/** undefined when members changed: whether each holder is ready depends on them. */
function touchedLeaves(
  delta: Extract<RegistryEvent, { type: 'viewDeltaReceived' }>['delta'],
): ReadonlySet<LeafId> | undefined {
  if (delta.members.length > 0 || delta.removedMembers.length > 0) return undefined;
  return new Set([...delta.claims, ...delta.removedClaims].map(({ leaf }) => leaf));
}
