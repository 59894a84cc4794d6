import { randomBytes } from 'node:crypto';
import type { AuditLog } from '@xylem/audit';
import { DEFAULT_SERVING_CONFIG, defaultRelayConfig, RelayPolicy } from '@xylem/discovery';
import type { InstanceNonce, LivenessConfig, ProxyId, Random, RootConfig, ServingConfig } from '@xylem/discovery';
import { createServer } from '@xylem/grpc';
import type { GrpcServer, LifetimeOptions, ServerFault, StreamPeer, TlsSource } from '@xylem/grpc';
import type { Telemetry } from '@xylem/telemetry';
import { DEFAULT_ROUTER_CONFIG } from '@xylem/tunnel';
import type { RouterConfig } from '@xylem/tunnel';
import { MAX_ANSWER_BYTES } from '@xylem/wire';
import { SOFTWARE } from './config.ts';
import type { ProxyConfig } from './config.ts';
import { Dials } from './dials/dials.ts';
import { DialTurns } from './dials/dial-turns.ts';
import { Pacer } from './dials/pacer.ts';
import { DialQuotas } from './dials/quotas.ts';
import type { DialPorts } from './dials/types.ts';
import { FrontDoor } from './front-door/door.ts';
import { FrontDoorServer } from './front-door/server.ts';
import { accessServices, peerServices, tunnelServices } from './handlers/services.ts';
import type { Denied } from './handlers/authority.ts';
import type { ServicePorts } from './handlers/services.ts';
import { allHolders, drainingMembers, holdersOf, peerAddresses } from './holders.ts';
import { Journal } from './journal.ts';
import { Overview } from './overview.ts';
import { Peers } from './peers/peers.ts';
import { Link } from './registry/link.ts';
import type { EnrolmentAddresses } from './registry/enrolment-addresses.ts';
import { TunnelConnections } from './relay/connections.ts';
import { Enrolments } from './relay/enrolments.ts';
import { DEFAULT_HANDSHAKES_PER_SECOND, Handshakes } from './relay/handshakes.ts';
import { TunnelListener } from './relay/listener.ts';
import { Relays } from './relay/relays.ts';
import { Revoked } from './security/revoked.ts';
import { Security } from './security/security.ts';
import { TunnelPlane } from './tunnels/plane.ts';

/** What tests set, and a configuration does not. */
export interface Tuning {
  readonly random?: Random;
  readonly root?: Partial<Omit<RootConfig, 'proxy'>>;
  readonly liveness?: LivenessConfig;
  readonly serving?: ServingConfig;
  readonly router?: Partial<RouterConfig>;
  /** Default 20_000: about 95 KB each with TLS. */
  readonly maxTunnels?: number;
  /** Default 20_000: each may hold some 3 MiB in queues and windows when both its ends stop reading. */
  readonly maxOpen?: number;
  /** Accept to attach. Default 15_000: TLS handshake, HTTP/2 settings and hello have 5 to 10 s each of their own. */
  readonly attachTimeoutMs?: number;
  /** Of connections, beyond the certificates they were made with. */
  readonly lifetime?: LifetimeOptions;
}

/** Everything that runs in a root proxy, wired. */
export interface Parts {
  readonly link: Link;
  readonly plane: TunnelPlane;
  readonly dials: Dials;
  readonly pacer: Pacer;
  readonly security: Security;
  readonly peers: Peers;
  readonly relays: Relays;
  readonly enrolments: Enrolments;
  readonly connections: TunnelConnections;
  readonly listener: TunnelListener;
  readonly frontDoor: FrontDoorServer;
  readonly servers: { readonly tunnel: GrpcServer; readonly peer: GrpcServer; readonly access: GrpcServer };
}

/** Where a root proxy says what happens. */
export interface Reporting {
  readonly telemetry: Telemetry;
  readonly audit: AuditLog;
  readonly enrolment: EnrolmentAddresses;
}

/** Own credentials; `trustChanged` is told when the registries say that they trust or sign otherwise now. */
export type OwnTls = TlsSource & { trustChanged?(generation: number): void };

