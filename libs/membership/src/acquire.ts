import type { ClaimEntry, ClusterView } from './cluster-view.ts';
import { readClaim, readMember, viewClaim } from './cluster-view.ts';
import type { EpochKeeper } from './epoch-keeper.ts';
import { toToken } from './fence.ts';
import { quote } from './hello-check.ts';
import { isAgentId, isLeafId } from './ids.ts';
import type { AgentId, LeafId } from './ids.ts';
import { claimKey, EPOCH_KEY, MAX_SLOTS, memberKey, sessionKey } from './keys.ts';
import type { ClaimSlot } from './keys.ts';
import type { AcquireReply, AcquireRequest } from './messages.ts';
import type { Pending, PendingRequests } from './pending.ts';
import type { Reactor, TxnOutcome } from './reactor.ts';
import { found } from './reactor.ts';
import { encodeEpoch, encodeRecord } from './records.ts';
import type { Seats } from './seats.ts';
import type { Attached, Session } from './session.ts';
import type { Sessions } from './sessions.ts';
import type { TxnOperation, TxnResult } from './store.ts';

const MAX_NONCE_LENGTH = 128;

export interface AcquireParts {
  readonly reactor: Reactor;
  readonly view: ClusterView;
  readonly sessions: Sessions;
  readonly seats: Seats;
  readonly epoch: EpochKeeper;
  readonly pending: PendingRequests;
}

/** One acquire of an attached session, checked. */
interface Grant {
  readonly session: Session;
  readonly attached: Attached;
  readonly request: AcquireRequest;
  readonly slot: ClaimSlot;
  readonly agent: AgentId;
}

/**
 * Writes claim records.
 *
 *     If create(claim)==0 && create(member)==p && mod(seat)==s && epoch==e
 *     Then Put(claim, lease of P)   Else Get(claim), Get(member), Get(seat)
 *
 * A record with the nonce of the request is ours, whichever attempt wrote it. After an unknown outcome the seat is put
 * again before anything else: an attempt that is still on its way can then never write, so what is released stays so.
 */
export class Acquires {
  readonly #parts: AcquireParts;

  constructor(parts: AcquireParts) {
    this.#parts = parts;
  }

