import { X509Certificate } from 'node:crypto';
import { AccessService } from '@xylem/wire';
import { ChannelError, StatusError, createChannel } from '@xylem/grpc';
import {
  EnrolmentError,
  KeyFileError,
  describeIdentity,
  fileTlsSource,
  isSignedByOwn,
  parseIdentity,
  probeEnrolment,
  readIdentityFacts,
} from '@xylem/identity';
import type { FileTlsSource } from '@xylem/identity';
import { buildMatrix, duration, printable } from '@xylem/matrix';
import type { Matrix } from '@xylem/matrix';
import { identityFiles, remedyOf } from '../client.ts';
import type { ClientConfig } from '../config.ts';
import { refusal } from '../status-error.ts';

/** One line of `xylem doctor`. */
export interface Finding {
  readonly state: 'ok' | 'warn' | 'fail';
  readonly what: string;
  readonly text: string;
}

/** A user notices an hour before, a certificate of 90 days a week before. */
const EXPIRY_WARNING_RATIO = 0.1;
/** Services renew at half life. */
const RENEWAL_OVERDUE = 2 / 3;

/** Looks at the identity, then at every configured root proxy, then at the mesh; later checks need the earlier ones. */
export async function diagnose(config: ClientConfig, now: number, found: (finding: Finding) => void): Promise<void> {
  const tls = checkIdentity(config, now, found);
  if (tls === undefined) return;
  await checkRenewal(config.identityDir, tls, now, found);
  const matrices: Matrix[] = [];
  for (const address of config.root) {
    const matrix = await checkRoot(config, address, tls, found);
    if (matrix !== undefined) matrices.push(matrix);
  }
  const [matrix] = matrices;
  if (matrix !== undefined) checkMesh(matrix, found);
  tls.close();
}

function checkIdentity(
  config: ClientConfig,
  now: number,
  found: (finding: Finding) => void,
): FileTlsSource | undefined {
  let tls: FileTlsSource;
  try {
    tls = fileTlsSource(identityFiles(config.identityDir));
  } catch (error) {
    if (!(error instanceof KeyFileError)) throw error;
    found({ state: 'fail', what: 'identity', text: error.message });
    return undefined;
  }
  const certificate = new X509Certificate(tls.current().cert);
  const uris = (certificate.subjectAltName ?? '').split(', ').filter((name) => name.startsWith('URI:'));
  const identity = parseIdentity(
    uris.map((name) => name.slice('URI:'.length)),
    config.domain,
  );
  if (identity.kind === 'problem') found({ state: 'fail', what: 'identity', text: identity.detail });
  else {
    const state = identity.kind === 'user' ? 'ok' : 'warn';
    const note = identity.kind === 'user' ? '' : '; root proxies serve users only';
    found({ state, what: 'identity', text: `${describeIdentity(identity)} in ${config.identityDir}${note}` });
  }
  found(checkValidity(certificate, now));
  if (!isSignedByOwn(tls.current())) {
    const text = 'cert.pem was not signed by the authority in ca.pem beside it; take both from one login, or one join';
    found({ state: 'fail', what: 'identity', text });
  }
  return tls;
}

function checkValidity(certificate: X509Certificate, now: number): Finding {
  const from = Date.parse(certificate.validFrom);
  const to = Date.parse(certificate.validTo);
  const what = 'validity';
  if (now < from)
    return { state: 'fail', what, text: `starts in ${duration(from - now)}; is this machine's clock right?` };
  if (now >= to)
    return { state: 'fail', what, text: `ended ${duration(now - to)} ago; log in, join or issue it again` };
  const state = to - now < (to - from) * EXPIRY_WARNING_RATIO ? 'warn' : 'ok';
  return { state, what, text: `${duration(to - now)} left, until ${new Date(to).toISOString()}` };
}

