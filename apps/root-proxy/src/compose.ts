import { X509Certificate, randomBytes } from 'node:crypto';
import { defaultRelayConfig, RelayPolicy } from '@xylem/discovery';
import type { InstanceNonce, LivenessConfig, ProxyId, Random, RegistryLinkStatus, RootConfig, RootStatus } from '@xylem/discovery';
import { createServer } from '@xylem/grpc';
import type { GrpcServer, ServerFault, TlsSource } from '@xylem/grpc';
import { describeIdentity, fileTlsSource, parseIdentity } from '@xylem/identity';
import { OperatingError, parseHostPort } from '@xylem/service';
import type { RunningService } from '@xylem/service';
import { EVENT, METRIC, serveOps, startTelemetry } from '@xylem/telemetry';
import type { OpsServer, Telemetry } from '@xylem/telemetry';
import { DEFAULT_ROUTER_CONFIG } from '@xylem/tunnel';
import type { RouterConfig, RouterStatus } from '@xylem/tunnel';
import { SOFTWARE, VERSION } from './config.ts';
import type { ProxyConfig } from './config.ts';
import { Dials } from './dials/dials.ts';
import { FrontDoor } from './front-door/door.ts';
import { FrontDoorServer } from './front-door/server.ts';
import { observeState } from './gauges.ts';
import { accessServices, peerServices, tunnelServices } from './handlers/services.ts';
import type { ServicePorts } from './handlers/services.ts';
import { allHolders, holdersOf, peerAddresses } from './holders.ts';
import { isProxyId } from './ids.ts';
import { Journal } from './journal.ts';
import { Overview } from './overview.ts';
import { Peers } from './peers/peers.ts';
import { Link } from './registry/link.ts';
import { TunnelConnections } from './relay/connections.ts';
import { TunnelListener } from './relay/listener.ts';
import { Relays } from './relay/relays.ts';
import { drainAndStop } from './stop.ts';
import { TunnelPlane } from './tunnels/plane.ts';

/** What tests replace. */
export interface ProxyOverrides {
  readonly tls?: TlsSource;
  readonly telemetry?: Telemetry;
  readonly random?: Random;
  readonly root?: Partial<Omit<RootConfig, 'proxy'>>;
  readonly liveness?: LivenessConfig;
  readonly router?: Partial<RouterConfig>;
  /** Accept to attach. Default 15_000: TLS handshake, HTTP/2 settings and hello have 5 to 10 s each of their own. */
  readonly attachTimeoutMs?: number;
}

export interface RunningProxy extends RunningService {
  /** The real ports. */
  readonly ports: { readonly tunnel: number; readonly peer: number; readonly access: number; readonly frontDoor: number; readonly ops: number };
  status(): ProxyStatus;
  /** Ends at once, as a crash would: nothing is said to anybody. */
  kill(): Promise<void>;
}

export interface ProxyStatus {
  readonly root: RootStatus;
  readonly registry: RegistryLinkStatus;
  readonly dials: RouterStatus;
  /** Names of the other live members. */
  readonly peers: readonly string[];
  readonly relays: number;
}

/** PING interval and patience, stated in every welcome. */
const LIVENESS: LivenessConfig = { intervalMs: 5_000, deadAfterMs: 10_000 };
const ATTACH_TIMEOUT_MS = 15_000;
/** A matrix of a thousand tunnels with their agents' pools fits. */
const MAX_ANSWER_BYTES = 4 * 1_024 * 1_024;
/**
 * HTTP/2 window per carried connection: 4 MiB carry 80 MB/s and more at 20 ms round trip, and bound what one user who
 * stops reading can hold.
 */
const STREAM_WINDOW_BYTES = 4 * 1_024 * 1_024;

/** Starts one root proxy. Rejects with one clear line when it cannot run at all; registries that are away are no such reason. */
export async function start(config: ProxyConfig, overrides: ProxyOverrides = {}): Promise<RunningProxy> {
  const { id } = config;
  if (!isProxyId(id)) throw new OperatingError(`id: ${JSON.stringify(id)} is not a name: 1 to 63 of a-z, 0-9 and "-", not starting or ending with "-"`);
  const telemetry = overrides.telemetry ?? openTelemetry(config);
  const tls = overrides.tls ?? openTls(config, telemetry);
  const parts = assemble(id, config, overrides, telemetry, tls);
  const opened = await open(parts, config, telemetry).catch((error: unknown) => {
    closeNow(parts);
    throw error instanceof Error ? new OperatingError(error.message, { cause: error }) : error;
  });
  const { ops, ports } = opened;
  parts.link.start(advertised(config, ports));
  telemetry.log.info(EVENT.serviceStarted, { proxy: id, ...ports });
  return {
    ports,
    status: () => statusOf(parts),
    async stop() {
      telemetry.log.info(EVENT.serviceStopping);
      await drainAndStop(parts, config.drain, telemetry);
      closeNow(parts);
      await ops.close();
      telemetry.log.info(EVENT.serviceStopped);
      await telemetry.shutdown();
    },
    async kill() {
      closeNow(parts);
      await ops.close();
    },
  };
}

