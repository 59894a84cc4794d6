import { canonicalText, isProxyName, normalise } from '@xylem/discovery';
import type { Incarnation, ProxyId, ProxyRecord } from '@xylem/discovery';
import { membershipDigest } from '@xylem/identity';
import type { StatementSigner, TlsSource } from '@xylem/identity';
import type { Stamp, ViewMember } from '@xylem/membership';
import type { Replica } from './replica.ts';

/** Signs member lists for agents: each list once per stamp, however many root proxies it goes to. */
export class Attestor {
  readonly #signer: Pick<StatementSigner, 'membership'>;
  readonly #onProblem: (detail: string) => void;
  #last: { readonly stamp: Stamp; readonly sha256: string; readonly statement: string } | undefined;

  constructor(signer: Pick<StatementSigner, 'membership'>, onProblem: (detail: string) => void) {
    this.#signer = signer;
    this.#onProblem = onProblem;
  }

  /** Empty when it cannot be signed: agents then keep what they know. */
  attest(stamp: Stamp, members: readonly ViewMember[]): string {
    const sha256 = membershipDigest(
      canonicalText({ kind: 'snapshot', stamp, proxies: normalise(members.flatMap(recordOf)) }),
    );
    const last = this.#last;
    if (last?.sha256 === sha256 && last.stamp.epoch === stamp.epoch && last.stamp.revision === stamp.revision) {
      return last.statement;
    }
    try {
      const statement = this.#signer.membership({ ...stamp, sha256 });
      this.#last = { stamp, sha256, statement };
      return statement;
    } catch (error) {
      this.#onProblem(error instanceof Error ? error.message : String(error));
      return '';
    }
  }

  /** What was signed with the key before is not used any more. */
  renewed(): void {
    this.#last = undefined;
  }
}

/** Each root proxy keeps what was signed last, so it is signed again this often: it must outlast the replica that goes away. */
const ATTEST_INTERVAL_MS = 300_000;

/** Has statements signed anew with each new certificate, and every five minutes. Returns the way to stop. */
export function attestAnew(
  attestor: Attestor,
  replica: Pick<Replica, 'attestAgain'>,
  tls: Pick<TlsSource, 'onChange'>,
): () => void {
  const again = (): void => {
    attestor.renewed();
    replica.attestAgain();
  };
  const stop = tls.onChange(again);
  const timer = setInterval(again, ATTEST_INTERVAL_MS).unref();
  return () => {
    stop();
    clearInterval(timer);
  };
}

function recordOf({ proxy, incarnation, draining, generation }: ViewMember): ProxyRecord[] {
  if (!isProxyId(proxy) || !isIncarnation(incarnation)) return [];
  return [{ id: proxy, incarnation, state: draining ? 'draining' : 'ready', generation }];
}

function isProxyId(text: string): text is ProxyId {
  return isProxyName(text);
}

function isIncarnation(value: bigint): value is Incarnation {
  return value >= 0n;
}
