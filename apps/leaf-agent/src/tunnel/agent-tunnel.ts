import { Liveness } from '@xylem/discovery';
import type { CloseReason, Evidence, Instant, Random, Stamp, TunnelId } from '@xylem/discovery';
import type { ResetReason } from '@xylem/tunnel';
import { carry } from '@xylem/wire';
import type { tunnel } from '@xylem/wire';
import { randomBytes } from 'node:crypto';
import { DeadlineTimer } from '../deadline-timer.ts';
import type { Attached } from './attach.ts';
import { TunnelConnections } from './connections.ts';
import type { CarryingPorts } from './connections.ts';

export type ControlMessage = NonNullable<tunnel.AttachResponse['kind']>;
/** What concerns discovery; liveness and dials are handled by the tunnel itself. */
export type DiscoveryMessage = Extract<
  ControlMessage,
  { $case: 'claimGranted' | 'claimRecorded' | 'claimHeld' | 'discoveryRequest' | 'drain' }
>;

export interface TunnelEnd {
  /** A GOODBYE was said, by either side. */
  readonly graceful: boolean;
  /** One line; after a GOODBYE of the proxy it starts with the proxy's own code where it gave one. */
  readonly reason: string;
}

export interface TunnelListener {
  /** Nothing more is read until it has resolved: gossip keeps its order. */
  message(message: DiscoveryMessage): void | Promise<void>;
  /** The peer has not answered PINGs; `ended` follows. */
  silent(silentMs: number): void;
  /** The round trip of a PING. */
  pinged(roundTripMs: number): void;
  /** What is trusted has changed, as far as the root proxy knows: only a renewal tells for certain. */
  renewalDue(trustGeneration: number): void;
  /** A registry's statement, as the root proxy passes it on. Nothing more is read until it has resolved. */
  revokedProxies(statement: string): Promise<void>;
  /** A message that breaks the protocol; the tunnel goes on. */
  rejected(detail: string): void;
  /** Exactly once, the last call. */
  ended(end: TunnelEnd): void;
}

const { Reason } = carry;

/** How long GOODBYE and resets may take to leave before the connection is closed. */
const GOODBYE_GRACE_MS = 1_000;

const GOODBYE_REASON: Readonly<Record<CloseReason, carry.Reason>> = {
  'claim-held': Reason.REASON_CLAIM_HELD,
  duplicate: Reason.REASON_REPLACED,
  replaced: Reason.REASON_REPLACED,
  drained: Reason.REASON_SHUTDOWN,
  'stale-incarnation': Reason.REASON_STALE_INCARNATION,
  'claim-timeout': Reason.REASON_TIMEOUT,
  leaving: Reason.REASON_SHUTDOWN,
};

/** What users on a tunnel that is closed at once get to see. */
const RESET_REASON: Readonly<Record<CloseReason, ResetReason>> = {
  'claim-held': 'tunnel-lost',
  duplicate: 'tunnel-lost',
  replaced: 'tunnel-lost',
  drained: 'drain-deadline',
  'stale-incarnation': 'stale-incarnation',
  'claim-timeout': 'tunnel-lost',
  leaving: 'shutdown',
};

/**
 * One tunnel from its welcome to its end: reads the control stream, answers and sends PINGs, carries connections, and
 * closes in order: drain announced, connections finished, GOODBYE last.
 */
export class AgentTunnel {
  readonly id: TunnelId;
  readonly attached: Attached;
  readonly connections: TunnelConnections;
  readonly #listener: TunnelListener;
  readonly #liveness: Liveness;
  readonly #timer = new DeadlineTimer(() => this.#beat({ type: 'timeout' }));
  #goodbye: TunnelEnd | undefined;
  /** The PING whose PONG shows that the proxy has read everything before it. */
  #barrier: { readonly nonce: bigint; readonly passed: () => void } | undefined;
  /** Resolves with the tunnel's end, so that nothing waits longer than it lives. */
  readonly #over = Promise.withResolvers<void>();
  #claimed = false;
  #closing = false;
  #ended = false;