/** Everything that runs, wired. */
export interface Parts {
  readonly link: Link;
  readonly plane: TunnelPlane;
  readonly dials: Dials;
  readonly peers: Peers;
  readonly relays: Relays;
  readonly connections: TunnelConnections;
  readonly listener: TunnelListener;
  readonly frontDoor: FrontDoorServer;
  readonly servers: { readonly tunnel: GrpcServer; readonly peer: GrpcServer; readonly access: GrpcServer };
}

function assemble(proxy: ProxyId, config: ProxyConfig, overrides: ProxyOverrides, telemetry: Telemetry, tls: TlsSource): Parts {
  const { domain } = config;
  const { tracing } = telemetry;
  const journal = new Journal(telemetry);
  const random = overrides.random ?? { next: () => Math.random() };
  const peers = new Peers(proxy, domain, tls, {
    connected: (peer) => journal.peerConnected(peer),
    lost: (peer, detail) => journal.peerLost(peer, detail),
  });
  const dials: Dials = new Dials(
    proxy,
    { ...DEFAULT_ROUTER_CONFIG, ...overrides.router },
    {
      sendDial: (dial) => plane.sendDial(dial),
      sendCancel: (tunnel, connection) => plane.sendCancel(tunnel, connection),
      openForward: async (peer, withinMs) => peers.get(peer)?.openForward(withinMs),
    },
    tracing,
    journal,
  );
  const root = { claimsPerProxy: config.claimsPerProxy, ...overrides.root };
  const plane: TunnelPlane = new TunnelPlane(
    { proxy, software: SOFTWARE, root, liveness: overrides.liveness ?? LIVENESS, random },
    {
      dials,
      order: (order) => {
        journal.claimOrdered(order);
        link.order(order);
      },
      deregister: () => link.drain(),
      observer: journal,
    },
  );
  const link: Link = new Link(
    {
      proxy,
      domain,
      registries: config.registries,
      tls,
      random,
      instanceNonce: randomBytes(16).toString('hex') as InstanceNonce,
      generation: config.generation,
      software: SOFTWARE,
    },
    {
      connected: (incarnation) => {
        journal.registryConnected(incarnation, link.status().registry ?? '');
        plane.registryConnected(incarnation);
      },
      lost: () => {
        journal.registryLost();
        plane.registryLost();
      },
      membershipChanged: (snapshot) => plane.membershipChanged(snapshot),
      viewChanged: (view, leaves) => {
        if (leaves === undefined) {
          peers.replace(peerAddresses(view));
          dials.holdersViewed(allHolders(view, proxy));
        } else for (const leaf of leaves) dials.holdersChanged(leaf, holdersOf(view, leaf, proxy));
      },
      claimAnswered: (answer) => {
        journal.claimAnswered(answer);
        plane.claimAnswered(answer);
      },
      sessionFailed: (registry, detail) => journal.sessionFailed(registry, detail),
    },
  );
  const connections = new TunnelConnections(overrides.attachTimeoutMs ?? ATTACH_TIMEOUT_MS, (source) => journal.attachTimedOut(source));
  const relays = new Relays({
    openRelay: async (peer, source, withinMs) => peers.get(peer)?.openRelay(source, withinMs),
    started: (peer, source) => journal.relayStarted(peer, source),
    refused: (source, cause, detail) => journal.tunnelPortRefused(source, cause, detail),
    ended: (peer, source, end) => journal.relayEnded(peer, source, end),
  });
  const overview = new Overview({ proxy, generation: config.generation, plane, dials, link, peers });
  const servers = makeServers({ proxy, domain, tracing, dials, plane, connections, overview }, tls, journal);
  const listener = new TunnelListener({
    server: servers.tunnel,
    connections,
    relays,
    policy: new RelayPolicy(defaultRelayConfig(proxy, domain)),
    memberAddress: (peer) => link.view()?.member(peer)?.tunnelAddress,
    refused: (source, cause, detail) => journal.tunnelPortRefused(source, cause, detail),
  });
  const door = new FrontDoor(domain, config.frontDoor.anonymous, {
    dials,
    tracing,
    onAnswer: (request, user, status, reason) => journal.answeredHttp(request, user, status, reason),
  });
  const frontDoor = new FrontDoorServer({
    tls,
    onConnect: (request) => void door.serve(request),
    onRefused: (source, cause, detail) => journal.turnedAway(source, cause, detail),
  });
  observeState(telemetry.metrics, { plane, dials, link, relays, connections });
  return { link, plane, dials, peers, relays, connections, listener, frontDoor, servers };
}