  handle(session: Session, attached: Attached, request: AcquireRequest): void {
    const { leaf, agent } = request;
    if (!isLeafId(leaf)) return this.#malformed(session, `leaf ${quote(leaf)} is not a name`);
    if (!isAgentId(agent)) return this.#malformed(session, `agent ${quote(agent)} is not a name`);
    if (request.slot >= MAX_SLOTS) return this.#malformed(session, `slot ${request.slot} is not below ${MAX_SLOTS}`);
    if (request.nonce.length === 0 || request.nonce.length > MAX_NONCE_LENGTH) {
      return this.#malformed(session, `nonce wants 1 to ${MAX_NONCE_LENGTH} characters`);
    }
    const slot = { leaf, proxy: attached.hello.proxy, slot: request.slot };
    const grant = { session, attached, request, slot, agent };
    const full = this.#full(attached, leaf);
    if (full !== undefined) return this.#unavailable(grant, full);
    this.#parts.pending.add(
      session,
      `acquire ${request.request}`,
      (pending) => this.#attempt(grant, pending),
      (underWay) => this.#giveUp(grant, underWay),
    );
  }

  /** Which bound is reached; undefined for none. */
  #full(attached: Attached, leaf: LeafId): string | undefined {
    const { maxPendingPerSession, maxClaimsPerLeaf, maxClaims } = this.#parts.reactor.config;
    if (attached.pending.size >= maxPendingPerSession)
      return `${maxPendingPerSession} requests of this proxy wait already`;
    if (this.#parts.view.claimsOf(leaf) >= maxClaimsPerLeaf) {
      return `leaf ${leaf} holds ${maxClaimsPerLeaf} claims already, the most one leaf may`;
    }
    return this.#parts.view.claimCount < maxClaims
      ? undefined
      : `there are ${maxClaims} claims already, the most one registry keeps`;
  }

  /** A try that is still on its way has an unknown outcome for good. */
  #giveUp(grant: Grant, underWay: boolean): void {
    if (underWay) this.#parts.seats.soften(grant.session);
    this.#unavailable(grant, `the store at ${this.#parts.reactor.config.storeName} does not answer`);
  }

  #attempt(grant: Grant, pending: Pending): void {
    const epoch = this.#parts.epoch.current;
    // Goes on when the seat is firm, or the epoch is known again.
    if (!grant.attached.seatFirm || epoch === undefined) return;
    this.#parts.pending.txn(grant.session, pending, acquireTxn(grant, epoch), (outcome) => {
      this.#answered(grant, pending, epoch, outcome);
    });
  }

  #answered(grant: Grant, pending: Pending, epoch: bigint, outcome: TxnOutcome): void {
    if (outcome.status === 'done') {
      if (!outcome.result.succeeded) return this.#refused(grant, pending, outcome.result);
      return this.#granted(grant, pending, toToken({ epoch, createRevision: outcome.header.revision }));
    }
    if (outcome.status === 'unknown') this.#parts.seats.soften(grant.session);
    if (outcome.status === 'failed' && outcome.cause === 'lease-not-found') return this.#stale(grant, pending);
    this.#parts.pending.again(grant.session, pending);
  }

  /** A compare failed; what was read in the same revision says which. */
  #refused(grant: Grant, pending: Pending, result: TxnResult): void {
    const claimKv = found(result, 0);
    const claim = claimKv && readClaim(grant.slot, claimKv);
    if (claim !== undefined && isOurs(claim, grant)) return this.#granted(grant, pending, claim.token);
    const memberKv = found(result, 1);
    const member = memberKv && readMember(grant.slot.proxy, memberKv);
    if (member?.incarnation !== grant.attached.incarnation) return this.#stale(grant, pending);
    if (claim !== undefined) return this.#held(grant, pending, claim);
    if (found(result, 2)?.modRevision !== grant.attached.seat.modRevision) this.#parts.seats.soften(grant.session);
    this.#parts.pending.again(grant.session, pending);
  }

  #granted(grant: Grant, pending: Pending, token: bigint): void {
    if (!this.#parts.pending.finish(grant.session, pending)) return;
    const { leaf, proxy, slot } = grant.slot;
    this.#parts.reactor.count('claimsGranted');
    this.#parts.reactor.report({ type: 'claimed', leaf, proxy, slot, agent: grant.agent, token });
    this.#send(grant, { code: 'granted', token });
  }

  #held(grant: Grant, pending: Pending, claim: ClaimEntry): void {
    if (!this.#parts.pending.finish(grant.session, pending)) return;
    this.#parts.reactor.count('claimsHeld');
    this.#send(grant, { code: 'held', holder: viewClaim(claim), detail: `held by agent ${claim.record.agent}` });
  }

  #stale(grant: Grant, pending: Pending): void {
    if (!this.#parts.pending.finish(grant.session, pending)) return;
    this.#parts.reactor.count('claimsStale');
    this.#send(grant, {
      code: 'stale-incarnation',
      detail: `proxy ${grant.slot.proxy} is no member with this incarnation`,
    });
    this.#parts.sessions.evict(
      grant.session,
      'the member record is gone: its lease lapsed or another instance replaced it',
    );
  }

  #unavailable(grant: Grant, detail: string): void {
    this.#parts.reactor.count('claimsUnavailable');
    this.#send(grant, { code: 'unavailable', detail });
  }

  #malformed(session: Session, detail: string): void {
    this.#parts.sessions.refuse(session, 'invalid', `acquire: ${detail}`);
  }

  #send(grant: Grant, reply: Pick<AcquireReply, 'code'> & Partial<AcquireReply>): void {
    this.#parts.reactor.emit({
      type: 'send',
      session: grant.session.id,
      message: { type: 'acquired', request: grant.request.request, token: 0n, holder: undefined, detail: '', ...reply },
    });
  }
}

function isOurs(claim: ClaimEntry, grant: Grant): boolean {
  return claim.record.nonce === grant.request.nonce && claim.record.incarnation === grant.attached.incarnation;
}

function acquireTxn(grant: Grant, epoch: bigint): Omit<TxnOperation, 'type'> {
  const { attached, slot, agent, request } = grant;
  const key = claimKey(slot);
  const value = encodeRecord({ agent, nonce: request.nonce, incarnation: attached.incarnation, epoch });
  return {
    compares: [
      { key, target: 'create', equals: 0n },
      { key: memberKey(slot.proxy), target: 'create', equals: attached.createRevision },
      { key: sessionKey(slot.proxy), target: 'mod', equals: attached.seat.modRevision },
      { key: EPOCH_KEY, target: 'value', equals: encodeEpoch(epoch) },
    ],
    success: [{ type: 'put', key, value, lease: attached.lease.id }],
    failure: [
      { type: 'get', key },
      { type: 'get', key: memberKey(slot.proxy) },
      { type: 'get', key: sessionKey(slot.proxy) },
    ],
  };
}
