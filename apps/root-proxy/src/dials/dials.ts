import { randomBytes } from 'node:crypto';
import { outcomeFromWire, plainText } from '@xylem/carrier';
import type { FramePort } from '@xylem/carrier';
import { isName } from '@xylem/discovery';
import { ATTRIBUTE, SPAN } from '@xylem/telemetry';
import type { Attributes, SpanHandle, SpanName, Tracing } from '@xylem/telemetry';
import { DialRouter } from '@xylem/tunnel';
import type {
  DialWay,
  OfferedNode,
  PeerHolder,
  ResetReason,
  RouterConfig,
  RouterEffect,
  RouterEvent,
  RouterStatus,
} from '@xylem/tunnel';
import { assert, unreachable } from '../assert.ts';
import { now } from '../clock.ts';
import { Driver } from '../driver.ts';
import type { AskedDial } from '../security/policy-gate.ts';
import type { DialTurns } from './dial-turns.ts';
import type { Pacer } from './pacer.ts';
import type { DialQuotas, QuotaAdmission } from './quotas.ts';
import type { Dial, DialAnswer, DialObserver, DialOrder, DialPorts, Ending, OpenConnection } from './types.ts';

type Effect<Type extends RouterEffect['type']> = Extract<RouterEffect, { type: Type }>;

/** How long after opening Carry an agent may take for its first frame, which it has at hand. */
const CARRY_FIRST_FRAME_MS = 10_000;
/** Root proxies and an agent: longer ways do not exist. */
const MAX_VIA = 4;
/** A peer that is a member but not connected yet is waited for this long before the next one is asked. */
const PEER_CONNECT_MS = 1_000;
/** A peer that says so itself is known to be there: a node that does not answer must not look like a lost root proxy. */
const PEER_ANSWER_MARGIN_MS = 1_000;

interface Open {
  readonly dial: AskedDial;
  /** undefined until somebody has joined it. */
  ending: Ending | undefined;
  /** Why it is given up as soon as it is joined. */
  cut: { readonly reason: ResetReason; readonly detail: string } | undefined;
}

interface Waiting {
  readonly order: DialOrder;
  readonly startedAt: number;
  readonly answer: (answer: DialAnswer) => void;
  /** Gives the place in the quotas back. */
  readonly leave: () => void;
  /** As asked for, until the tunnel that was chosen says which port it is. */
  port: number;
  /** The stream to the peer that is asked now. */
  forward: FramePort | undefined;
  /** What the peer said about the rest of the way. */
  peerVia: readonly string[];
  /** Covers the way that is tried now. */
  span: SpanHandle | undefined;
}

export interface DialBounds {
  readonly router: RouterConfig;
  readonly quotas: DialQuotas;
  readonly pacer: Pacer;
  readonly turns: DialTurns;
  /** Open connections and dials under way. */
  readonly maxOpen: number;
  /** Why no dial at all can be taken now; undefined when they can. */
  readonly closed: () => string | undefined;
}

/** Runs the DialRouter: the one way in which a connection is asked for at this root proxy, wherever it came from. */
export class Dials {
  readonly #self: string;
  readonly #ports: DialPorts;
  readonly #tracing: Tracing;
  readonly #bounds: DialBounds;
  readonly #observer: DialObserver;
  readonly #router: DialRouter;
  readonly #driver: Driver<RouterEvent, RouterEffect>;
  readonly #waiting = new Map<string, Waiting>();
  readonly #open = new Map<string, Open>();
  /** The Carry stream whose first frame is being handled. */
  #answering: FramePort | undefined;
  #whenIdle: (() => void)[] = [];
  /** Set when every connection was given up: those that open later are, too. */
  #aborted: { readonly reason: ResetReason; readonly detail: string } | undefined;