interface Context {
  readonly proxy: ProxyId;
  readonly config: ProxyConfig;
  readonly tuning: Tuning;
  readonly telemetry: Telemetry;
  readonly audit: AuditLog;
  readonly journal: Journal;
  readonly tls: OwnTls;
  readonly enrolment: EnrolmentAddresses;
  readonly random: Random;
}

/** PING interval and patience, stated in every welcome. */
const LIVENESS: LivenessConfig = { intervalMs: 5_000, deadAfterMs: 10_000 };
const ATTACH_TIMEOUT_MS = 15_000;
const MAX_TUNNELS = 20_000;
const MAX_OPEN = 20_000;
/** Forwarded connections and relays of one peer share its one connection. */
const MAX_PEER_STREAMS = 20_000;
/** They all end with it, so users and agents who hang up at the other root proxy must never be what closes it. */
const PEER_STREAM_RESETS = { burst: 100_000, perSecond: 20_000 } as const;

/** Makes every part; nothing listens or connects yet. */
export function assemble(
  proxy: ProxyId,
  config: ProxyConfig,
  tuning: Tuning,
  { telemetry, audit, enrolment }: Reporting,
  tls: OwnTls,
): Parts {
  const random = tuning.random ?? { next: () => Math.random() };
  const context: Context = {
    proxy,
    config,
    tuning,
    telemetry,
    audit,
    journal: new Journal(telemetry, audit),
    tls,
    enrolment,
    random,
  };
  const revoked = new Revoked(proxy, config.domain, audit, {
    cutSessions: (matches, detail) =>
      Object.values(servers).reduce((total, server) => total + server.cut(matches, detail), 0),
    cutUser: (user, detail) => dials.cutUser(user, detail),
    cutPeer: (name, detail) => peers.cut(name, detail),
  });
  const peers: Peers = makePeers(context, revoked);
  const { domain } = config;
  const security = new Security({ domain, tls, telemetry, revoked, link: () => link, dials: () => dials });
  const pacer = new Pacer(config.limits);
  const dials: Dials = makeDials(context, { peers, security, pacer, plane: () => plane });
  const plane: TunnelPlane = makePlane(context, { dials, security, link: () => link });
  // As /readyz: from the first registration on, whatever happens to the registries later.
  const registered = (): void => {
    if (!plane.status().draining) for (const server of Object.values(servers)) server.setServing(true);
  };
  const link: Link = makeLink(context, { plane, dials, peers, security, revoked, registered }, () => link);
  const connections = makeConnections(context);
  const relays = makeRelays(context, peers);
  const enrolments = new Enrolments({
    ended: (source, address, end) => context.journal.enrolmentRelayed(source, address, end),
  });
  const overview = new Overview({ proxy, generation: config.generation, plane, dials, link, peers });
  const handshakes = new Handshakes(config.limits.handshakesPerSecond ?? DEFAULT_HANDSHAKES_PER_SECOND);
  const relayed = {
    connections,
    handshakes,
    onBusy: (source: string) => context.journal.tunnelPortRefused(source, 'busy', 'too many handshakes wait already'),
  };
  const { gate } = security;
  const guard = { domain, denied: (denied: Denied) => context.journal.requestDenied(denied) };
  const services = { proxy, guard, tracing: telemetry.tracing, dials, plane, relayed, overview, gate };
  const servers = makeServers(context, services, revoked);
  const listener = makeListener(context, { server: servers.tunnel, connections, relays, handshakes, enrolments, link });
  const frontDoor = makeFrontDoor(context, dials, security, revoked);
  return { link, plane, dials, pacer, security, peers, relays, enrolments, connections, listener, frontDoor, servers };
}

function makePeers({ proxy, config, tls, journal }: Context, revoked: Revoked): Peers {
  return new Peers(proxy, config.domain, tls, {
    refusal: (peer) => (revoked.isRevoked(peer) ? 'its certificate was revoked' : undefined),
    connected: (peer) => journal.peerConnected(peer),
    lost: (peer, detail) => journal.peerLost(peer, detail),
  });
}

