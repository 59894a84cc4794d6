import assert from 'node:assert/strict';
import { toFence } from '@xylem/membership';
import type { SessionId, SessionReply, SessionRequest, Stamp } from '@xylem/membership';
import type { ModelReplica } from './model-replica.ts';

/** One claim of one leaf cluster, as the root proxy's memory has it. */
interface Slot {
  /** `asking` and `releasing` go on, over sessions too, until the answer is known. */
  phase: 'idle' | 'asking' | 'held' | 'releasing';
  /** The agent went while the outcome was open: release as soon as it is known. */
  unwanted: boolean;
  nonce: string;
  token: bigint;
  /** Greatest token there ever was. */
  highest: bigint;
}

/** What the checker is told. */
export interface ProxyWitness {
  /** An instance was welcomed. */
  welcomed(proxy: string, incarnation: bigint): void;
  granted(proxy: string, leaf: string, nonce: string, token: bigint): void;
  /** Somebody else's grant holds the proxy's own slot. */
  held(proxy: string, leaf: string, nonce: string): void;
  /** A view does not have the record of a claim that is held. */
  lost(proxy: string, leaf: string, token: bigint): void;
  viewed(message: Extract<SessionReply, { type: 'view' | 'viewDelta' }>, state: ProxyView): void;
}

export interface ProxyView {
  readonly members: Map<string, bigint>;
  readonly claims: Map<string, bigint>;
  stamp: Stamp;
}

/** One process of a root proxy: keeps its claims over sessions and replicas, loses all with its life. */
export class ModelProxy {
  readonly id: string;
  readonly nonce: string;
  readonly slots = new Map<string, Slot>();
  readonly #witness: ProxyWitness;
  #replica: ModelReplica | undefined;
  #session: SessionId | undefined;
  incarnation = 0n;
  /** The session of this moment was welcomed. */
  attached = false;
  refusedAsDuplicate = false;
  #view: ProxyView | undefined;
  #newest: Stamp | undefined;
  #sequence = 0n;
  #grants = 0;
  readonly inbox: SessionReply[] = [];
  #ended = false;

  constructor(id: string, nonce: string, witness: ProxyWitness) {
    this.id = id;
    this.nonce = nonce;
    this.#witness = witness;
  }

  get connected(): boolean {
    return this.#session !== undefined;
  }

  connect(replica: ModelReplica, now: number): void {
    this.#replica = replica;
    this.inbox.length = 0;
    this.#ended = false;
    const peer = {
      deliver: (message: SessionReply) => void this.inbox.push(message),
      ended: () => void (this.#ended = true),
    };
    this.#session = replica.open(this.id, peer, now);
    this.#send(
      {
        type: 'hello',
        minVersion: 1,
        maxVersion: 1,
        proxy: this.id,
        instanceNonce: this.nonce,
        peerAddress: 'h:1',
        tunnelAddress: 'h:2',
        generation: 0,
        software: 'model',
        incarnation: this.incarnation,
        newestStamp: this.#newest,
      },
      now,
    );
  }

  /** Takes one message, or the end of the stream after the last one. False: there was nothing. */
  receive(now: number): boolean {
    const message = this.inbox.shift();
    if (message !== undefined) this.#received(message, now);
    else if (this.#ended && this.connected) this.#disconnected();
    else return false;
    return true;
  }

  /** Closes the stream; the replica hears of it. */
  disconnect(now: number): void {
    const session = this.#session;
    this.#disconnected();
    if (session !== undefined) this.#replica?.closeSession(session, now);
  }

  /** The host is lost: nobody hears of it. */
  vanish(): void {
    if (this.#session !== undefined) this.#replica?.cutOff(this.#session);
    this.#disconnected();
  }

  heartbeat(now: number): void {
    if (!this.connected) return;
    this.#sequence += 1n;
    this.#send({ type: 'heartbeat', sequence: this.#sequence }, now);
  }

  /** An agent of the leaf cluster attached. */
  claim(leaf: string, now: number): void {
    const slot = this.#slot(leaf);
    if (slot.phase !== 'idle') return;
    this.#grants += 1;
    this.#set(slot, 'asking', `${this.nonce}/${this.#grants}`);
    this.#ask(leaf, slot, now);
  }

  /** The agent of the leaf cluster went. */
  unclaim(leaf: string, now: number): void {
    const slot = this.#slot(leaf);
    if (slot.phase === 'asking') slot.unwanted = true;
    if (slot.phase !== 'held') return;
    slot.phase = 'releasing';
    this.#ask(leaf, slot, now);
  }

  drain(now: number): void {
    if (this.attached) this.#send({ type: 'drain' }, now);
  }

  leave(now: number): void {
    if (this.attached) this.#send({ type: 'leave' }, now);
  }

  #received(message: SessionReply, now: number): void {
    switch (message.type) {
      case 'welcome':
        return this.#welcomed(message.incarnation, now);
      case 'refused':
        this.refusedAsDuplicate ||= message.code === 'duplicate-id';
        return;
      case 'acquired':
        return this.#acquired(message, now);
      case 'released':
        return this.#released(message, now);
      case 'view':
      case 'viewDelta':
        return this.#viewed(message, now);
      case 'heartbeatAck':
      case 'evicted':
      case 'drainResult':
      case 'left':
        return;
    }
  }

  #welcomed(incarnation: bigint, now: number): void {
    this.#witness.welcomed(this.id, incarnation);
    assert.ok(
      incarnation >= this.incarnation,
      `${this.id} went from incarnation ${this.incarnation} to ${incarnation}`,
    );
    this.attached = true;
    if (incarnation !== this.incarnation) {
      // Every token of the old incarnation is void.
      for (const slot of this.slots.values()) {
        if (slot.phase === 'idle') continue;
        if (slot.phase === 'releasing' || slot.unwanted) this.#set(slot, 'idle', '');
        else {
          this.#grants += 1;
          this.#set(slot, 'asking', `${this.nonce}/${this.#grants}`);
        }
      }
    }
    this.incarnation = incarnation;
    for (const [leaf, slot] of this.slots) this.#ask(leaf, slot, now);
  }

