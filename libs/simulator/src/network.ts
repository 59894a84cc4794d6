import type { Host } from './host.ts';
import { KeyedRandom } from './random.ts';
import type { Scheduler } from './scheduler.ts';

/** How one direction between two hosts behaves now. */
export interface LinkState {
  /** Nothing gets through, nothing is refused: packets vanish and are sent again after healing, as TCP does. */
  readonly blocked: boolean;
}

/** What a process sees of one end of a connection. */
export interface EndHandlers {
  onMessage(message: unknown): void;
  /** The last event of the end: `closed` after an orderly close of the other side, `reset` for anything else. */
  onEnd(how: 'closed' | 'reset'): void;
}

/** One end of a simulated TCP connection: in order, reliable until it breaks, silent when the other host vanishes. */
export class End {
  readonly host: Host;
  readonly #connection: Connection;
  readonly #side: 0 | 1;

  constructor(connection: Connection, side: 0 | 1, host: Host) {
    this.#connection = connection;
    this.#side = side;
    this.host = host;
  }

  get open(): boolean {
    return this.#connection.isOpen(this.#side);
  }

  get connection(): Connection {
    return this.#connection;
  }

  /** Virtual time at which the process at the other end died; undefined while it lives. */
  get peerDiedAt(): number | undefined {
    return this.#connection.diedAt(this.#side === 0 ? 1 : 0);
  }

  /** Whether the process at the other end has closed it: what is held back may not have told us yet. */
  get peerClosed(): boolean {
    return !this.#connection.isOpen(this.#side === 0 ? 1 : 0);
  }

  get peer(): Host {
    return this.#connection.ends[this.#side === 0 ? 1 : 0].host;
  }

  /** Whether something between the two ends was blocked at any moment of the last `ms`. */
  blockedWithin(ms: number): boolean {
    return this.#connection.blockedWithin(ms);
  }

  listen(handlers: EndHandlers): void {
    this.#connection.listen(this.#side, handlers);
  }

  send(message: unknown): void {
    this.#connection.send(this.#side, message);
  }

  /** Ends the connection after what was sent; the other side sees `closed`. */
  close(): void {
    this.#connection.finish(this.#side, 'closed');
  }

  reset(): void {
    this.#connection.finish(this.#side, 'reset');
  }
}

interface Side {
  readonly host: Host;
  readonly generation: number;
  handlers: EndHandlers | undefined;
  open: boolean;
  diedAt: number | undefined;
  /** Deliveries to this side, oldest first, held while the direction is blocked. */
  readonly held: (() => void)[];
  /** Messages that arrived before anyone listened. */
  readonly early: (() => void)[];
  lastArrival: number;
}

export class Connection {
  readonly id: number;
  readonly ends: readonly [End, End];
  /** The host that relays the bytes, if any: its death cuts the connection. */
  readonly through: Host | undefined;
  readonly #network: Network;
  readonly #sides: readonly [Side, Side];
  readonly #random: KeyedRandom;

  constructor(network: Network, id: number, from: Host, to: Host, random: KeyedRandom, through: Host | undefined) {
    this.id = id;
    this.through = through;
    this.#network = network;
    this.#random = random;
    const side = (host: Host): Side => ({
      host,
      generation: host.generation,
      handlers: undefined,
      open: true,
      diedAt: undefined,
      held: [],
      early: [],
      lastArrival: 0,
    });
    this.#sides = [side(from), side(to)];
    this.ends = [new End(this, 0, from), new End(this, 1, to)];
  }

  blockedWithin(ms: number): boolean {
    return this.#network.blockedWithin(this.#sides[0].host, this.#sides[1].host, ms);
  }

  isOpen(index: 0 | 1): boolean {
    return this.#sides[index].open;
  }

  diedAt(index: 0 | 1): number | undefined {
    return this.#sides[index].diedAt;
  }

  listen(index: 0 | 1, handlers: EndHandlers): void {
    const side = this.#sides[index];
    side.handlers = handlers;
    for (const work of side.early.splice(0)) work();
  }