  constructor(id: TunnelId, attached: Attached, carrying: CarryingPorts, random: Random, listener: TunnelListener) {
    this.id = id;
    this.attached = attached;
    const admission = carrying.fence.admit(attached.proxy, attached.incarnation);
    this.connections = new TunnelConnections(carrying, attached.channel, attached.proxy, admission);
    this.#listener = listener;
    const { pingIntervalMs, deadAfterMs } = attached;
    this.#liveness = new Liveness({ intervalMs: pingIntervalMs, deadAfterMs }, random, performance.now());
  }

  /** Starts reading and pinging. */
  start(): void {
    this.#timer.set(this.#liveness.nextTimeout());
    this.attached.channel.peer?.onEnding(({ detail }) => this.disown('expired', detail));
    void this.#read();
  }

  requestStandby(): void {
    this.#send({ $case: 'standby', value: {} });
  }

  requestSnapshot(have: Stamp | undefined): void {
    this.#send({ $case: 'snapshotWanted', value: { have: have === undefined ? undefined : { ...have } } });
  }

  showEvidence({ stamp, statement }: Evidence): void {
    this.#send({ $case: 'evidence', value: { stamp: { ...stamp }, statement } });
  }

  report(report: tunnel.PoolReport): void {
    this.#send({ $case: 'poolReport', value: report });
  }

