/**
 * Every name that leaves the product as telemetry: spans, attributes, metrics, log events. One file, so that a dashboard or
 * an alert has one place to look, and a rename is seen for what it is.
 */

/** One trace per user connection, attach, claim and drain; no span lives as long as a stream. */
export const SPAN = {
  /** Front door of a root proxy: from the request to the dial's outcome. Root of a user connection's trace. */
  frontDoor: 'xylem.front_door',
  /** AccessService.Dial: from `open` to the outcome. */
  accessDial: 'xylem.access.dial',
  /** A root proxy hands the dial to a peer. */
  peerForward: 'xylem.peer.forward',
  /** The receiving side of `peerForward`. */
  peerReceive: 'xylem.peer.receive',
  /** A root proxy asks its agent to dial. */
  tunnelDial: 'xylem.tunnel.dial',
  /** The agent connects to the node. */
  nodeConnect: 'xylem.node.connect',
  /** One discovery dial of an agent, up to the welcome. */
  discoveryDial: 'xylem.discovery.dial',
  /** A root proxy takes in a tunnel: hello to claim decision. */
  attach: 'xylem.tunnel.attach',
  /** A claim is written to etcd. */
  claimRecord: 'xylem.claim.record',
  claimRelease: 'xylem.claim.release',
  /** From the announcement to the last connection. */
  drain: 'xylem.drain',
  registerMember: 'xylem.member.register',
} as const;
export type SpanName = (typeof SPAN)[keyof typeof SPAN];

export const ATTRIBUTE = {
  leaf: 'xylem.leaf',
  agent: 'xylem.agent',
  proxy: 'xylem.proxy',
  registry: 'xylem.registry',
  node: 'xylem.node',
  port: 'xylem.port',
  user: 'xylem.user',
  connection: 'xylem.connection',
  tunnel: 'xylem.tunnel',
  slot: 'xylem.claim.slot',
  fencingToken: 'xylem.claim.fencing_token',
  incarnation: 'xylem.proxy.incarnation',
  outcome: 'xylem.dial.outcome',
  reason: 'xylem.reason',
  via: 'xylem.via',
  hops: 'xylem.hops',
  steered: 'xylem.steered',
  openConnections: 'xylem.open_connections',
} as const;
export type AttributeName = (typeof ATTRIBUTE)[keyof typeof ATTRIBUTE];

/** What a metric is. Prometheus names have dots as underscores; counters end in `_total`. */
export interface MetricDefinition<Label extends string = string> {
  readonly name: string;
  readonly kind: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labels: readonly Label[];
}

function metric<const Label extends string = never>(
  kind: MetricDefinition['kind'],
  name: string,
  help: string,
  labels: readonly Label[] = [],
): MetricDefinition<Label> {
  return { name, kind, help, labels };
}