function makeDials(
  { proxy, config, tuning, telemetry, audit, journal }: Context,
  parts: {
    readonly peers: Peers;
    readonly security: Security;
    readonly pacer: Pacer;
    readonly plane: () => TunnelPlane;
  },
): Dials {
  const { peers, security, pacer, plane } = parts;
  const ports: DialPorts = {
    denial: (dial) => security.gate.denial(dial),
    authorise: async (tunnel, dial) => {
      const hello = plane().tunnel(tunnel)?.hello;
      if (hello === undefined) return { kind: 'refused', outcome: 'leaf-offline', detail: 'the tunnel has gone' };
      return security.authority.authorise({ ...dial, agent: hello.agent, instance: hello.nonce });
    },
    sendDial: (dial) => plane().sendDial(dial),
    sendCancel: (tunnel, connection) => plane().sendCancel(tunnel, connection),
    unanswered: (tunnel) => plane().doubt(tunnel),
    openForward: async (peer, withinMs) => peers.get(peer)?.openForward(withinMs),
  };
  const closed = (): string | undefined =>
    config.audit.required && !audit.healthy
      ? `root proxy ${proxy} cannot write its audit file; try another one`
      : undefined;
  const router = { ...DEFAULT_ROUTER_CONFIG, ...tuning.router };
  const { maxOpen = MAX_OPEN } = tuning;
  const bounds = { router, quotas: new DialQuotas(config.limits), pacer, turns: new DialTurns(), maxOpen, closed };
  return new Dials(proxy, bounds, ports, telemetry.tracing, journal);
}

function makePlane(
  { proxy, config, tuning, journal, random }: Context,
  parts: { readonly dials: Dials; readonly security: Security; readonly link: () => Link },
): TunnelPlane {
  const { dials, security, link } = parts;
  const root = { claimsPerProxy: config.claimsPerProxy, ...tuning.root };
  const { liveness = LIVENESS, serving = DEFAULT_SERVING_CONFIG, maxTunnels = MAX_TUNNELS } = tuning;
  // An honest agent opens one stream for each dial, so that what was given up is no more than dials are.
  const { dialsPerSecond, dialBurst } = config.limits.perLeaf;
  const unasked = { perSecond: 2 * dialsPerSecond, burst: 2 * dialBurst };
  const options = { proxy, software: SOFTWARE, root, liveness, serving, random, unasked, maxTunnels };
  const plane: TunnelPlane = new TunnelPlane(options, {
    dials,
    order: (order) => {
      journal.claimOrdered(order);
      link().order(order);
    },
    evidenceShown: (evidence) => void link().evidenceShown(evidence),
    deregister: () => link().drain(),
    leavesChanged: () => security.standing.keep(plane.leaves()),
    observer: journal,
  });
  return plane;
}

function makeLink(
  context: Context,
  parts: Pick<Parts, 'plane' | 'dials' | 'peers'> & {
    readonly security: Security;
    readonly revoked: Revoked;
    readonly registered: () => void;
  },
  self: () => Link,
): Link {
  const { proxy, config, journal, tls, random, enrolment } = context;
  const { plane, dials, peers, security, revoked, registered } = parts;
  const { domain, registries, generation } = config;
  const instanceNonce = randomBytes(16).toString('hex') as InstanceNonce;
  return new Link(
    { proxy, domain, registries, tls, random, instanceNonce, generation, software: SOFTWARE },
    {
      connected: (incarnation) => {
        journal.registryConnected(incarnation, self().status().registry ?? '');
        plane.registryConnected(incarnation);
        registered();
        security.standing.fill();
      },
      lost: () => {
        journal.registryLost();
        plane.registryLost();
      },
      membershipChanged: (snapshot) => plane.membershipChanged(snapshot),
      claimsObserved: (observed) => plane.claimsObserved(observed),
      viewChanged: (view, leaves) => {
        if (leaves === undefined) {
          peers.replace(peerAddresses(view));
          plane.relaysLeaving(drainingMembers(view));
          dials.holdersViewed(allHolders(view, proxy));
          return;
        }
        for (const leaf of leaves) dials.holdersChanged(leaf, holdersOf(view, leaf, proxy));
      },
      claimAnswered: (answer) => {
        journal.claimAnswered(answer);
        plane.claimAnswered(answer);
      },
      revokedProxiesTold: (statement) => plane.revokedProxiesTold(statement),
      enrolmentTold: (registry, port) => enrolment.welcomed(registry, port),
      refusal: (registry) => (revoked.isRevoked(registry) ? 'its certificate was revoked' : undefined),
      securityChanged: (told) => {
        security.update(told);
        plane.trustChanged(told.trustGeneration);
        tls.trustChanged?.(Number(told.trustGeneration));
      },
      sessionFailed: (registry, detail) => journal.sessionFailed(registry, detail),
    },
  );
}

