import { toFence } from './fence.ts';
import { quote } from './hello-check.ts';
import { isLeafId } from './ids.ts';
import { claimKey, EPOCH_KEY, MAX_SLOTS } from './keys.ts';
import type { ClaimSlot } from './keys.ts';
import type { ReleaseRequest } from './messages.ts';
import type { Pending, PendingRequests } from './pending.ts';
import type { Reactor } from './reactor.ts';
import { encodeEpoch } from './records.ts';
import type { Attached, Session } from './session.ts';
import type { Sessions } from './sessions.ts';
import type { Compare } from './store.ts';

export interface ReleaseParts {
  readonly reactor: Reactor;
  readonly sessions: Sessions;
  readonly pending: PendingRequests;
}

interface Giving {
  readonly session: Session;
  readonly request: ReleaseRequest;
  readonly slot: ClaimSlot;
}

/**
 * Deletes claim records, each only while it has the token of the release: a late or repeated one can never hurt a
 * successor.
 *
 *     If create(claim)==t && epoch==e(t)   Then Delete
 *
 * A token of an earlier epoch has nothing left to release: that claim went when its root proxy registered again.
 */
export class Releases {
  readonly #parts: ReleaseParts;

  constructor(parts: ReleaseParts) {
    this.#parts = parts;
  }

  handle(session: Session, attached: Attached, request: ReleaseRequest): void {
    const { leaf, slot } = request;
    if (!isLeafId(leaf)) return this.#malformed(session, `leaf ${quote(leaf)} is not a name`);
    if (slot >= MAX_SLOTS) return this.#malformed(session, `slot ${slot} is not below ${MAX_SLOTS}`);
    const giving = { session, request, slot: { leaf, proxy: attached.hello.proxy, slot } };
    // A claim that never got a token was never recorded.
    if (request.token === 0n) return this.#send(giving, 'done');
    if (attached.pending.size >= this.#parts.reactor.config.maxPendingPerSession)
      return this.#send(giving, 'unavailable');
    const fence = toFence(request.token);
    const key = claimKey(giving.slot);
    const compares: readonly Compare[] = [
      { key, target: 'create', equals: fence.createRevision },
      { key: EPOCH_KEY, target: 'value', equals: encodeEpoch(fence.epoch) },
    ];
    this.#parts.pending.add(
      session,
      `release ${request.request}`,
      (pending) => this.#attempt(giving, pending, compares),
      () => this.#send(giving, 'unavailable'),
    );
  }

  #attempt(giving: Giving, pending: Pending, compares: readonly Compare[]): void {
    const key = claimKey(giving.slot);
    const txn = { compares, success: [{ type: 'delete', key }], failure: [] } as const;
    this.#parts.pending.txn(giving.session, pending, txn, (outcome) => {
      if (outcome.status === 'done') this.#done(giving, pending, outcome.result.succeeded);
      else this.#parts.pending.again(giving.session, pending);
    });
  }

  #done(giving: Giving, pending: Pending, deleted: boolean): void {
    if (!this.#parts.pending.finish(giving.session, pending)) return;
    const { leaf, proxy, slot } = giving.slot;
    this.#parts.reactor.count('releases');
    if (deleted) this.#parts.reactor.report({ type: 'released', leaf, proxy, slot, token: giving.request.token });
    this.#send(giving, 'done');
  }

  #malformed(session: Session, detail: string): void {
    this.#parts.sessions.refuse(session, 'invalid', `release: ${detail}`);
  }

  #send(giving: Giving, code: 'done' | 'unavailable'): void {
    const message = { type: 'released', request: giving.request.request, code } as const;
    this.#parts.reactor.emit({ type: 'send', session: giving.session.id, message });
  }
}
