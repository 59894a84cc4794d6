import { ByteRate } from './byte-rate.ts';
import type { RateTicket } from './byte-rate.ts';
import { FairTurns } from './fair-turns.ts';
import type { TurnTicket } from './fair-turns.ts';
import type { Instant } from './types.ts';

export interface ByteQuotaLimits {
  /** What a flow gets when it is its turn, and what all of them get in one turn of the event loop. */
  readonly quantumBytes: number;
  readonly turnBytes: number;
  /** Bytes a second of one user, and of one group, both directions of all their flows together. Undefined: as many as go. */
  readonly userBytesPerSecond: number | undefined;
  readonly groupBytesPerSecond: number | undefined;
}

/** One direction of one connection. */
export interface FlowKeys {
  /** undefined: counted elsewhere. */
  readonly user: string | undefined;
  /** Whose flows share a turn with each other, and a rate. */
  readonly group: string;
}

/** Milliseconds that flows have been held back, all of them together, by what held them. */
export interface ByteQuotaStatus {
  readonly userWaitedMs: number;
  readonly groupWaitedMs: number;
  readonly turnWaitedMs: number;
  /** Flows that wait for their turn in the event loop. */
  readonly waiting: number;
  /** Users and groups whose rates are remembered. */
  readonly keys: number;
}

/** An idle key may have what a second brings. */
const BURST_SECONDS = 1;
/** 10,000 x 200 bytes. */
const MAX_IDLE_KEYS = 10_000;

interface Gates {
  readonly users: ByteRate<ByteFlow> | undefined;
  readonly groups: ByteRate<ByteFlow> | undefined;
  readonly turns: FairTurns<ByteFlow>;
}

/** One direction of one connection, on its way through the gates. */
export class ByteFlow {
  readonly user: RateTicket<ByteFlow> | undefined;
  readonly group: RateTicket<ByteFlow> | undefined;
  readonly turn: TurnTicket<ByteFlow>;
  closed = false;

  constructor({ user, group }: FlowKeys, gates: Gates, now: Instant) {
    this.user = user === undefined ? undefined : gates.users?.open(user, this, now);
    this.group = gates.groups?.open(group, this, now);
    this.turn = gates.turns.open(group, this);
  }
}

/**
 * Says which flows may be read now: no user and no group more than its rate, and no one of them the whole event loop. A flow that read
 * more than it was given passes three gates, one after the other: its user's rate, its group's, and the turn. Nothing is ever dropped.
 * Reads no clock.
 */
export class ByteQuotas {
  readonly #gates: Gates;

  constructor(limits: ByteQuotaLimits) {
    const { userBytesPerSecond, groupBytesPerSecond, quantumBytes, turnBytes } = limits;
    const rate = (bytesPerSecond: number | undefined): ByteRate<ByteFlow> | undefined =>
      bytesPerSecond === undefined
        ? undefined
        : new ByteRate({ bytesPerSecond, burstBytes: bytesPerSecond * BURST_SECONDS, quantumBytes }, MAX_IDLE_KEYS);
    const [users, groups] = [rate(userBytesPerSecond), rate(groupBytesPerSecond)];
    this.#gates = { users, groups, turns: new FairTurns({ quantum: quantumBytes, perTurn: turnBytes }) };
  }

  open(keys: FlowKeys, now: Instant): ByteFlow {
    return new ByteFlow(keys, this.#gates, now);
  }

  /** Bytes were read. Whether more may be; if not, a later `turn` names the flow. True for a flow that is closed. */
  spend(flow: ByteFlow, bytes: number, now: Instant): boolean {
    if (flow.closed) return true;
    const { user, group, turn } = flow;
    if (user !== undefined) user.credit -= bytes;
    if (group !== undefined) group.credit -= bytes;
    turn.credit -= bytes;
    // What was read before it was held back, and is passed on now.
    if ([user, group, turn].some((ticket) => ticket?.waitsSince !== undefined)) return false;
    return this.#passUser(flow, now) && this.#passGroup(flow, now) && this.#passTurn(flow, now);
  }

  /** A turn of the event loop begins: flows that may go on. `now` never goes backwards. */
  turn(now: Instant): readonly ByteFlow[] {
    const { users, groups, turns } = this.#gates;
    const rated = groups?.advance(now) ?? [];
    const ofUsers = users?.advance(now) ?? [];
    const through = [...rated, ...ofUsers.filter((flow) => this.#passGroup(flow, now))];
    const waited = turns.turn(now);
    return [...waited, ...through.filter((flow) => this.#passTurn(flow, now))];
  }

  /** When there is something for `turn` to do even if nothing is read till then; undefined: nobody waits. */
  nextTimeout(now: Instant): Instant | undefined {
    const { users, groups, turns } = this.#gates;
    if (turns.waiting > 0) return now;
    const [user, group] = [users?.nextTimeout(), groups?.nextTimeout()];
    return user === undefined || group === undefined ? (user ?? group) : Math.min(user, group);
  }

  /** Idempotent. */
  close(flow: ByteFlow, now: Instant): void {
    if (flow.closed) return;
    flow.closed = true;
    const { users, groups, turns } = this.#gates;
    if (flow.user !== undefined) users?.close(flow.user, now);
    if (flow.group !== undefined) groups?.close(flow.group, now);
    turns.close(flow.turn);
  }

  status(): ByteQuotaStatus {
    const { users, groups, turns } = this.#gates;
    return {
      userWaitedMs: users?.waitedMs ?? 0,
      groupWaitedMs: groups?.waitedMs ?? 0,
      turnWaitedMs: turns.waitedMs,
      waiting: turns.waiting,
      keys: (users?.size ?? 0) + (groups?.size ?? 0),
    };
  }

  #passUser({ user }: ByteFlow, now: Instant): boolean {
    return user === undefined || this.#gates.users?.enter(user, now) !== false;
  }

  #passGroup({ group }: ByteFlow, now: Instant): boolean {
    return group === undefined || this.#gates.groups?.enter(group, now) !== false;
  }

  #passTurn({ turn }: ByteFlow, now: Instant): boolean {
    return this.#gates.turns.enter(turn, now);
  }
}