  constructor(self: string, limits: DialBounds, ports: DialPorts, tracing: Tracing, observer: DialObserver) {
    this.#self = self;
    this.#bounds = limits;
    this.#tracing = tracing;
    this.#ports = ports;
    this.#observer = observer;
    this.#router = new DialRouter(limits.router);
    this.#driver = new Driver(this.#router, (effect) => this.#perform(effect));
  }

  tunnelAttached(tunnel: string, leaf: string, agent: string, nodes: readonly OfferedNode[]): void {
    this.#driver.feed({ type: 'tunnelAttached', tunnel, leaf, agent, nodes });
  }

  tunnelClaimed(tunnel: string, incarnation: bigint, token: bigint): void {
    this.#driver.feed({ type: 'tunnelClaimed', tunnel, incarnation, token });
  }

  tunnelDraining(tunnel: string): void {
    this.#driver.feed({ type: 'tunnelDraining', tunnel });
  }

  tunnelClosed(tunnel: string): void {
    this.#driver.feed({ type: 'tunnelClosed', tunnel });
  }

  holdersViewed(holders: ReadonlyMap<string, readonly PeerHolder[]>): void {
    this.#driver.feed({ type: 'holdersViewed', holders });
  }

  holdersChanged(leaf: string, holders: readonly PeerHolder[]): void {
    this.#driver.feed({ type: 'holdersChanged', leaf, holders });
  }

  status(): RouterStatus {
    return this.#router.status();
  }

  /** Payload bytes of the connections that are open now. */
  openTotals(): { readonly upBytes: number; readonly downBytes: number } {
    let [upBytes, downBytes] = [0, 0];
    for (const { ending } of this.#open.values()) {
      const totals = ending?.totals();
      upBytes += totals?.upBytes ?? 0;
      downBytes += totals?.downBytes ?? 0;
    }
    return { upBytes, downBytes };
  }

  get openConnections(): number {
    return this.#open.size;
  }

