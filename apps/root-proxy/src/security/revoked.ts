import type { AuditLog } from '@xylem/audit';
import { Revocations } from '@xylem/authority';
import type { RevocationRecord } from '@xylem/authority';
import type { StreamPeer } from '@xylem/grpc';
import { BACKDATE_MS } from '@xylem/identity';
import type { registry as wire } from '@xylem/wire';

export interface RevokedPorts {
  /** Ends the sessions that match, of every server of this process. Returns how many. */
  cutSessions(matches: (peer: StreamPeer) => boolean, detail: string): number;
  /** Resets what a user has open and refuses what they wait for, however they came in. Returns how many. */
  cutUser(user: string, detail: string): number;
  /** Lets go of a connection that was made to another root proxy. */
  cutPeer(proxy: string, detail: string): void;
}

export type RevokedEntry = Pick<StreamPeer, 'uris' | 'notBeforeMs' | 'address'>;

/**
 * What has been revoked, as the registry told last, and its effect here: what is open is cut as soon as the news comes,
 * what comes later is refused. Without a registry what was told last stays.
 */
export class Revoked {
  readonly #revocations = new Revocations();
  readonly #self: string;
  readonly #prefix: string;
  readonly #audit: Pick<AuditLog, 'record'>;
  readonly #ports: RevokedPorts;

  constructor(self: string, domain: string, audit: Pick<AuditLog, 'record'>, ports: RevokedPorts) {
    this.#self = self;
    this.#prefix = `spiffe://${domain}/`;
    this.#audit = audit;
    this.#ports = ports;
  }

  update({ revision, revocations }: Pick<wire.Security, 'revision' | 'revocations'>): void {
    const records = revocations.map(({ identity, beforeMs, reason }) => ({
      identity,
      beforeMs: Number(beforeMs),
      reason: printable(reason),
    }));
    for (const record of this.#revocations.replace(revision, records)) this.#cut(record);
  }

  /** Why nothing is served to this peer; undefined when it is. Refusals are audited. */
  refusal(peer: RevokedEntry): string | undefined {
    const record = this.#recordOf(peer);
    if (record === undefined) return undefined;
    const { identity, reason } = record;
    const details = { source: peer.address, cause: 'revoked', reason };
    this.#audit.record({ kind: 'request.denied', actor: identity, subject: this.#name, outcome: 'denied', details });
    return textOf(record);
  }

  /** As `refusal`, of a root proxy that was dialled: nobody is refused, so nothing is audited. */
  isRevoked(peer: RevokedEntry): boolean {
    return this.#recordOf(peer) !== undefined;
  }

  /** Why credentials of this identity (`user/alice`), issued at that moment, count no longer; undefined when they do. */
  refusalOf(identity: string, issuedAtMs: number): string | undefined {
    const record = this.#revocations.find(identity, issuedAtMs);
    return record === undefined ? undefined : textOf(record);
  }

  get #name(): string {
    return `proxy/${this.#self}`;
  }

  /** Certificates begin a fixed time before they are issued. */
  #recordOf({ uris, notBeforeMs }: Pick<RevokedEntry, 'uris' | 'notBeforeMs'>): RevocationRecord | undefined {
    const [uri] = uris;
    if (uri === undefined || notBeforeMs === undefined || !uri.startsWith(this.#prefix)) return undefined;
    return this.#revocations.find(uri.slice(this.#prefix.length), notBeforeMs + BACKDATE_MS);
  }

  #cut(record: RevocationRecord): void {
    const { identity, reason } = record;
    const detail = textOf(record);
    const [kind, name = ''] = identity.split('/', 2);
    const connections = kind === 'user' ? this.#ports.cutUser(name, detail) : 0;
    const sessions = this.#ports.cutSessions((peer) => this.#recordOf(peer) === record, detail);
    if (kind === 'proxy') this.#ports.cutPeer(name, detail);
    if (sessions + connections === 0) return;
    const details = { reason, sessions, connections };
    this.#audit.record({ kind: 'identity.cut', actor: this.#name, subject: identity, outcome: 'done', details });
  }
}

function textOf({ identity, reason }: RevocationRecord): string {
  return reason === '' ? `${identity} was revoked` : `${identity} was revoked: ${reason}`;
}

const MAX_REASON = 128;

function printable(text: string): string {
  return text.slice(0, MAX_REASON).replaceAll(/[^\x20-\x7e]/g, '?');
}