  /** Says GOODBYE and closes; with a deadline, open connections may finish first. Idempotent. */
  close(reason: CloseReason, deadline: Instant | undefined): void {
    if (this.#closing || this.#ended) return;
    this.#closing = true;
    if (deadline === undefined) return this.#leave(reason);
    void this.#drain(reason, deadline);
  }

  async #drain(reason: CloseReason, deadline: Instant): Promise<void> {
    const leftMs = Math.max(0, Math.round(deadline - performance.now()));
    this.#send({ $case: 'drain', value: { deadlineMs: leftMs } });
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, leftMs);
    // Dials that were on their way when the proxy read of the drain are here once it has answered.
    await Promise.race([this.#proxyCaughtUp(), late.promise, this.#over.promise]);
    await Promise.race([this.connections.drained(), late.promise, this.#over.promise]);
    clearTimeout(timer);
    if (this.#ended) return;
    this.connections.abortAll('drain-deadline', 'the leaf agent leaves and the time to finish is over');
    this.#leave(reason);
  }

  /** Resolves when the proxy has read everything that was sent so far, and everything it sent before that was read here. */
  #proxyCaughtUp(): Promise<void> {
    return new Promise((passed) => {
      const nonce = randomBytes(8).readBigUInt64BE();
      this.#barrier = { nonce, passed };
      this.#send({ $case: 'ping', value: { nonce } });
    });
  }

  #leave(reason: CloseReason): void {
    this.connections.abortAll(RESET_REASON[reason], `the leaf agent closed the tunnel: ${reason}`);
    this.#goodbye = { graceful: true, reason };
    this.#send({ $case: 'goodbye', value: { reason: GOODBYE_REASON[reason], detail: reason } });
    this.attached.stream.end();
    setTimeout(() => this.#end({ graceful: true, reason }), GOODBYE_GRACE_MS).unref();
  }

  /** Ends at once, whatever the root proxy does: its certificate counts no longer. */
  disown(cause: 'expired' | 'revoked', detail: string): void {
    if (this.#ended) return;
    this.connections.abortAll('tunnel-lost', `the root proxy is trusted no more: ${detail}`);
    const end = (this.#goodbye ??= { graceful: true, reason: `${cause}: ${detail}` });
    this.#send({ $case: 'goodbye', value: { reason: Reason.REASON_DENIED, detail: 'your certificate is over' } });
    this.attached.stream.end();
    setTimeout(() => this.#end(end), GOODBYE_GRACE_MS).unref();
  }

  async #read(): Promise<void> {
    const { messages, stream } = this.attached;
    for (let next = await messages.next(); next.done !== true; next = await messages.next()) {
      if (this.#ended) return;
      await this.#receive(next.value);
    }
    const end = await stream.closed;
    this.#end(
      this.#goodbye ?? {
        graceful: false,
        reason: end.kind === 'ended' ? 'the stream ended without GOODBYE' : end.detail,
      },
    );
  }

  #receive({ kind }: tunnel.AttachResponse): void | Promise<void> {
    // A kind of message that a later version knows.
    if (kind === undefined) return;
    switch (kind.$case) {
      case 'ping':
        return this.#send({ $case: 'pong', value: { nonce: kind.value.nonce } });
      case 'pong':
        if (kind.value.nonce === this.#barrier?.nonce) return this.#barrier.passed();
        return this.#beat({ type: 'pongReceived', nonce: kind.value.nonce });
      case 'dialRequest':
        return this.connections.dial(kind.value);
      case 'dialCancelled':
        return this.connections.cancel(kind.value.connection);
      case 'goodbye':
      case 'refused':
        this.#goodbye ??= { graceful: true, reason: goodbyeText(kind.value, this.#claimed) };
        return this.attached.stream.end();
      case 'welcome':
        return this.#listener.rejected('a second welcome');
      case 'renewalDue':
        return this.#listener.renewalDue(Number(kind.value.trustGeneration));
      case 'revokedProxies':
        return this.#listener.revokedProxies(kind.value.statement);
      default:
        this.#claimed ||= kind.$case === 'claimGranted';
        return this.#listener.message(kind);
    }
  }

  #beat(event: Parameters<Liveness['handle']>[0]): void {
    if (this.#ended) return;
    this.#liveness.handle(event, performance.now());
    if (event.type === 'pongReceived') this.#listener.pinged(this.#liveness.status().roundTripMs ?? 0);
    for (let effect = this.#liveness.pollEffect(); effect !== undefined; effect = this.#liveness.pollEffect()) {
      if (effect.type === 'sendPing') this.#send({ $case: 'ping', value: { nonce: effect.nonce } });
      if (effect.type === 'declareDead') {
        this.#listener.silent(effect.silentMs);
        return this.#end({
          graceful: false,
          reason: `the root proxy has not answered for ${Math.round(effect.silentMs)} ms`,
        });
      }
    }
    this.#timer.set(this.#liveness.nextTimeout());
  }

  #send(kind: NonNullable<tunnel.AttachRequest['kind']>): void {
    this.attached.stream.send({ kind });
  }

  /** The one ending: everything that still ran on the connection is lost with it. */
  #end(end: TunnelEnd): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#over.resolve();
    this.#timer.set(undefined);
    this.connections.abortAll('tunnel-lost', 'the tunnel to the root proxy was lost');
    this.attached.channel.close();
    this.#listener.ended(end);
  }
}

/** RootCloseReasons that a proxy's GOODBYE stands for; discovery looks at the start of the text. */
const CODE_OF_REASON: ReadonlyMap<carry.Reason, string> = new Map([
  [Reason.REASON_DUPLICATE_ID, 'duplicate-id'],
  [Reason.REASON_REPLACED, 'replaced'],
  [Reason.REASON_DRAIN_DEADLINE, 'drain-deadline'],
  [Reason.REASON_SHUTDOWN, 'draining'],
  [Reason.REASON_CLAIM_HELD, 'standby-unwanted'],
  [Reason.REASON_STALE_INCARNATION, 'stale-incarnation'],
  [Reason.REASON_OVERLOADED, 'overloaded'],
]);

function goodbyeText({ reason, detail }: Pick<tunnel.Goodbye, 'reason' | 'detail'>, claimed: boolean): string {
  const lostClaim = claimed && reason === Reason.REASON_CLAIM_HELD;
  const code = lostClaim ? 'claim-lost' : (CODE_OF_REASON.get(reason) ?? 'goodbye');
  return detail === '' || detail.startsWith(code) ? detail || code : `${code}: ${detail}`;
}