  /** Asks for a connection. The dial is answered within its time, whatever happens. */
  dial(order: DialOrder): Dial {
    const connection = randomBytes(16).toString('base64url');
    const admission = this.#admit(order);
    if (admission.kind === 'refused') return this.#turnAway(order, connection, 'overloaded', admission.detail);
    // Before anything is looked up: whether there is such a node is for those who may dial it.
    const denial = this.#ports.denial(order);
    if (denial !== undefined) {
      admission.leave();
      return this.#turnAway(order, connection, 'denied', denial);
    }
    const answer = new Promise<DialAnswer>((resolve) => {
      this.#waiting.set(connection, {
        order,
        startedAt: now(),
        answer: resolve,
        leave: admission.leave,
        port: order.port,
        forward: undefined,
        peerVia: [],
        span: undefined,
      });
    });
    this.#bounds.turns.begin(order.leaf, () => this.#request(connection, order));
    return { answer, abandon: () => this.#abandon(connection) };
  }

  #request(connection: string, order: DialOrder): void {
    // Given up before its turn came.
    if (!this.#waiting.has(connection)) return;
    const { leaf, node, port, user, hops, timeoutMs } = order;
    const random = Math.random();
    this.#driver.feed({ type: 'dialRequested', connection, leaf, node, port, user, hops, timeoutMs, random });
  }

  #turnAway(order: DialOrder, connection: string, outcome: 'overloaded' | 'denied', detail: string): Dial {
    this.#observer.dialAnswered(order, connection, outcome, detail, { kind: 'none' }, 0);
    const answer = Promise.resolve({ outcome, detail, via: [this.#self] });
    return { answer, abandon: () => undefined };
  }

  /** Whether somebody waits for this connection, wherever it was asked for. */
  awaits(connection: string): boolean {
    return this.#waiting.has(connection);
  }

  /** An agent opened Carry on one of our tunnels: its first frame says what became of the dial. */
  async carryOpened(tunnel: string, connection: string, frames: FramePort): Promise<void> {
    const first = await frames.first(CARRY_FIRST_FRAME_MS);
    const kind = first.kind === 'frame' ? first.frame.kind : undefined;
    const outcome = kind?.$case === 'outcome' ? outcomeFromWire(kind.value.code) : undefined;
    if (kind?.$case !== 'outcome' || outcome === undefined) {
      frames.cancel('the first frame of Carry must be an outcome');
      const why = first.kind === 'over' ? first.end.detail : `no outcome came first (${first.kind})`;
      const detail = `the agent gave no outcome: ${why}`;
      // Whoever waits is told at once: the node may have been dialled, so the dial is over.
      return this.#driver.feed({ type: 'dialAnswered', tunnel, connection, outcome: 'tunnel-lost', detail });
    }
    this.#answering = frames;
    const detail = plainText(kind.value.detail);
    this.#driver.feed({ type: 'dialAnswered', tunnel, connection, outcome, detail });
    // Nobody took the stream: the dial ended without a connection, and its stream ends with it.
    if (this.#answering !== undefined) endStream(frames);
    this.#answering = undefined;
  }

  /** Resolves when no connection is open and no dial waits. */
  idle(): Promise<void> {
    if (this.#isIdle()) return Promise.resolve();
    return new Promise((resolve) => this.#whenIdle.push(resolve));
  }

  /** Resets every open connection, and those that are about to open. */
  abortAll(reason: 'drain-deadline' | 'shutdown', detail: string): void {
    this.#aborted = { reason, detail };
    for (const { ending } of [...this.#open.values()]) ending?.abort(reason, detail);
  }

  /** Resets every open connection that the policy does not allow any more. Returns how many there were. */
  cutDenied(): number {
    let total = 0;
    for (const entry of [...this.#open.values()]) {
      const denial = this.#ports.denial(entry.dial);
      if (denial === undefined) continue;
      cut(entry, denial);
      total += 1;
    }
    return total;
  }

  /** Resets every open connection of a user, and denies those that wait. Returns how many there were. */
  cutUser(user: string, detail: string): number {
    const open = [...this.#open.values()].filter(({ dial }) => dial.user === user);
    for (const entry of open) cut(entry, detail);
    const waiting = [...this.#waiting].filter(([, { order }]) => order.user === user);
    for (const [connection, { order, startedAt, answer }] of waiting) {
      this.#abandon(connection);
      this.#observer.dialAnswered(order, connection, 'denied', detail, { kind: 'none' }, now() - startedAt);
      answer({ outcome: 'denied', detail, via: [this.#self] });
    }
    return open.length + waiting.length;
  }

  stop(): void {
    this.#driver.stop();
  }

  #admit(order: DialOrder): QuotaAdmission {
    const closed = this.#bounds.closed();
    if (closed !== undefined) return { kind: 'refused', detail: closed };
    const { maxOpen, quotas } = this.#bounds;
    if (this.#open.size + this.#waiting.size < maxOpen) return quotas.enter(order, now());
    const detail = `root proxy ${this.#self} carries ${maxOpen} connections, try again later or another root proxy`;
    return { kind: 'refused', detail };
  }

  #isIdle(): boolean {
    return this.#open.size === 0 && this.#waiting.size === 0;
  }

  #settled(): void {
    if (!this.#isIdle()) return;
    for (const resolve of this.#whenIdle.splice(0)) resolve();
  }

  #abandon(connection: string): void {
    const waiting = this.#waiting.get(connection);
    if (waiting === undefined) return;
    this.#driver.feed({ type: 'dialAbandoned', connection });
    this.#waiting.delete(connection);
    waiting.leave();
    waiting.span?.fail('the requester gave up');
    waiting.span?.end();
    this.#settled();
  }

  #perform(effect: RouterEffect): void {
    switch (effect.type) {
      case 'sendDial':
        void this.#sendDial(effect);
        return;
      case 'sendCancel':
        return this.#ports.sendCancel(effect.tunnel, effect.connection);
      case 'forward':
        void this.#forward(effect);
        return;
      case 'cancelForward':
        return this.#cancelForward(effect.connection);
      case 'report':
        return this.#report(effect);
      case 'refuseStream':
        return this.#refuseStream(effect);
      default:
        return unreachable(effect);
    }
  }

  /** The tunnel is chosen first, because the grant names it; while the grant is asked for the dial is pending there. */
  async #sendDial(effect: Effect<'sendDial'>): Promise<void> {
    const { type: _, ...dial } = effect;
    const { connection, tunnel, leaf, node, port } = effect;
    const waiting = this.#waiting.get(connection);
    assert(waiting !== undefined, `dial of ${connection}, which nobody waits for`);
    const span = this.#startWay(waiting, SPAN.tunnelDial, { [ATTRIBUTE.tunnel]: tunnel });
    waiting.port = port;
    const { user, proof, hops, source } = waiting.order;
    const entry = hops === 0 ? '' : source;
    const startedAt = now();
    const leave = await this.#ports.authorise(tunnel, { connection, leaf, node, port, user, proof, entry });
    // Given up, timed out, or the tunnel is gone: it was answered then.
    if (this.#waiting.get(connection) !== waiting) return;
    if (leave.kind === 'refused') {
      const { outcome, detail } = leave;
      return this.#driver.feed({ type: 'dialAnswered', tunnel, connection, outcome, detail });
    }
    const timeoutMs = Math.max(1, Math.floor(effect.timeoutMs - (now() - startedAt)));
    const { grant } = leave;
    this.#ports.sendDial({ ...dial, user: leave.user, timeoutMs, traceparent: span.traceparent, grant });
  }

  async #forward(effect: Effect<'forward'>): Promise<void> {
    const { connection, proxy, leaf, node, port, user, timeoutMs } = effect;
    const waiting = this.#waiting.get(connection);
    assert(waiting !== undefined, `forward of ${connection}, which nobody waits for`);
    const span = this.#startWay(waiting, SPAN.peerForward, { [ATTRIBUTE.proxy]: proxy });
    const startedAt = now();
    const frames = await this.#ports.openForward(proxy, Math.min(timeoutMs, PEER_CONNECT_MS));
    // The dial was given up, or went on to another peer, while this one was being reached.
    if (this.#waiting.get(connection) !== waiting || waiting.span !== span) {
      frames?.cancel('the requester gave up');
      return;
    }
    if (frames === undefined) {
      const detail = `root proxy ${proxy} cannot be reached`;
      return this.#driver.feed({ type: 'forwardFailed', connection, sent: false, detail });
    }
    waiting.forward = frames;
    const leftMs = Math.max(1, Math.floor(timeoutMs - (now() - startedAt)));
    const open = {
      target: { leaf, node, port },
      hops: waiting.order.hops + 1,
      traceparent: span.traceparent,
      timeoutMs: leftMs,
      user,
      proof: waiting.order.proof,
    };
    frames.send({ kind: { $case: 'open', value: open } });
    // The dial's own deadline, which is later than the peer's by less than this, comes first.
    await this.#awaitForward(waiting, connection, frames, leftMs + PEER_ANSWER_MARGIN_MS);
  }

  async #awaitForward(waiting: Waiting, connection: string, frames: FramePort, timeoutMs: number): Promise<void> {
    const first = await frames.first(timeoutMs);
    if (this.#waiting.get(connection) !== waiting || waiting.forward !== frames) return;
    const kind = first.kind === 'frame' ? first.frame.kind : undefined;
    const outcome = kind?.$case === 'outcome' ? outcomeFromWire(kind.value.code) : undefined;
    if (kind?.$case === 'outcome' && outcome !== undefined) {
      waiting.peerVia = kind.value.via.filter(isName).slice(0, MAX_VIA);
      const detail = plainText(kind.value.detail);
      this.#driver.feed({ type: 'forwardAnswered', connection, outcome, detail });
      if (outcome !== 'connected') endStream(frames);
      return;
    }
    frames.cancel('no outcome came');
    const detail = first.kind === 'over' ? first.end.detail : `no outcome came (${first.kind})`;
    this.#driver.feed({ type: 'forwardFailed', connection, sent: true, detail });
  }

  /** The span of the way that is tried now; the one of a way tried before ends. */
  #startWay(waiting: Waiting, name: SpanName, attributes: Attributes): SpanHandle {
    waiting.span?.end();
    waiting.span = this.#tracing.startSpan(name, {
      kind: 'client',
      traceparent: waiting.order.traceparent,
      attributes,
    });
    return waiting.span;
  }

  #cancelForward(connection: string): void {
    this.#waiting.get(connection)?.forward?.cancel('the requester gave up');
  }

  #report(effect: Effect<'report'>): void {
    const waiting = this.#waiting.get(effect.connection);
    assert(waiting !== undefined, `report on ${effect.connection}, which nobody waits for`);
    this.#waiting.delete(effect.connection);
    waiting.span?.setAttribute(ATTRIBUTE.outcome, effect.outcome);
    if (effect.outcome !== 'connected') waiting.span?.fail(effect.detail);
    waiting.span?.end();
    const { connection, outcome, detail, way } = effect;
    this.#observer.dialAnswered(waiting.order, connection, outcome, detail, way, now() - waiting.startedAt);
    if (outcome === 'timed-out' && way.kind === 'tunnel') this.#ports.unanswered(way.tunnel);
    const via = [this.#self, ...restOfWay(way, waiting)];
    if (outcome === 'connected') waiting.answer({ outcome, via, connection: this.#opened(connection, way, waiting) });
    else {
      waiting.leave();
      waiting.answer({ outcome, detail, via });
    }
    this.#settled();
  }

  #opened(id: string, way: DialWay, { order, port, forward, leave }: Waiting): OpenConnection {
    const frames = way.kind === 'tunnel' ? this.#answering : forward;
    assert(frames !== undefined, `connection ${id} was reported connected without a stream`);
    this.#answering = undefined;
    const { user, leaf, node } = order;
    const open: Open = { dial: { user, leaf, node, port }, ending: undefined, cut: this.#aborted };
    this.#open.set(id, open);
    const lane = this.#bounds.pacer.lane(order);
    return { id, frames, lane, join: (ending) => void this.#join(id, order, open, ending).finally(leave) };
  }

  async #join(id: string, order: DialOrder, open: Open, ending: Ending): Promise<void> {
    open.ending = ending;
    const early = open.cut ?? this.#aborted;
    if (early !== undefined) ending.abort(early.reason, early.detail);
    const summary = await ending.closed;
    this.#open.delete(id);
    this.#driver.feed({ type: 'connectionClosed', connection: id });
    this.#observer.connectionClosed(order, id, summary);
    this.#settled();
  }

  #refuseStream(effect: Effect<'refuseStream'>): void {
    const { tunnel, connection, reason, detail } = effect;
    if (reason === 'denied') this.#observer.answerDenied(tunnel, connection, detail);
    this.#answering?.cancel(detail);
    this.#answering = undefined;
  }
}

function cut(entry: Open, detail: string): void {
  entry.cut = { reason: 'denied', detail };
  entry.ending?.abort('denied', detail);
}

/** Ends a stream that carried an outcome other than `connected`; both sides are done with it. */
function endStream(frames: FramePort): void {
  frames.listen({ frame: () => undefined, writable: () => undefined, over: () => undefined });
  frames.end();
}

function restOfWay(way: DialWay, waiting: Waiting): readonly string[] {
  switch (way.kind) {
    case 'none':
      return [];
    case 'tunnel':
      return [way.agent];
    case 'peer':
      return waiting.peerVia.length > 0 ? waiting.peerVia : [way.proxy];
    default:
      return unreachable(way);
  }
}