  #acquired(message: Extract<SessionReply, { type: 'acquired' }>, now: number): void {
    const [leaf, slot] = this.#byRequest(message.request);
    if (slot?.phase !== 'asking') return;
    if (message.code === 'stale-incarnation') return;
    if (message.code === 'held') return this.#clear(message, leaf, now);
    if (message.code !== 'granted') return this.#ask(leaf, slot, now);
    this.#witness.granted(this.id, leaf, slot.nonce, message.token);
    assert.ok(
      message.token > slot.highest,
      `${this.id}: the token of ${leaf} went from ${slot.highest} to ${message.token}`,
    );
    slot.highest = message.token;
    const fence = toFence(message.token);
    this.#saw({ epoch: fence.epoch, revision: fence.createRevision });
    slot.token = message.token;
    slot.phase = slot.unwanted ? 'releasing' : 'held';
    if (slot.unwanted) this.#ask(leaf, slot, now);
  }

  /** A grant of our own that we gave up long ago is recorded: it goes first. */
  #clear(message: Extract<SessionReply, { type: 'acquired' }>, leaf: string, now: number): void {
    const { request, holder } = message;
    this.#witness.held(this.id, leaf, holder?.nonce ?? '');
    this.#send({ type: 'release', request, leaf, slot: 0, token: holder?.token ?? 0n }, now);
  }

  #released(message: Extract<SessionReply, { type: 'released' }>, now: number): void {
    const [leaf, slot] = this.#byRequest(message.request);
    if (slot?.phase === 'asking') return this.#ask(leaf, slot, now);
    if (slot?.phase !== 'releasing') return;
    if (message.code === 'done') this.#set(slot, 'idle', '');
    else this.#ask(leaf, slot, now);
  }

  #viewed(message: Extract<SessionReply, { type: 'view' | 'viewDelta' }>, now: number): void {
    if (message.type === 'view') {
      this.#view = { members: new Map(), claims: new Map(), stamp: message.stamp };
    } else {
      assert.deepEqual(this.#view?.stamp, message.from, 'a delta leads on from what was there');
      if (this.#view !== undefined) this.#view.stamp = message.to;
      for (const gone of message.removedMembers) this.#view?.members.delete(gone);
      for (const gone of message.removedClaims) this.#view?.claims.delete(`${gone.leaf}/${gone.proxy}/${gone.slot}`);
    }
    for (const { proxy, incarnation } of message.members) this.#view?.members.set(proxy, incarnation);
    for (const { leaf, proxy, slot, token } of message.claims)
      this.#view?.claims.set(`${leaf}/${proxy}/${slot}`, token);
    if (this.#view === undefined) return;
    this.#saw(this.#view.stamp);
    this.#witness.viewed(message, this.#view);
    this.#compare(this.#view, now);
  }

  /** What is held has its record in every view from its time on; if not, it is asked for again. */
  #compare(view: ProxyView, now: number): void {
    for (const [leaf, slot] of this.slots) {
      const fence = toFence(slot.token);
      const covered = fence.epoch === view.stamp.epoch && fence.createRevision <= view.stamp.revision;
      if (slot.phase !== 'held' || !covered || view.claims.get(`${leaf}/${this.id}/0`) === slot.token) continue;
      this.#witness.lost(this.id, leaf, slot.token);
      this.#grants += 1;
      this.#set(slot, 'asking', `${this.nonce}/${this.#grants}`);
      this.#ask(leaf, slot, now);
    }
  }

  #saw(stamp: Stamp): void {
    const { epoch = 0n, revision = 0n } = this.#newest ?? {};
    if (stamp.epoch > epoch || (stamp.epoch === epoch && stamp.revision > revision)) this.#newest = stamp;
  }

  #disconnected(): void {
    this.#session = undefined;
    this.attached = false;
    this.#ended = false;
    this.inbox.length = 0;
    this.#view = undefined;
  }

  /** Leaves are numbered by when they first came up; a request's number says which leaf it is for. */
  #ask(leaf: string, slot: Slot, now: number): void {
    if (!this.attached) return;
    const request = BigInt([...this.slots.keys()].indexOf(leaf));
    if (slot.phase === 'asking') {
      this.#send({ type: 'acquire', request, leaf, slot: 0, agent: 'a', nonce: slot.nonce }, now);
    } else if (slot.phase === 'releasing') {
      this.#send({ type: 'release', request, leaf, slot: 0, token: slot.token }, now);
    }
  }

  #byRequest(request: bigint): readonly [string, Slot | undefined] {
    return [...this.slots][Number(request)] ?? ['', undefined];
  }

  #slot(leaf: string): Slot {
    const slot = this.slots.get(leaf) ?? { phase: 'idle', unwanted: false, nonce: '', token: 0n, highest: 0n };
    this.slots.set(leaf, slot);
    return slot;
  }

  #set(slot: Slot, phase: Slot['phase'], nonce: string): void {
    slot.phase = phase;
    slot.nonce = nonce;
    slot.token = 0n;
    slot.unwanted = false;
  }

  #send(message: SessionRequest, now: number): void {
    if (this.#session !== undefined)
      this.#replica?.handle({ type: 'messageReceived', session: this.#session, message }, now);
  }
}