/** Of an identity that joined by token: whether it is renewed in time, and whether a registry could be reached for it. */
async function checkRenewal(
  directory: string,
  tls: FileTlsSource,
  now: number,
  found: (finding: Finding) => void,
): Promise<void> {
  const facts = readIdentityFacts(directory);
  if (facts === undefined || facts.identity.startsWith('user/')) return;
  const { generation, issuedAtMs, notAfterMs, domain } = facts;
  const share = (now - issuedAtMs) / (notAfterMs - issuedAtMs);
  const what = 'renewal';
  const shown = `generation ${generation}, ${Math.round(share * 100)} % of its life over`;
  found(
    share < RENEWAL_OVERDUE
      ? { state: 'ok', what, text: shown }
      : { state: 'warn', what, text: `${shown}, and not renewed; is the service running? its log says why` },
  );
  for (const address of facts.enrol) {
    const name = `enrolment ${address.host}:${address.port}`;
    try {
      await probeEnrolment(address, domain, tls.current().ca);
      found({ state: 'ok', what: name, text: 'a registry answers' });
    } catch (error) {
      if (!(error instanceof EnrolmentError)) throw error;
      const remedy = error.remedy === '' ? '' : `; ${error.remedy}`;
      found({ state: 'fail', what: name, text: `${printable(error.message)}${remedy}` });
    }
  }
}

async function checkRoot(
  config: ClientConfig,
  address: string,
  tls: FileTlsSource,
  found: (finding: Finding) => void,
): Promise<Matrix | undefined> {
  const what = `root ${address}`;
  const channel = createChannel({ address, tls, serverName: config.domain, connectTimeoutMs: config.timeoutMs });
  try {
    const started = performance.now();
    await channel.connect();
    const connected = performance.now() - started;
    const matrix = buildMatrix(await channel.unary(AccessService.getStatus, {}, config.timeoutMs));
    found({ state: 'ok', what, text: `${printable(matrix.answeredBy)} answers, connected in ${duration(connected)}` });
    return matrix;
  } catch (error) {
    if (error instanceof ChannelError)
      found({ state: 'fail', what, text: `${error.stage}: ${printable(error.detail)}${tlsRemedy(error, config)}` });
    else if (error instanceof StatusError)
      found({ state: 'fail', what, text: `connected, but ${refusal('it', error, remedyOf(error)).message}` });
    else throw error;
    return undefined;
  } finally {
    channel.close();
  }
}

/** Whatever TLS says, it is one of these two: the wrong authority, or not the port for users. */
function tlsRemedy(error: ChannelError, { identityDir }: ClientConfig): string {
  // It has been asked about the port already.
  if (error.stage !== 'tls' || error.detail.endsWith('right?')) return '';
  return `; is ${identityFiles(identityDir).ca} the root cluster's, and this its port for users (access.listen, 7202)?`;
}

function checkMesh(matrix: Matrix, found: (finding: Finding) => void): void {
  const answering = printable(matrix.answeredBy);
  found(
    matrix.registryConnected
      ? { state: 'ok', what: 'registry', text: `${answering} is connected` }
      : {
          state: 'warn',
          what: 'registry',
          text: `${answering} has no registry; connections go on, membership may be old`,
        },
  );
  for (const { proxy, silence } of matrix.proxies) {
    if (silence !== '') found({ state: 'warn', what: `proxy ${printable(proxy)}`, text: printable(silence) });
  }
  if (matrix.leaves.length === 0)
    found({ state: 'warn', what: 'leaf clusters', text: 'no agent is attached anywhere' });
  for (const { leaf, agents, unclaimed } of matrix.leaves) {
    const what = `leaf ${printable(leaf)}`;
    const count = `${agents.length} ${agents.length === 1 ? 'agent' : 'agents'}`;
    if (unclaimed.length === 0) found({ state: 'ok', what, text: `${count}, every live root proxy claimed` });
    else
      found({
        state: 'warn',
        what,
        text: `${count}, not claimed: ${unclaimed.map(printable).join(', ')}; see xylem status`,
      });
  }
}
