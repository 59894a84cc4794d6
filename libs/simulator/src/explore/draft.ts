import type { Incarnation, LeafId, RootEffect, RootEvent, RootStatus, TunnelId } from '@xylem/discovery';
import { PREFIX, decodeClaim, decodeSession, toFence } from '@xylem/membership';
import type { RegistryEffect, RegistryEvent, SessionId, SessionReply, SessionRequest } from '@xylem/membership';
import { claimEvent } from '../registry-messages.ts';
import { describeOperation, viewedClaims } from './view-claims.ts';
import type { Automaton } from './automaton.ts';
import { PROXY } from './machines.ts';
import type { FenceEffect, FenceEvent } from './machines.ts';
import { AGENTS } from './state.ts';
import type { Agent, Broken, Instance, InstanceIndex, Operation, State, Tunnel } from './state.ts';
import type { Batch, StoreGraph, StoreNode } from './store-graph.ts';

export const LEAF = 'berlin' as LeafId;
const CLAIM_KEY = `${PREFIX}claims/${LEAF}/${PROXY}/0`;
export const MEMBER_KEY = `${PREFIX}proxies/${PROXY}`;
const SESSION_KEY = `${PREFIX}sessions/${PROXY}`;

/** The real cores and the store, unfolded so far. */
export interface Cores {
  readonly registry: Automaton<RegistryEvent, RegistryEffect, undefined>;
  readonly roots: readonly [Automaton<RootEvent, RootEffect, RootStatus>, Automaton<RootEvent, RootEffect, RootStatus>];
  readonly fence: Automaton<FenceEvent, FenceEffect, undefined>;
  readonly store: StoreGraph;
  readonly fencedAgents: boolean;
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

/**
 * The state that one action leads to, while it is being worked out: events go to the cores, their effects become events of others
 * or messages under way. A stream between a running proxy and the registry delivers at once; how long things take lies in
 * the store's requests and answers, in the watch, in the dials, and in the inbox of whoever is paused.
 */
export class Draft {
  readonly #cores: Cores;
  readonly #note: (line: string) => void;
  readonly #state: Mutable<State>;
  /** The first broken promise. */
  broken: Broken | undefined;

  constructor(cores: Cores, from: State, note: (line: string) => void) {
    this.#cores = cores;
    this.#note = note;
    this.#state = { ...from };
  }

  get state(): State {
    return this.#state;
  }

  status(index: InstanceIndex): RootStatus {
    return this.#cores.roots[index].view(this.#state.instances[index].core);
  }

  change(changes: Partial<State>): void {
    Object.assign(this.#state, changes);
  }

  fail(promise: string, detail: string): void {
    this.broken ??= { promise, detail };
  }

  // ---- instances -----------------------------------------------------------------------------------------------------

  update(index: InstanceIndex, changes: Partial<Instance>): void {
    const [first, second] = this.#state.instances;
    this.#state.instances = index === 0 ? [{ ...first, ...changes }, second] : [first, { ...second, ...changes }];
  }

  /** The instance hears something: at once, or when it goes on. */
  tell(index: InstanceIndex, event: RootEvent): void {
    const instance = this.#state.instances[index];
    if (instance.phase === 'paused') return this.update(index, { inbox: [...instance.inbox, event] });
    if (instance.phase !== 'running') return;
    const { next, effects, failure } = this.#cores.roots[index].react(instance.core, event);
    this.update(index, { core: next });
    if (failure !== undefined) return this.fail(failure.startsWith('S1') ? 'S1' : 'no assertion fails', failure);
    for (const effect of effects) this.#performRoot(index, effect);
    this.#checkHolders(index);
  }

  resume(index: InstanceIndex): void {
    const { inbox } = this.#state.instances[index];
    this.update(index, { phase: 'running', inbox: [] });
    for (const event of inbox) this.tell(index, event);
  }

  #performRoot(index: InstanceIndex, effect: RootEffect): void {
    switch (effect.type) {
      case 'grantClaim':
        return this.#note(`p#${String(index + 1)} grants the slot to ${effect.tunnel}`);
      case 'confirmClaim':
        return this.#confirmed(index, effect.tunnel, effect.token, effect.incarnation);
      case 'reportHeld':
        this.#note(`p#${String(index + 1)} tells ${effect.tunnel} that ${effect.holder} holds the slot; it stands by`);
        return this.tell(index, { type: 'standbyRequested', tunnel: effect.tunnel });
      case 'closeTunnel':
        this.#note(`p#${String(index + 1)} closes ${effect.tunnel}: ${effect.reason}`);
        this.dropTunnel(effect.tunnel);
        return this.tell(index, { type: 'tunnelClosed', tunnel: effect.tunnel });
      case 'recordClaim': {
        const { request, leaf, slot, agent, nonce } = effect;
        const message = { type: 'acquire', request: BigInt(request), leaf, slot, agent, nonce } as const;
        return this.#ask(index, message, { type: 'claimUnknown', request });
      }
      case 'releaseClaim': {
        const { request, leaf, slot, token } = effect;
        const message = { type: 'release', request: BigInt(request), leaf, slot, token } as const;
        this.#state.releasing = [...this.#state.releasing, { instance: index, request, token }];
        return this.#ask(index, message, { type: 'releaseUnknown', request });
      }
      case 'sendGossip':
      case 'challengeTunnel':
      case 'announceDrain':
      case 'deregister':
      case 'drained':
        return;
    }
  }

