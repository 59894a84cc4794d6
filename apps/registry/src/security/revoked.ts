import { REVOCATIONS_PREFIX, Revocations, decodeRevocation } from '@xylem/authority';
import type { GrpcServer, StreamPeer } from '@xylem/grpc';
import { BACKDATE_MS, parseIdentity } from '@xylem/identity';
import { nameOf } from '../authority/enrolments.ts';
import type { Mirror } from '../authority/mirror.ts';

/** What is revoked, and its effect on who is connected to this registry: cut at once, and refused from then on. */
export class Revoked {
  readonly #revocations = new Revocations();
  readonly #mirror: Mirror;
  readonly #domain: string;
  /** Counts lists, so that a restored store, whose revisions go back, is believed. */
  #lists = 0n;
  #server: Pick<GrpcServer, 'cut'> | undefined;

  constructor(mirror: Mirror, domain: string) {
    this.#mirror = mirror;
    this.#domain = domain;
    mirror.onChange(() => this.#changed());
  }

  /** Whose sessions are to be cut. */
  attach(server: Pick<GrpcServer, 'cut'>): void {
    this.#server = server;
  }

  /** Why nothing is served to this peer; undefined when it is. */
  refusal(identity: string, peer: Pick<StreamPeer, 'notBeforeMs'>): string | undefined {
    return this.refusalOf(identity, (peer.notBeforeMs ?? 0) + BACKDATE_MS);
  }

  /** The same for credentials that were issued at this moment, wherever they were shown. */
  refusalOf(identity: string, issuedAtMs: number): string | undefined {
    const record = this.#revocations.find(identity, issuedAtMs);
    return record === undefined ? undefined : 'its certificate was revoked';
  }

  #changed(): void {
    this.#lists += 1n;
    const records = this.#mirror.under(REVOCATIONS_PREFIX).flatMap((text) => decodeRevocation(text) ?? []);
    for (const { identity } of this.#revocations.replace(this.#lists, records)) {
      this.#server?.cut((peer) => this.#isOf(peer, identity) && this.refusal(identity, peer) !== undefined, 'revoked');
    }
  }

  #isOf(peer: StreamPeer, identity: string): boolean {
    const parsed = parseIdentity(peer.uris, this.#domain);
    return parsed.kind !== 'problem' && nameOf(parsed, this.#domain) === identity;
  }
}