export const METRIC = {
  // Discovery, leaf agent.
  poolEntries: metric('gauge', 'xylem.pool.entries', 'Root proxies in the pool by state.', ['state']),
  wanted: metric('gauge', 'xylem.discovery.wanted', 'Root proxies that a dial would be for.'),
  claimedProxies: metric('gauge', 'xylem.discovery.claimed', 'Root proxies claimed by this agent.'),
  discoveryDials: metric('counter', 'xylem.discovery.dials', 'Dials through the load balancer by result.', ['result']),
  wastedDials: metric(
    'counter',
    'xylem.discovery.wasted_dials',
    'Dials that met a proxy already held or one that is gone.',
  ),
  balancerHits: metric('counter', 'xylem.discovery.balancer_hits', 'Where the balancer sent dials: its fairness.', [
    'proxy',
  ]),
  fullMeshSeconds: metric(
    'gauge',
    'xylem.discovery.full_mesh_seconds',
    'Last time from wanting a proxy to wanting none.',
  ),
  gossipAgeSeconds: metric('gauge', 'xylem.gossip.age_seconds', 'Time since the newest gossip arrived.'),
  gossipMessages: metric('counter', 'xylem.gossip.messages', 'Gossip messages by kind.', ['kind']),
  gossipRefused: metric('counter', 'xylem.gossip.refused', 'Gossip that no registry vouches for, by cause.', ['cause']),
  grantSeconds: metric('histogram', 'xylem.grant_seconds', 'Time that leave for a dial took, by who gave it.', ['how']),
  grantsRefused: metric('counter', 'xylem.grants.refused', 'Dials without a grant that counts, by cause.', ['cause']),
  // Tunnels and claims, root proxy (tunnels also at the agent).
  tunnels: metric('gauge', 'xylem.tunnels', 'Tunnels by state.', ['state']),
  relayedTunnels: metric('gauge', 'xylem.tunnels_relayed', 'Tunnels that run through another root proxy.'),
  tunnelsOpened: metric('counter', 'xylem.tunnels_opened', 'Tunnels accepted.'),
  tunnelsClosed: metric('counter', 'xylem.tunnels_closed', 'Tunnels ended by reason.', ['reason']),
  relays: metric('counter', 'xylem.relays', 'Steered connections by result of the relay.', ['result']),
  enrolmentsRelayed: metric('counter', 'xylem.enrolments_relayed', 'Connections handed on to a registry by result.', [
    'result',
  ]),
  handshakesRefused: metric(
    'counter',
    'xylem.handshakes_refused',
    'Connections that ended before they were anybody, by cause.',
    ['plane', 'cause'],
  ),
  claims: metric('gauge', 'xylem.claims', 'Claim slots held by state.', ['state']),
  claimDecisions: metric('counter', 'xylem.claim.decisions', 'Answers to claims.', ['result']),
  claimsUnrecorded: metric('gauge', 'xylem.claims_unrecorded', 'Claims in memory that etcd does not show yet.'),
  claimRecordSeconds: metric('histogram', 'xylem.claim.record_seconds', 'Time to write a claim to etcd.'),
  // Connections, root proxy and agent.
  dials: metric('counter', 'xylem.dials', 'User dials by outcome.', ['outcome']),
  dialSeconds: metric('histogram', 'xylem.dial_seconds', 'Time from a user dial to its outcome.', ['outcome']),
  openConnections: metric('gauge', 'xylem.connections', 'Carried connections open now.'),
  connectionEnds: metric('counter', 'xylem.connections_ended', 'Carried connections by how they ended.', ['reason']),
  carriedBytes: metric('counter', 'xylem.carried_bytes', 'Payload bytes by direction, seen from the user.', [
    'direction',
  ]),
  heldBackSeconds: metric(
    'counter',
    'xylem.held_back_seconds',
    'Time that connections were not read, all of them together, by what held them back.',
    ['by'],
  ),
  peerForwards: metric('counter', 'xylem.peer.forwards', 'Dials handed to a peer by outcome.', ['outcome']),
  frontDoorAnswers: metric('counter', 'xylem.front_door.answers', 'HTTP answers of the front door by status.', [
    'status',
  ]),
  pendingDials: metric('gauge', 'xylem.dials_pending', 'Dials without an outcome yet.'),
  // Liveness.
  pingSeconds: metric('histogram', 'xylem.ping_seconds', 'Round trip of PING over the control stream.'),
  probeSeconds: metric('histogram', 'xylem.probe_seconds', 'Round trip of a probe over the way that dials go.'),
  claimsUnserved: metric(
    'counter',
    'xylem.claims_unserved',
    'Claims revoked because their holders did not serve them.',
  ),
  livenessLosses: metric('counter', 'xylem.liveness_losses', 'Peers given up for silence.'),
  // Registry.
  sessions: metric('gauge', 'xylem.registry.sessions', 'Root proxies with a session at this replica.'),
  sessionEnds: metric('counter', 'xylem.registry.sessions_ended', 'Sessions ended by reason.', ['reason']),
  registryConnected: metric('gauge', 'xylem.registry.connected', '1 while this proxy has a registry session.'),
  members: metric('gauge', 'xylem.members', 'Members in the newest view.'),
  viewRevision: metric('gauge', 'xylem.view_revision', 'etcd revision of the newest view.'),
  clonedIdentities: metric('counter', 'xylem.identities.cloned', 'Identities locked because a copied key was noticed.'),
  enrolments: metric('counter', 'xylem.enrolments', 'Requests to the enrolment listener by path and answer.', [
    'path',
    'code',
  ]),
  storeOperations: metric('counter', 'xylem.store.operations', 'Store operations by kind and result.', [
    'operation',
    'result',
  ]),
  storeSeconds: metric('histogram', 'xylem.store.operation_seconds', 'Time of store operations.', ['operation']),
  storeReachable: metric('gauge', 'xylem.store.reachable', '1 while the store answers.'),
  leaseAgeSeconds: metric('gauge', 'xylem.lease.age_seconds', 'Time since the last acknowledged keepalive.'),
  watchRestarts: metric('counter', 'xylem.watch.restarts', 'Watch restarts by cause.', ['cause']),
  // Every service.
  certificateExpirySeconds: metric('gauge', 'xylem.certificate.expiry_seconds', 'Time until the own certificate ends.'),
  tlsReloads: metric('counter', 'xylem.tls.reloads', 'Credential reloads by result.', ['result']),
  auditWritable: metric('gauge', 'xylem.audit.writable', '1 while audit lines can be written.'),
  identityRenewals: metric('counter', 'xylem.identity.renewals', 'Renewals of the own certificate by result.', [
    'result',
  ]),
  identityGeneration: metric('gauge', 'xylem.identity.generation', 'Generation of the own identity.'),
  identityAlarm: metric(
    'gauge',
    'xylem.identity.alarm',
    '1 while the own certificate was not renewed within two thirds of its life.',
  ),
  residentBytes: metric('gauge', 'process.resident_memory_bytes', 'Resident memory.'),
  heapBytes: metric('gauge', 'process.heap_used_bytes', 'JavaScript heap in use.'),
  cpuSeconds: metric('counter', 'process.cpu_seconds', 'CPU time used.'),
  loopBusyRatio: metric(
    'gauge',
    'process.event_loop_busy_ratio',
    'Share of time the event loop was busy since the last scrape.',
  ),
  loopDelaySeconds: metric(
    'gauge',
    'process.event_loop_delay_seconds',
    'How late the event loop came to a timer since the last scrape.',
    ['quantile'],
  ),
} as const;