  send(index: 0 | 1, message: unknown): void {
    if (!this.#sides[index].open) return;
    this.#transmit(index, (target) => {
      if (target.open) target.handlers?.onMessage(message);
    });
  }

  finish(index: 0 | 1, how: 'closed' | 'reset'): void {
    const own = this.#sides[index];
    if (!own.open) return;
    own.open = false;
    if (how === 'reset' && this.#isBlocked(index)) {
      // A kernel that resets sends nothing again: what is on its way is lost, the reset with it.
      this.#sides[other(index)].held.length = 0;
    } else this.#transmit(index, (target) => this.#ended(target, how));
    if (!this.#isHeld()) this.#network.forget(this);
  }

  #isBlocked(from: 0 | 1): boolean {
    return this.#network.blocked(this.#sides[from].host, this.#sides[other(from)].host);
  }

  #isHeld(): boolean {
    return this.#sides.some((side) => side.held.length > 0);
  }

  /** The process at `index` died: its kernel resets the connection, unless the whole host has vanished. */
  died(index: 0 | 1, silently: boolean): void {
    const own = this.#sides[index];
    if (!own.open) return;
    own.open = false;
    own.diedAt = this.#network.scheduler.now;
    if (!silently) this.#transmit(index, (target) => this.#ended(target, 'reset'));
    this.#network.forget(this);
  }

  /** Cuts the connection in the middle: both sides see a reset. */
  cut(): void {
    for (const index of [0, 1] as const) this.#transmit(index, (target) => this.#ended(target, 'reset'));
    this.#network.forget(this);
  }

  /** Delivers what was held back, after healing. */
  release(): void {
    for (const index of [0, 1] as const) {
      const target = this.#sides[index];
      if (this.#network.blocked(this.#sides[other(index)].host, target.host)) continue;
      for (const work of target.held.splice(0)) this.#schedule(target, work);
    }
    if (this.#sides.some((side) => !side.open) && !this.#isHeld()) this.#network.forget(this);
  }

  sideOf(host: Host): 0 | 1 | undefined {
    if (this.#sides[0].host === host && this.#sides[0].generation === host.generation) return 0;
    if (this.#sides[1].host === host && this.#sides[1].generation === host.generation) return 1;
    return undefined;
  }

  #ended(target: Side, how: 'closed' | 'reset'): void {
    if (!target.open) return;
    target.open = false;
    target.handlers?.onEnd(how);
  }

  #transmit(from: 0 | 1, deliver: (target: Side) => void): void {
    const target = this.#sides[other(from)];
    const work = (): void => this.#arrive(target, deliver);
    if (this.#network.blocked(this.#sides[from].host, target.host)) target.held.push(work);
    else this.#schedule(target, work);
  }

  #schedule(target: Side, work: () => void): void {
    const { scheduler, minDelayMs, maxDelayMs } = this.#network;
    const arrival = scheduler.now + this.#random.between('delay', minDelayMs, maxDelayMs);
    // TCP keeps order: nothing overtakes what was sent before. Equal times would be permuted, hence the step.
    target.lastArrival = Math.max(arrival, target.lastArrival + 1e-6);
    scheduler.at(target.lastArrival, work);
  }

  #arrive(target: Side, deliver: (target: Side) => void): void {
    if (target.generation !== target.host.generation) return;
    target.host.run(() => {
      if (target.handlers === undefined) target.early.push(() => deliver(target));
      else deliver(target);
    });
  }
}

function pair(from: Host, to: Host): string {
  return `${from.name}>${to.name}`;
}

function other(index: 0 | 1): 0 | 1 {
  return index === 0 ? 1 : 0;
}

/** All connections between hosts, and what is broken between them. */
export class Network {
  readonly scheduler: Scheduler;
  readonly #seed: number;
  readonly #connections = new Set<Connection>();
  readonly #blocked = new Set<string>();
  #nextId = 0;
  /** When each direction was last freed. */
  readonly #freedAt = new Map<string, number>();
  minDelayMs = 0.2;
  maxDelayMs = 5;

  constructor(seed: number, scheduler: Scheduler) {
    this.#seed = seed;
    this.scheduler = scheduler;
  }

  /** Opens a connection; the caller decides beforehand whether `to` would accept. */
  connect(from: Host, to: Host, through?: Host): Connection {
    const id = this.#nextId;
    this.#nextId += 1;
    const random = new KeyedRandom(this.#seed, `connection/${from.name}/${to.name}/${String(id)}`);
    const connection = new Connection(this, id, from, to, random, through);
    this.#connections.add(connection);
    return connection;
  }

  /** Whether something between the two hosts, in either direction, was blocked at any moment of the last `ms`. */
  blockedWithin(one: Host, another: Host, ms: number): boolean {
    return [pair(one, another), pair(another, one)].some(
      (key) => this.#blocked.has(key) || this.scheduler.now - (this.#freedAt.get(key) ?? -Infinity) <= ms,
    );
  }

  blocked(from: Host, to: Host): boolean {
    return this.#blocked.has(pair(from, to));
  }

  /** Blocks one direction; healing delivers what was held, in order. */
  block(from: Host, to: Host): void {
    this.#blocked.add(pair(from, to));
  }

  heal(from: Host, to: Host): void {
    if (this.#blocked.delete(pair(from, to))) this.#freedAt.set(pair(from, to), this.scheduler.now);
    for (const connection of this.#connections) {
      if (connection.sideOf(from) !== undefined && connection.sideOf(to) !== undefined) connection.release();
    }
  }

  healAll(): void {
    for (const key of this.#blocked) this.#freedAt.set(key, this.scheduler.now);
    this.#blocked.clear();
    for (const connection of this.#connections) connection.release();
  }

  /** Open connections, oldest first. */
  connections(): readonly Connection[] {
    return [...this.#connections];
  }

  /** Ends all of a dying process's connections. `silently`: the host vanished, so nobody is told. */
  crash(host: Host, silently: boolean): void {
    for (const connection of [...this.#connections]) {
      const side = connection.sideOf(host);
      if (side !== undefined) connection.died(side, silently);
      else if (connection.through === host && !silently) connection.cut();
    }
  }

  forget(connection: Connection): void {
    this.#connections.delete(connection);
  }
}