function makeConnections({ tuning, journal }: Context): TunnelConnections {
  return new TunnelConnections(tuning.attachTimeoutMs ?? ATTACH_TIMEOUT_MS, (source) => journal.attachTimedOut(source));
}

function makeRelays({ journal }: Context, peers: Peers): Relays {
  return new Relays({
    openRelay: async (peer, source, withinMs) => peers.get(peer)?.openRelay(source, withinMs),
    started: (peer, source) => journal.relayStarted(peer, source),
    refused: (source, cause, detail) => journal.tunnelPortRefused(source, cause, detail),
    ended: (peer, source, end) => journal.relayEnded(peer, source, end),
  });
}

function makeServers({ tls, tuning, journal }: Context, ports: ServicePorts, revoked: Revoked): Parts['servers'] {
  const base = (plane: keyof Parts['servers']) => ({
    tls,
    ...(tuning.lifetime === undefined ? {} : { lifetime: tuning.lifetime }),
    admit: (peer: StreamPeer) => revoked.refusal(peer),
    onError: (fault: ServerFault): void => journal.fault(plane, fault),
  });
  const tunnel = createServer({ ...base('tunnel'), services: tunnelServices(ports) });
  const peer = createServer({
    ...base('peer'),
    maxMessageBytes: MAX_ANSWER_BYTES,
    maxConcurrentStreams: MAX_PEER_STREAMS,
    streamResets: PEER_STREAM_RESETS,
    services: peerServices(ports, tunnel),
  });
  const access = createServer({
    ...base('access'),
    maxMessageBytes: MAX_ANSWER_BYTES,
    services: accessServices(ports),
  });
  return { tunnel, peer, access };
}

function makeListener(
  { proxy, config, journal, enrolment }: Context,
  parts: Pick<Parts, 'connections' | 'relays' | 'enrolments' | 'link'> & {
    readonly server: GrpcServer;
    readonly handshakes: Handshakes;
  },
): TunnelListener {
  const { server, connections, relays, handshakes, enrolments, link } = parts;
  return new TunnelListener({
    server,
    connections,
    relays,
    handshakes,
    enrolments,
    enrolmentAddresses: () => enrolment.list(),
    policy: new RelayPolicy(defaultRelayConfig(proxy, config.domain)),
    memberAddress: (peer) => link.view()?.member(peer)?.tunnelAddress,
    refused: (source, cause, detail) => journal.tunnelPortRefused(source, cause, detail),
  });
}

function makeFrontDoor(
  { config, tuning, telemetry, journal, tls }: Context,
  dials: Dials,
  { proofs }: Security,
  revoked: Revoked,
): FrontDoorServer {
  const door = new FrontDoor(config.domain, config.frontDoor.anonymous, {
    dials,
    proofs,
    tracing: telemetry.tracing,
    onAnswer: (request, user, status, reason) => journal.answeredHttp(request, user, status, reason),
  });
  const { graceMs } = tuning.lifetime ?? {};
  return new FrontDoorServer({
    tls,
    ...(graceMs === undefined ? {} : { graceMs }),
    refusal: (peer) => revoked.refusal(peer),
    onConnect: (request) => void door.serve(request),
    onRefused: (source, cause, detail) => journal.turnedAway(source, cause, detail),
  });
}
