import type { TLSSocket } from 'node:tls';
import { keyFingerprint, readVerifiedEndEntity } from '@xylem/identity';
import type { ShownCertificate } from '../authority/enrolments.ts';
import { EnrolmentProblem } from './problem.ts';

/** The client certificate of a connection. Throws an EnrolmentProblem when there is none of the domain that is valid now. */
export function shownCertificate(socket: TLSSocket, domain: string): ShownCertificate {
  const certificate = socket.authorized ? socket.getPeerX509Certificate() : undefined;
  if (certificate === undefined) throw refused('a valid client certificate is needed');
  const verified = readVerifiedEndEntity(certificate.raw, Date.now(), { domain, eku: 'client' });
  if (verified.kind === 'problem') throw refused('the client certificate is not valid here');
  const { identity, issuedAtMs, publicKey } = verified;
  return { identity, issuedAtMs, key: keyFingerprint(publicKey.export({ type: 'spki', format: 'der' })) };
}

function refused(detail: string): EnrolmentProblem {
  return new EnrolmentProblem(401, 'certificate-refused', detail, 'join again with a new token');
}
