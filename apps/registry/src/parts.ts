import type { AuditLog } from '@xylem/audit';
import { createServer } from '@xylem/grpc';
import type { GrpcServer, ServerFault, TlsSource } from '@xylem/grpc';
import { StatementSigner, StatementVerifier, UserProofs } from '@xylem/identity';
import { DEFAULT_REGISTRY_CONFIG } from '@xylem/membership';
import type { RegistryConfig } from '@xylem/membership';
import { EVENT } from '@xylem/telemetry';
import type { Telemetry } from '@xylem/telemetry';
import { Attestor, attestAnew } from './attestor.ts';
import { Guard } from './authorise.ts';
import { openPlane } from './authority/open.ts';
import { ADMIN_PREFIX } from './authority/own-identity.ts';
import type { AuthorityPlane } from './authority/plane.ts';
import { knownIntermediates } from './authority/intermediates.ts';
import type { Mirror } from './authority/mirror.ts';
import { openAuthorityStore } from './authority/store.ts';
import type { AuthorityStore } from './authority/store.ts';
import { openAccess } from './access/open.ts';
import type { Access } from './access/open.ts';
import type { PasswordCost } from './access/passwords.ts';
import type { RegistrySettings } from './config.ts';
import { openExternalCredentials } from './credentials.ts';
import { openEnrolment } from './enrolment/open.ts';
import type { EnrolmentListener } from './enrolment/listener.ts';
import { Grants } from './grants/grants.ts';
import { adminMethods } from './handlers/admin/table.ts';
import { grantMethods } from './handlers/grants.ts';
import { sessionHandler } from './handlers/session.ts';
import type { Observer } from './observer.ts';
import { newBoot, Replica } from './replica.ts';
import { loginRoutes } from './login/routes.ts';
import { openLogins } from './login/open.ts';
import { SecurityHub } from './security/hub.ts';
import type { PolicyPart } from './security/hub.ts';
import { RevokedProxiesNotice } from './security/revoked-proxies.ts';
import { Revoked } from './security/revoked.ts';
import type { StoreAccess } from './store-access.ts';

/** What `assemble` needs that `start` has opened already. */
export interface Opened {
  readonly settings: RegistrySettings;
  readonly telemetry: Telemetry;
  readonly observer: Observer;
  readonly audit: AuditLog;
  readonly store: StoreAccess;
  /** In place of certificates of the configuration or of an own authority. */
  readonly tls: TlsSource | undefined;
  readonly core: Partial<RegistryConfig> | undefined;
  readonly passwordCost: PasswordCost | undefined;
  /** What is to be closed, the first first. */
  readonly closers: (() => Promise<void> | void)[];
}

/** The parts of one replica, put together and not yet listening. */
export interface Parts {
  readonly replica: Replica;
  readonly server: GrpcServer;
  readonly records: AuthorityStore;
  /** undefined with certificates from elsewhere. */
  readonly plane: AuthorityPlane | undefined;
  readonly enrolment: EnrolmentListener | undefined;
}

/** A view of 100,000 claims fits, the most there may be; root proxies read as much. */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
const QUEUE_LIMIT_BYTES = 20 * 1024 * 1024;

export async function assemble(opened: Opened): Promise<Parts> {
  const { settings, telemetry, audit, store, closers } = opened;
  const { domain } = settings;
  const onLost = (detail: string): void => telemetry.log.info(EVENT.watchRestarted, { detail });
  const records = openAuthorityStore(store.client, onLost);
  closers.unshift(() => records.close());
  const external = opened.tls ?? (await openExternal(opened));
  const plane = external === undefined ? await openPlane(settings, records, audit, telemetry) : undefined;
  if (plane !== undefined) closers.unshift(() => plane.close());
  const tls = external ?? plane?.tls;
  if (tls === undefined) throw new Error('bug in registry: neither certificates from elsewhere nor an authority');
  const signer = new StatementSigner({ domain, current: () => tls.current() });
  const verifier = new StatementVerifier({ domain, trust: () => tls.current().ca });
  const replica = openReplica(opened, tls, signer);
  const access = openAccess({ settings, records, audit, telemetry, passwordCost: opened.passwordCost });
  closers.unshift(() => access.close());
  const revoked = new Revoked(records.mirror, domain);
  const epoch = (): bigint => replica.status().stamp?.epoch ?? 0n;
  const hub = new SecurityHub({ mirror: records.mirror, epoch, policy: () => policyPart(access) });
  access.inForce.onChange(() => hub.refresh());
  const notice = openNotice(opened, { mirror: records.mirror, epoch, signer, tls });
  const guard = new Guard({
    domain,
    audit,
    isAdmin: (user) => user.startsWith(ADMIN_PREFIX) || access.inForce.isAdmin(user),
    refusal: (identity, peer) => revoked.refusal(identity, peer),
  });
  const { certificateTtlMs, userTtlMs } = settings.authority;
  const longestTtlMs = Math.max(certificateTtlMs, userTtlMs);
  const server = createServer({
    tls,
    services: [
      sessionHandler({ replica, guard, hub, notice, verifier, enrolPort: () => plane?.enrolPort ?? 0 }),
      ...grantMethods(openGrants(opened, { tls, signer, revoked, access, mirror: records.mirror }), guard),
      ...adminMethods({ domain, guard, access, store: plane?.store ?? records, audit, plane, longestTtlMs }),
    ],
    maxMessageBytes: MAX_MESSAGE_BYTES,
    queueLimitBytes: QUEUE_LIMIT_BYTES,
    onError: (fault) => logFault(telemetry, fault),
  });
  closers.unshift(() => server.close(0));
  revoked.attach(server);
  const enrolment = plane === undefined ? undefined : serveEnrolment(opened, plane, replica, access);
  if (enrolment !== undefined) closers.unshift(() => enrolment.close());
  records.mirror.start();
  access.start();
  return { replica, server, records, plane, enrolment };
}

