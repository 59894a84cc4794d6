import { canonicalText } from '@xylem/discovery';
import type { AdmitGossip, GossipMessage } from '@xylem/discovery';
import { membershipDigest } from '@xylem/identity';
import type { MembershipStatement, StatementVerifier } from '@xylem/identity';
import type { tunnel } from '@xylem/wire';
import { readGossip } from '../tunnel/gossip.ts';
import type { GossipReading } from '../tunnel/gossip.ts';

/**
 * Takes gossip only when a registry signed the member list that results from it. In two steps, because the list that a delta leads to
 * is only known when it is merged: `read` verifies the statement, `admit` compares it with the list.
 */
export class GossipAdmission {
  readonly #verifier: Pick<StatementVerifier, 'membership'>;
  readonly #statements = new WeakMap<GossipMessage, MembershipStatement>();
  #refusal: string | undefined;

  constructor(verifier: Pick<StatementVerifier, 'membership'>) {
    this.#verifier = verifier;
  }

  /** Form and bounds first, then the statement. */
  async read(request: tunnel.DiscoveryRequest): Promise<GossipReading> {
    const reading = readGossip(request);
    if (reading.kind !== 'gossip') return reading;
    const { message } = reading;
    const verdict = await this.#verifier.membership(request.kind?.value.statement ?? '');
    if (verdict.kind === 'refused')
      return { kind: 'malformed', detail: `its statement was refused: ${verdict.detail}` };
    const { epoch, revision } = message.kind === 'snapshot' ? message.stamp : message.to;
    if (verdict.content.epoch !== epoch || verdict.content.revision !== revision) {
      return { kind: 'malformed', detail: 'its statement is of another stamp' };
    }
    this.#statements.set(message, verdict.content);
    return reading;
  }

  /** For StampedKnowledge. */
  readonly admit: AdmitGossip = (message, resulting) => {
    this.#refusal = this.#flawOf(message, resulting);
    return this.#refusal;
  };

  /** Why the message that was merged last was refused after all; undefined when it was not. */
  takeRefusal(): string | undefined {
    const refusal = this.#refusal;
    this.#refusal = undefined;
    return refusal;
  }

  #flawOf(...[message, resulting]: Parameters<AdmitGossip>): string | undefined {
    const statement = this.#statements.get(message);
    if (statement === undefined) return 'no registry signed it';
    if (resulting === undefined || membershipDigest(canonicalText(resulting)) === statement.sha256) return undefined;
    return 'the list it leads to is not the one that was signed';
  }
}