function makeServers(ports: ServicePorts, tls: TlsSource, journal: Journal): Parts['servers'] {
  const base = (plane: 'tunnel' | 'peer' | 'access') => ({
    tls,
    streamWindowBytes: STREAM_WINDOW_BYTES,
    onError: (fault: ServerFault): void => journal.fault(plane, fault),
  });
  const tunnel = createServer({ ...base('tunnel'), services: tunnelServices(ports) });
  const peer = createServer({ ...base('peer'), maxMessageBytes: MAX_ANSWER_BYTES, maxConcurrentStreams: 20_000, services: peerServices(ports, tunnel) });
  const access = createServer({ ...base('access'), maxMessageBytes: MAX_ANSWER_BYTES, services: accessServices(ports) });
  return { tunnel, peer, access };
}

async function open(parts: Parts, config: ProxyConfig, telemetry: Telemetry): Promise<{ readonly ops: OpsServer; readonly ports: RunningProxy['ports'] }> {
  const { servers, listener, frontDoor } = parts;
  const peer = await servers.peer.listen(config.peer.listen).catch(named('peer.listen'));
  const access = await servers.access.listen(config.access.listen).catch(named('access.listen'));
  const tunnel = await listener.listen(config.tunnel.listen);
  const door = await frontDoor.listen(config.frontDoor.listen);
  const ops = await serveOps({
    listen: config.ops.listen,
    ready: () => notReady(parts),
    metrics: () => telemetry.metrics.render(),
  });
  return { ops, ports: { tunnel, peer, access, frontDoor: door, ops: ops.port } };
}

/** A proxy that no registry ever knew cannot be found by agents; one that lost its registries serves on. */
function notReady({ link, plane }: Parts): string[] {
  const { incarnation, problem } = link.status();
  if (plane.status().draining) return ['draining'];
  if (incarnation > 0n) return [];
  return [problem ?? 'no registry has registered this root proxy yet'];
}

function statusOf({ link, plane, dials, peers, relays }: Parts): ProxyStatus {
  return { root: plane.status(), registry: link.status(), dials: dials.status(), peers: peers.names(), relays: relays.size };
}

/** Lets go of everything at once. Idempotent. */
function closeNow({ link, plane, dials, peers, relays, connections, listener, frontDoor, servers }: Parts): void {
  listener.close();
  frontDoor.close();
  link.close();
  plane.stop();
  dials.abortAll('shutdown', 'the root proxy stops');
  relays.abortAll();
  connections.closeAll();
  peers.close();
  for (const server of [servers.access, servers.peer, servers.tunnel]) void server.close(0);
  dials.stop();
}

/** host:port of each plane as other root proxies reach it. */
function advertised(config: ProxyConfig, ports: RunningProxy['ports']): { readonly peerAddress: string; readonly tunnelAddress: string } {
  return {
    peerAddress: config.peer.advertise ?? withPort(config.peer.listen, ports.peer),
    tunnelAddress: config.tunnel.advertise ?? withPort(config.tunnel.listen, ports.tunnel),
  };
}

function withPort(address: string, port: number): string {
  const host = parseHostPort(address)?.host ?? '127.0.0.1';
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function named(key: string): (error: unknown) => never {
  return (error) => {
    throw new OperatingError(`${key}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  };
}

function openTelemetry(config: ProxyConfig): Telemetry {
  return startTelemetry({
    service: 'root-proxy',
    instance: config.id,
    version: VERSION,
    logLevel: config.log.level,
    otlpEndpoint: config.telemetry.otlpEndpoint,
  });
}

function openTls(config: ProxyConfig, telemetry: Telemetry): TlsSource {
  const source = fileTlsSource(config.tls, {
    onProblem: (problem) => {
      telemetry.metrics.counter(METRIC.tlsReloads, { result: 'failed' }).add();
      telemetry.log.error(EVENT.tlsReloadFailed, { detail: problem.message });
    },
    onReload: (notAfterMs) => {
      telemetry.metrics.counter(METRIC.tlsReloads, { result: 'reloaded' }).add();
      telemetry.log.info(EVENT.tlsReloaded, { notAfter: new Date(notAfterMs).toISOString() });
    },
  });
  telemetry.metrics.observe(METRIC.certificateExpirySeconds, () => (source.notAfterMs() - Date.now()) / 1_000);
  const problem = identityProblem(source.current().cert, config);
  if (problem === undefined) return source;
  source.close();
  throw new OperatingError(problem);
}

/** Everybody would refuse a proxy whose certificate names somebody else: better said here, with the remedy. */
function identityProblem(cert: string, { domain, id, tls }: ProxyConfig): string | undefined {
  const names = new X509Certificate(cert).subjectAltName ?? '';
  const uris = names.split(', ').flatMap((name) => (name.startsWith('URI:') ? [name.slice('URI:'.length)] : []));
  const identity = parseIdentity(uris, domain);
  if (identity.kind === 'problem') return `tls.cert: ${tls.cert} cannot be used: ${identity.detail}`;
  if (identity.kind === 'proxy' && identity.proxy === id) return undefined;
  return `tls.cert: ${tls.cert} is the certificate of ${describeIdentity(identity)}, the configuration says root proxy ${id}; set id accordingly or use the right files`;
}