  /** S2: whoever goes by a token has had it recorded. */
  #confirmed(index: InstanceIndex, tunnel: TunnelId, token: bigint, incarnation: Incarnation): void {
    this.#note(`p#${String(index + 1)} tells ${tunnel} its token ${String(token)}`);
    if (!this.#state.store.tokens.has(toFence(token).createRevision))
      this.fail('S2', `p#${String(index + 1)} goes by token ${String(token)}, which was never recorded`);
    const agent = this.#state.tunnels.find(({ id }) => id === tunnel)?.agent;
    if (agent === undefined) return;
    this.#toFence(agent, { type: 'raised', mark: { incarnation, token } });
    this.#see(agent, incarnation);
  }

  /** S1: one holder, whatever the assertions of the core say. */
  #checkHolders(index: InstanceIndex): void {
    const holders = this.status(index).tunnels.filter(({ state }) => state === 'claimed' || state === 'provisional');
    if (holders.length > 1)
      this.fail('S1', `p#${String(index + 1)} has two holders: ${holders.map(({ tunnel }) => tunnel).join(' and ')}`);
  }

  #see(agent: Agent, incarnation: Incarnation): void {
    const [one, two] = this.#state.seen;
    if (agent === 0 && incarnation > one) this.#state.seen = [incarnation, two];
    if (agent === 1 && incarnation > two) this.#state.seen = [one, incarnation];
  }

  /** A tunnel comes up: the agent hears which incarnation it has reached. */
  admit(agent: Agent, id: TunnelId, instance: InstanceIndex): void {
    const { incarnation } = this.status(instance);
    const [effect] = this.#toFence(agent, { type: 'admitted', incarnation });
    const admission = effect?.type === 'admission' ? effect.admission : 0;
    this.#state.tunnels = [...this.#state.tunnels, { id, agent, instance, admission }];
    this.#see(agent, incarnation);
  }

  #toFence(agent: Agent, event: FenceEvent): readonly FenceEffect[] {
    const [one, two] = this.#state.fences;
    const { next, effects } = this.#cores.fence.react(this.#state.fences[agent], event);
    this.#state.fences = agent === 0 ? [next, two] : [one, next];
    return effects;
  }

  dropTunnel(id: TunnelId): void {
    this.#state.tunnels = this.#state.tunnels.filter((tunnel) => tunnel.id !== id);
  }

  /**
   * A user's connection comes over the tunnel. S3: the agent acts for no incarnation older than the newest it has seen.
   */
  dial({ id, agent, instance, admission }: Tunnel): void {
    const { incarnation, tunnels } = this.status(instance);
    const mark = { incarnation, token: tunnels.find(({ tunnel }) => tunnel === id)?.token ?? 0n };
    const before = this.#state.fences;
    const [verdict] = this.#toFence(agent, { type: 'dialled', mark, admission });
    const refused = this.#cores.fencedAgents && verdict?.type === 'verdict' && !verdict.served;
    // A dial that is refused leaves the fence as it was.
    if (refused) this.#state.fences = before;
    const seen = this.#state.seen[agent];
    const what = `the dial over ${id} of incarnation ${String(incarnation)}, having seen ${String(seen)}`;
    this.#note(`${AGENTS[agent]} ${refused ? 'refuses' : 'serves'} ${what}`);
    if (!refused && incarnation < seen) this.fail('S3', `${AGENTS[agent]} served ${what}`);
  }

  // ---- registry ------------------------------------------------------------------------------------------------------

  #ask(index: InstanceIndex, message: SessionRequest, otherwise: RootEvent): void {
    const { session } = this.#state.instances[index];
    if (session === undefined) return this.tell(index, otherwise);
    this.#note(`p#${String(index + 1)} asks the registry: ${message.type}`);
    this.toRegistry({ type: 'messageReceived', session, message });
  }

  openSession(index: InstanceIndex): void {
    const session = `s${String(this.#state.opened)}` as SessionId;
    this.#state.opened += 1;
    this.update(index, { session });
    const identity = { kind: 'proxy', proxy: PROXY } as const;
    this.toRegistry({
      type: 'sessionOpened',
      session,
      identity,
      address: `10.0.0.${String(index + 1)}:1`,
      since: 'now',
    });
    const { incarnation } = this.status(index);
    const hello = {
      minVersion: 1,
      maxVersion: 1,
      proxy: PROXY,
      instanceNonce: `p-${String(index + 1)}`,
      peerAddress: 'p:7201',
      tunnelAddress: 'p:7200',
      generation: 0,
      software: 'explored',
      incarnation,
      newestStamp: undefined,
    };
    this.toRegistry({ type: 'messageReceived', session, message: { type: 'hello', ...hello } });
  }

  /** Both ends lose the session. */
  endSession(index: InstanceIndex): void {
    const { session } = this.#state.instances[index];
    if (session === undefined) return;
    this.update(index, { session: undefined });
    this.tell(index, { type: 'registryLost' });
    this.toRegistry({ type: 'sessionClosed', session });
  }

  toRegistry(event: RegistryEvent): void {
    const { next, effects, failure } = this.#cores.registry.react(this.#state.registry, event);
    this.#state.registry = next;
    if (failure !== undefined) return this.fail('no assertion fails', failure);
    for (const effect of effects) this.#performRegistry(effect);
  }

  #performRegistry(effect: RegistryEffect): void {
    switch (effect.type) {
      case 'send':
        return this.#answered(effect.session, effect.message);
      case 'closeSession': {
        const index = this.#instanceOf(effect.session);
        if (index !== undefined) {
          this.#note(`the registry ends the session of p#${String(index + 1)}: ${effect.detail}`);
          this.update(index, { session: undefined });
          this.tell(index, { type: 'registryLost' });
        }
        return this.toRegistry({ type: 'sessionClosed', session: effect.session });
      }
      case 'request': {
        const { operation: number, request } = effect;
        this.#note(`the registry asks the store for operation ${String(number)}: ${describeOperation(request)}`);
        this.#state.operations = [...this.#state.operations, { number, request, outcome: undefined, abandoned: false }];
        return;
      }
      case 'openWatch':
        return this.toRegistry({ type: 'watchOpened', watch: effect.watch });
      case 'keepAlive':
      case 'closeWatch':
      case 'report':
      case 'stopped':
        return;
    }
  }

  #instanceOf(session: SessionId): InstanceIndex | undefined {
    const index = this.#state.instances.findIndex((instance) => instance.session === session);
    return index === 0 || index === 1 ? index : undefined;
  }

  #answered(session: SessionId, reply: SessionReply): void {
    const index = this.#instanceOf(session);
    if (index === undefined) return;
    if (reply.type === 'welcome') {
      this.#note(`the registry registers p#${String(index + 1)} as incarnation ${String(reply.incarnation)}`);
      return this.tell(index, { type: 'registryConnected', incarnation: reply.incarnation as Incarnation });
    }
    const event = claimEvent(reply) ?? viewedClaims(reply);
    if (event === undefined) return;
    if (event.type === 'claimReleased') this.#noteReleased(index, event.request);
    this.tell(index, event);
  }

  /** S1: nobody takes the seat of another instance whose session is open. */
  #checkSeat(before: StoreNode, after: StoreNode): void {
    const [old, taken] = [before.kvs.get(SESSION_KEY), after.kvs.get(SESSION_KEY)].map((kv) =>
      kv === undefined ? undefined : decodeSession(kv.value),
    );
    if (old === undefined || taken === undefined || old.nonce === taken.nonce) return;
    const living = this.#state.instances.some(({ phase, session }) => phase === 'running' && session === old.session);
    if (living) this.fail('S1', `${taken.nonce} took the seat of ${old.nonce}, which lives and has its session`);
  }

  // ---- store ---------------------------------------------------------------------------------------------------------

  setOperations(operations: readonly Operation[]): void {
    this.#state.operations = operations;
  }

  /** The store becomes `node`, and its watchers will hear of it. */
  storeMoved(node: StoreNode, batch: Batch | undefined): void {
    const before = this.#state.store;
    this.#state.store = node;
    this.#checkSeat(before, node);
    this.#checkStore(before, node);
    if (batch === undefined || this.broken !== undefined) return;
    this.#state.watch = [...this.#state.watch, batch];
    if (!this.#state.lagging) this.tellWatch();
  }

  /** The registry hears everything that has changed in the store. */
  tellWatch(): void {
    const { watch } = this.#state;
    this.#state.watch = [];
    for (const { revision, events } of watch) this.toRegistry({ type: 'watchAdvanced', watch: 1, revision, events });
  }

  /** S2 and S3 of what the store has now. */
  #checkStore(before: StoreNode, after: StoreNode): void {
    const claim = after.kvs.get(CLAIM_KEY);
    const member = after.kvs.get(MEMBER_KEY);
    const old = before.kvs.get(CLAIM_KEY);
    if (claim !== undefined) {
      const record = decodeClaim(claim.value);
      if (record === undefined) return this.fail('S2', 'the claim record cannot be read');
      const incarnation = toFence(record.incarnation).createRevision;
      if (member !== undefined && member.createRevision !== incarnation) {
        this.fail(
          'S3',
          `the claim record of ${record.agent} belongs to incarnation ${String(incarnation)}, but p is at ${String(member.createRevision)}`,
        );
      }
      if (this.#state.released.includes(record.nonce))
        this.fail('S3', `the claim of ${record.agent} was released, and is recorded again by a write from before`);
    }
    const same = before.kvs.get(MEMBER_KEY)?.createRevision === member?.createRevision;
    if (old !== undefined && same && claim?.createRevision !== old.createRevision) this.#checkTaken(old.createRevision);
  }

  /** S3: only whoever has the token takes a record away, and never while the slot is held by it. */
  #checkTaken(token: bigint): void {
    for (const index of [0, 1] as const) {
      if (this.#state.instances[index].phase !== 'running') continue;
      const held = this.status(index).tunnels.find((tunnel) => toFence(tunnel.token).createRevision === token);
      if (held !== undefined)
        this.fail(
          'S3',
          `the record of ${held.agent} was deleted, which holds the slot of p#${String(index + 1)} by it`,
        );
    }
  }

  /** From here on no write of that claim may show any more. */
  #noteReleased(index: InstanceIndex, request: number): void {
    const release = this.#state.releasing.find((one) => one.instance === index && one.request === request);
    const nonce = this.#state.store.tokens.get(toFence(release?.token ?? 0n).createRevision);
    if (nonce !== undefined) this.#state.released = [...this.#state.released, nonce];
  }
}