function serveEnrolment(
  { settings, telemetry, audit }: Opened,
  plane: AuthorityPlane,
  replica: Replica,
  access: Access,
): EnrolmentListener {
  const { domain } = settings;
  const routes = loginRoutes(openLogins({ settings, plane, access, audit }), domain);
  return openEnrolment({ domain, plane, replica, routes, telemetry });
}

/** Canonical JSON is YAML, too; before anybody has set a policy it is empty, which denies everything. */
function policyPart({ inForce }: Access): PolicyPart {
  const { version, canonical, groups } = inForce.rules;
  return {
    policyVersion: BigInt(version),
    policy: version === 0 ? '' : canonical,
    groups: [...groups].sort(([a], [b]) => (a < b ? -1 : 1)).map(([user, own]) => ({ user, groups: [...own] })),
  };
}

async function openExternal({ settings, telemetry, closers }: Opened): Promise<TlsSource | undefined> {
  const credentials = await openExternalCredentials(settings, telemetry);
  if (credentials !== undefined) closers.push(() => credentials.close());
  return credentials;
}

function openGrants(
  { settings, telemetry }: Opened,
  parts: {
    readonly tls: TlsSource;
    readonly signer: StatementSigner;
    readonly revoked: Revoked;
    readonly access: Access;
    readonly mirror: Mirror;
  },
): Grants {
  const { tls, signer, revoked, access, mirror } = parts;
  const proofs = new UserProofs({
    domain: settings.domain,
    trust: () => tls.current().ca,
    intermediates: () => knownIntermediates(mirror),
    refusal: (identity, issuedAtMs) => revoked.refusalOf(identity, issuedAtMs),
  });
  return new Grants({
    signer,
    proofs,
    policy: access.inForce,
    ready: (waitMs) => access.inForce.becomesKnown(waitMs),
    offlineMs: settings.grants.offlineMs,
    behindMs: () => mirror.behindMs,
    requireSigned: settings.grants.requireSigned,
    onProblem: (detail) => telemetry.log.error(EVENT.statementFailed, { detail }),
  });
}

function openNotice(
  { telemetry, closers }: Opened,
  parts: {
    readonly mirror: Mirror;
    readonly epoch: () => bigint;
    readonly signer: StatementSigner;
    readonly tls: TlsSource;
  },
): RevokedProxiesNotice {
  const { mirror, epoch, signer, tls } = parts;
  const onProblem = (detail: string): void => telemetry.log.error(EVENT.statementFailed, { detail });
  const notice = new RevokedProxiesNotice({ mirror, epoch, signer, onProblem });
  closers.unshift(tls.onChange(() => notice.renewed()));
  closers.unshift(() => notice.close());
  return notice;
}

function openReplica(
  { settings, telemetry, observer, store, core, closers }: Opened,
  tls: TlsSource,
  signer: StatementSigner,
): Replica {
  const attestor = new Attestor(signer, (detail) => telemetry.log.error(EVENT.statementFailed, { detail }));
  const replica = new Replica({
    ...store.client,
    ...observer.hooks,
    config: coreConfig(settings, store, core),
    attest: (stamp, members) => attestor.attest(stamp, members),
  });
  closers.unshift(() => replica.kill());
  closers.unshift(attestAnew(attestor, replica, tls));
  return replica;
}

function coreConfig(
  { id, leaseTtlMs, heartbeatIntervalMs }: RegistrySettings,
  { name }: StoreAccess,
  core: Partial<RegistryConfig> | undefined,
): RegistryConfig {
  return {
    ...DEFAULT_REGISTRY_CONFIG,
    registry: id,
    boot: newBoot(),
    storeName: name,
    leaseTtlMs,
    heartbeatIntervalMs,
    sessionTimeoutMs: 3 * heartbeatIntervalMs,
    ...core,
  };
}

function logFault(telemetry: Telemetry, fault: ServerFault): void {
  const detail = fault.cause instanceof Error ? fault.cause.message : String(fault.cause);
  if (fault.kind === 'handler') telemetry.log.error(EVENT.internalError, { where: fault.where, error: fault.cause });
  else telemetry.log.warn(EVENT.handshakeFailed, { where: fault.where, detail });
}