/** What happened, as `event` of a log line. `<thing>.<past tense>`. */
export const EVENT = {
  serviceStarted: 'service.started',
  serviceReady: 'service.ready',
  serviceStopping: 'service.stopping',
  serviceStopped: 'service.stopped',
  statementFailed: 'statement.failed',
  tlsReloaded: 'tls.reloaded',
  tlsReloadFailed: 'tls.reload_failed',
  tlsUntrusted: 'tls.untrusted',
  identityJoined: 'identity.joined',
  identityJoinFailed: 'identity.join_failed',
  identityRenewed: 'identity.renewed',
  identityReplaced: 'identity.replaced',
  identityRenewalFailed: 'identity.renewal_failed',
  identityRenewalRefused: 'identity.renewal_refused',
  identityAlarmRaised: 'identity.alarm_raised',
  identityAlarmCleared: 'identity.alarm_cleared',
  identityExpired: 'identity.expired',
  identityFolderBroken: 'identity.folder_broken',
  audit: 'audit',
  auditHead: 'audit.head',
  auditFailed: 'audit.failed',
  auditRecovered: 'audit.recovered',
  // Discovery, leaf agent.
  proxyFound: 'discovery.proxy_found',
  proxyGone: 'discovery.proxy_gone',
  proxyStateChanged: 'discovery.proxy_state_changed',
  dialStarted: 'discovery.dial_started',
  dialSucceeded: 'discovery.dial_succeeded',
  dialFailed: 'discovery.dial_failed',
  meshCompleted: 'discovery.mesh_completed',
  gossipReceived: 'gossip.received',
  gossipSent: 'gossip.sent',
  gossipRejected: 'gossip.rejected',
  grantRefused: 'grant.refused',
  policyChanged: 'policy.changed',
  standingGrantFailed: 'grant.standing_failed',
  // Tunnels and claims.
  tunnelAttached: 'tunnel.attached',
  tunnelRefused: 'tunnel.refused',
  tunnelClosed: 'tunnel.closed',
  tunnelRelayed: 'tunnel.relayed',
  enrolmentRelayed: 'enrolment.relayed',
  tunnelChallenged: 'tunnel.challenged',
  claimGranted: 'claim.granted',
  claimRecorded: 'claim.recorded',
  claimHeld: 'claim.held',
  claimReleased: 'claim.released',
  claimLost: 'claim.lost',
  claimUnserved: 'claim.unserved',
  standbyKept: 'standby.kept',
  standbyPromoted: 'standby.promoted',
  drainStarted: 'drain.started',
  drainFinished: 'drain.finished',
  peerSilent: 'peer.silent',
  peerConnected: 'peer.connected',
  peerLost: 'peer.lost',
  proxyRevoked: 'proxy.revoked',
  // Connections.
  connectionOpened: 'connection.opened',
  connectionRefused: 'connection.refused',
  connectionClosed: 'connection.closed',
  peerForwarded: 'peer.forwarded',
  handshakeFailed: 'handshake.failed',
  requestRejected: 'request.rejected',
  // Registry and store.
  enrolmentRefused: 'enrolment.refused',
  identityLocked: 'identity.locked',
  authorityRenewed: 'authority.renewed',
  authorityTrustChanged: 'authority.trust_changed',
  authorityFailed: 'authority.failed',
  /** The store was restored from an older backup; a record that must not go back was put back. */
  authorityPutBack: 'authority.put_back',
  policySet: 'policy.set',
  policyDelayed: 'policy.delayed',
  policyUnreadable: 'policy.unreadable',
  sessionOpened: 'session.opened',
  sessionRefused: 'session.refused',
  sessionClosed: 'session.closed',
  memberRegistered: 'member.registered',
  memberDraining: 'member.draining',
  memberLeft: 'member.left',
  memberExpired: 'member.expired',
  registryConnected: 'registry.connected',
  registryLost: 'registry.lost',
  storeUnreachable: 'store.unreachable',
  storeRecovered: 'store.recovered',
  leaseLost: 'lease.lost',
  watchRestarted: 'watch.restarted',
  epochRaised: 'epoch.raised',
  clockJumped: 'clock.jumped',
  loopLagged: 'loop.lagged',
  spansDropped: 'telemetry.spans_dropped',
  internalError: 'internal.error',
} as const;
export type EventName = (typeof EVENT)[keyof typeof EVENT];
