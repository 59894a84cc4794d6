import { createHash } from 'node:crypto';
import type { X509Certificate } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import type { SessionEnding, StreamPeer } from './api.ts';
import { urisOfSubjectAltName } from './peer.ts';

/** A chain of ours is an end entity and one intermediate; what a peer's TLS stack shows is read no further than this. */
export const MAX_CHAIN_LENGTH = 4;

const EXPORTER_LABEL = 'EXPORTER-xylem-channel-refresh';
const EXPORTER_BYTES = 32;
/** TLS 1.3 makes no difference between none and an empty one. */
const NO_CONTEXT = Buffer.alloc(0);

/** What is kept of the certificate that the peer showed last. */
interface Shown {
  /** Its end on the wall clock, and on the monotonic clock as it was at verification. Milliseconds. */
  readonly notAfterMs: number;
  readonly validUntil: number;
  readonly notBeforeMs: number;
  /** undefined: still to be read from TLS. */
  readonly certificates: readonly Uint8Array[] | undefined;
}

/** The far end of one connection. All or nothing: a certificate that was not verified says nothing. */
export class SessionPeer implements StreamPeer {
  readonly address: string;
  readonly uris: readonly string[];
  /** Why no call of this peer is served; undefined when they are. */
  refusal: string | undefined;
  readonly #socket: TLSSocket | undefined;
  readonly #listeners = new Set<(ending: SessionEnding) => void>();
  #shown: Shown | undefined;
  #ending: SessionEnding | undefined;

  /** @param connection TLS with its handshake done, or anything else, which has no identity. */
  constructor(connection: Duplex | undefined, address: string) {
    this.address = address;
    this.#socket = connection instanceof TLSSocket ? connection : undefined;
    const certificate = this.#socket?.authorized === true ? this.#socket.getPeerX509Certificate() : undefined;
    this.uris = certificate === undefined ? [] : urisOf(certificate);
    if (certificate === undefined) return;
    this.#shown = { ...validityOf(certificate), certificates: undefined };
  }

  get notAfterMs(): number | undefined {
    return this.#shown?.notAfterMs;
  }

  get notBeforeMs(): number | undefined {
    return this.#shown?.notBeforeMs;
  }

  /** When the certificate shown last ends, on the clock of performance.now(); undefined without one. */
  get validUntil(): number | undefined {
    return this.#shown?.validUntil;
  }

  get certificates(): readonly Uint8Array[] {
    const shown = this.#shown;
    if (shown === undefined) return [];
    if (shown.certificates !== undefined) return shown.certificates;
    const certificates = chainOf(this.#socket);
    // A socket that is gone tells nothing any more.
    if (certificates.length > 0) this.#shown = { ...shown, certificates };
    return certificates;
  }

  /** Whether this is the certificate that the peer showed last. DER. */
  shows(endEntity: Uint8Array): boolean {
    const [known] = this.certificates;
    return known !== undefined && Buffer.compare(known, endEntity) === 0;
  }

  get ending(): SessionEnding | undefined {
    return this.#ending;
  }

  /**
   * Keying material that only the two ends of this TLS connection know (RFC 8446 section 7.5), whatever relays its bytes.
   * undefined when the peer was not verified or the connection is gone.
   */
  exporter(): Buffer | undefined {
    const socket = this.#socket;
    if (socket === undefined || socket.destroyed || this.#shown === undefined) return undefined;
    return socket.exportKeyingMaterial(EXPORTER_BYTES, EXPORTER_LABEL, NO_CONTEXT);
  }

  /** Takes a newer certificate that was verified and has the same `uris`. An older one changes nothing. */
  renew(certificate: X509Certificate, chain: readonly Uint8Array[]): void {
    const validity = validityOf(certificate);
    if (this.#shown === undefined || validity.notAfterMs <= this.#shown.notAfterMs) return;
    this.#shown = { ...validity, certificates: chain };
  }

  onEnding(listener: (ending: SessionEnding) => void): () => void {
    if (this.#ending !== undefined) listener(this.#ending);
    else this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Tells everybody once. */
  announce(ending: SessionEnding): void {
    if (this.#ending !== undefined) return;
    this.#ending = ending;
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const listener of listeners) listener(ending);
  }
}

/** Who is at the far end of a connection that serves something else than gRPC. */
export function peerOf(connection: Duplex, address: string): StreamPeer {
  return new SessionPeer(connection, address);
}

/** Names of an end entity. An authority is nobody, whatever its certificate says: TLS lets one be shown as anybody's. */
export function urisOf(certificate: X509Certificate): readonly string[] {
  if (certificate.ca) return [];
  const text = certificate.subjectAltName;
  return text === undefined ? [] : urisOfSubjectAltName(text);
}

/** Of SHA-256, lower-case hex. */
export function fingerprintOf(certificate: Uint8Array): string {
  return createHash('sha256').update(certificate).digest('hex');
}

/**
 * What is left of a certificate just verified, moved to the monotonic clock. A wall clock set later changes nothing; one
 * that was wrong at verification cannot give more than the certificate's whole life.
 */
function validityOf(certificate: X509Certificate): Omit<Shown, 'certificates'> {
  const notAfterMs = certificate.validToDate.getTime();
  const notBeforeMs = certificate.validFromDate.getTime();
  const remainingMs = Math.min(notAfterMs - Date.now(), notAfterMs - notBeforeMs);
  return { notAfterMs, notBeforeMs, validUntil: performance.now() + remainingMs };
}

/** The chain as the peer sent it; a root is not part of it, because whoever checks has it. */
function chainOf(socket: TLSSocket | undefined): readonly Uint8Array[] {
  const chain: Uint8Array[] = [];
  let certificate = socket?.getPeerX509Certificate();
  while (certificate !== undefined && chain.length < MAX_CHAIN_LENGTH) {
    if (chain.length > 0 && certificate.checkIssued(certificate)) break;
    chain.push(certificate.raw);
    certificate = certificate.issuerCertificate;
  }
  return chain;
}
