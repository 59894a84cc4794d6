import { REVOCATIONS_PREFIX, decodeRevocation } from '@xylem/authority';
import { MAX_REVOKED_PROXIES, isName } from '@xylem/identity';
import type { StatementSigner } from '@xylem/identity';
import type { Mirror } from '../authority/mirror.ts';

export interface NoticeOptions {
  readonly mirror: Mirror;
  /** Epoch of the store; 0n while it is not known. */
  readonly epoch: () => bigint;
  readonly signer: Pick<StatementSigner, 'revokedProxies'>;
  /** It cannot be signed: agents then keep what they know. */
  readonly onProblem: (detail: string) => void;
}

interface Signed {
  readonly epoch: bigint;
  /** What it says, for comparing. */
  readonly list: string;
  readonly statement: string;
}

const PROXY = 'proxy/';

/**
 * What agents are told of revoked root proxies: signed here, passed on by every root proxy that has a session, so that one that was
 * revoked cannot keep it back. Nothing is said before the first is revoked; when the last record has lapsed, that is said.
 */
export class RevokedProxiesNotice {
  readonly #options: NoticeOptions;
  readonly #listeners = new Set<(statement: string) => void>();
  readonly #stop: () => void;
  #signed: Signed | undefined;

  constructor(options: NoticeOptions) {
    this.#options = options;
    this.#stop = options.mirror.onChange(() => this.#look());
  }

  /** Calls back with what was signed last, if anything was, and with every later one; returns the way to stop. */
  subscribe(listener: (statement: string) => void): () => void {
    // A session begins after the epoch became known, and again after each restore.
    this.#look();
    const entry = (statement: string): void => listener(statement);
    this.#listeners.add(entry);
    if (this.#signed !== undefined) entry(this.#signed.statement);
    return () => void this.#listeners.delete(entry);
  }

  /** The registry has a new certificate: what was signed with the one before would end with it. */
  renewed(): void {
    const before = this.#signed;
    if (before === undefined) return;
    this.#sign(before.epoch, this.#proxies());
  }

  close(): void {
    this.#stop();
    this.#listeners.clear();
  }

  #look(): void {
    const proxies = this.#proxies();
    const epoch = this.#options.epoch();
    if (this.#signed === undefined ? proxies.size === 0 : sameAs(this.#signed, epoch, proxies)) return;
    this.#sign(epoch, proxies);
  }

  #sign(epoch: bigint, proxies: ReadonlyMap<string, number>): void {
    const { signer, mirror, onProblem } = this.#options;
    try {
      const statement = signer.revokedProxies({ epoch, revision: mirror.revision, proxies });
      this.#signed = { epoch, list: listOf(proxies), statement };
      for (const listener of [...this.#listeners]) listener(statement);
    } catch (error) {
      onProblem(error instanceof Error ? error.message : String(error));
    }
  }

  /** By name, sorted. Of more than one statement holds, those revoked last: the certificates of the others end first. */
  #proxies(): ReadonlyMap<string, number> {
    const all = this.#options.mirror.under(REVOCATIONS_PREFIX).flatMap((text) => {
      const record = decodeRevocation(text);
      const name = record?.identity.startsWith(PROXY) === true ? record.identity.slice(PROXY.length) : '';
      return record !== undefined && isName(name) ? [[name, record.beforeMs] as const] : [];
    });
    const newest = all.toSorted(([, a], [, b]) => b - a).slice(0, MAX_REVOKED_PROXIES);
    return new Map(newest.toSorted(([a], [b]) => (a < b ? -1 : 1)));
  }
}

function sameAs(signed: Signed, epoch: bigint, proxies: ReadonlyMap<string, number>): boolean {
  return signed.epoch === epoch && signed.list === listOf(proxies);
}

function listOf(proxies: ReadonlyMap<string, number>): string {
  return JSON.stringify([...proxies]);
}
