import { carry, FramePort, refuse } from '@xylem/carrier';
import type { Carried } from '@xylem/carrier';
import type { Admission, DialFence } from '@xylem/discovery';
import { StatusError } from '@xylem/grpc';
import type { GrpcChannel } from '@xylem/grpc';
import type { DialOutcome, ResetReason } from '@xylem/tunnel';
import { PROBE_NODE, RawFrameMethods } from '@xylem/wire';
import type { tunnel } from '@xylem/wire';
import type { Socket } from 'node:net';
import { connectNode } from '../nodes/connect.ts';
import type { NodeConnection } from '../nodes/connect.ts';
import type { NodeList } from '../nodes/list.ts';
import type { Resolver } from '../nodes/resolve.ts';
import type { DialRecord, DialTelemetry } from '../telemetry/dials.ts';
import type { DialAdmission } from '../trust/dial-admission.ts';
import { answerProbe } from './probe.ts';

/** What every tunnel of an agent shares for carrying connections. */
export interface CarryingPorts {
  readonly leaf: string;
  /** The agent's own name, for the outcome's `via`. */
  readonly agent: string;
  readonly nodes: NodeList;
  readonly fence: DialFence;
  readonly admission: DialAdmission;
  readonly telemetry: DialTelemetry;
  readonly maxConnectionsPerTunnel: number;
  /** Default: the system's. */
  readonly resolve?: Resolver;
}

type Refusal = {
  readonly kind: 'failed';
  readonly outcome: Exclude<DialOutcome, 'connected'>;
  readonly detail: string;
};

/** Budget of a dial whose request names none, and the greatest one. */
const DEFAULT_TIMEOUT_MS = 10_000;
const MAX_TIMEOUT_MS = 60_000;
/** Visible ASCII: it goes into metadata, which takes nothing else. A dial that names its connection otherwise cannot be answered. */
const CONNECTION_ID = /^[\x21-\x7e]{1,128}$/;
/** Probes answered at once; a root proxy sends one at a time. */
const MAX_PROBES = 4;

/** The dials and carried connections of one tunnel. */
export class TunnelConnections {
  readonly #ports: CarryingPorts;
  readonly #channel: GrpcChannel;
  readonly #proxy: string;
  readonly #admission: Admission;
  /** Dials without an outcome yet, by connection. */
  readonly #dialling = new Map<string, AbortController>();
  readonly #open = new Map<string, Carried>();
  #probes = 0;
  #idle: (() => void)[] = [];
  #aborted = false;

  constructor(ports: CarryingPorts, channel: GrpcChannel, proxy: string, admission: Admission) {
    this.#ports = ports;
    this.#channel = channel;
    this.#proxy = proxy;
    this.#admission = admission;
  }

  get size(): number {
    return this.#dialling.size + this.#open.size;
  }

  /** Dials once and opens Carry with the outcome. A connection that is known already is not dialled again (FAULTS.md S7). */
  dial(request: tunnel.DialRequest): void {
    const { connection } = request;
    if (!CONNECTION_ID.test(connection) || this.#aborted) return;
    if (request.target?.node === PROBE_NODE) return this.#answerProbe(connection);
    if (this.#dialling.has(connection) || this.#open.has(connection)) {
      return this.#ports.telemetry.replayed(request, this.#proxy);
    }
    const record = this.#ports.telemetry.start(request, this.#proxy);
    const refusal = this.#check(request);
    if (refusal !== undefined) return this.#refuse(connection, refusal, record);
    void this.#dial(request, record);
  }

  /** The requester gave up before the outcome. */
  cancel(connection: string): void {
    this.#dialling.get(connection)?.abort();
  }

  /** Resets every connection and gives up every dial; later dials are ignored. */
  abortAll(reason: ResetReason, detail: string): void {
    this.#aborted = true;
    for (const dialling of this.#dialling.values()) dialling.abort();
    for (const carried of this.#open.values()) carried.abort(reason, detail);
  }

  /** Resolves when no connection and no dial is left. */
  drained(): Promise<void> {
    if (this.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Whether dials reach this agent and their streams the root proxy: nothing is dialled for it, so it takes no grant. */
  #answerProbe(connection: string): void {
    if (this.#probes >= MAX_PROBES) return;
    const frames = this.#openFrames(connection);
    if (frames === undefined) return;
    this.#probes += 1;
    void answerProbe(frames, this.#ports.agent).finally(() => {
      this.#probes -= 1;
    });
  }

  #check({ target, incarnation, token }: tunnel.DialRequest): Refusal | undefined {
    const stale = this.#ports.fence.check(this.#proxy, { incarnation, token }, this.#admission);
    if (stale !== undefined) return { kind: 'failed', outcome: 'denied', detail: stale };
    if (target === undefined || target.port > 65_535)
      return { kind: 'failed', outcome: 'invalid', detail: 'the dial names no valid target' };
    if (target.leaf !== this.#ports.leaf) {
      return { kind: 'failed', outcome: 'denied', detail: `this agent belongs to leaf cluster ${this.#ports.leaf}` };
    }
    const limit = this.#ports.maxConnectionsPerTunnel;
    if (this.size < limit) return undefined;
    return {
      kind: 'failed',
      outcome: 'overloaded',
      detail: `the agent carries ${limit} connections for this root proxy already`,
    };
  }

  async #dial(request: tunnel.DialRequest, record: DialRecord): Promise<void> {
    const { connection } = request;
    const giveUp = new AbortController();
    this.#dialling.set(connection, giveUp);
    const result = await this.#connect(request, record, giveUp.signal);
    this.#dialling.delete(connection);
    if (giveUp.signal.aborted) {
      if (result.kind === 'connected') result.socket.resetAndDestroy();
      record.outcome('cancelled', 'nobody waited for the outcome any more');
    } else if (result.kind === 'failed') {
      this.#refuse(connection, result, record);
    } else {
      this.#carry(connection, result.socket, record);
    }
    this.#settle();
  }

  /** The own list comes first: a grant never makes it longer. */
  async #connect(request: tunnel.DialRequest, record: DialRecord, signal: AbortSignal): Promise<NodeConnection> {
    const { target, timeoutMs } = request;
    const node = target?.node ?? '';
    const found = this.#ports.nodes.find(node, target?.port ?? 0);
    if (found.kind !== 'listed') return { kind: 'failed', outcome: found.kind, detail: found.detail };
    const verdict = await this.#ports.admission.check({ request, proxy: this.#proxy, node, port: found.port });
    record.judged(verdict);
    if (verdict.kind === 'refused') {
      return { kind: 'failed', outcome: verdict.cause === 'full' ? 'overloaded' : 'denied', detail: verdict.detail };
    }
    return connectNode({
      address: found.address,
      timeoutMs: timeoutMs === 0 ? DEFAULT_TIMEOUT_MS : Math.min(timeoutMs, MAX_TIMEOUT_MS),
      signal,
      ...(this.#ports.resolve === undefined ? {} : { resolve: this.#ports.resolve }),
    });
  }

  #carry(connection: string, socket: Socket, record: DialRecord): void {
    const frames = this.#openFrames(connection);
    if (frames === undefined) {
      socket.resetAndDestroy();
      return record.outcome('tunnel-lost', 'the tunnel was lost before the outcome was sent');
    }
    record.outcome('connected', '');
    const carried = carry({ socket, frames, role: 'answerer', via: [this.#ports.agent] });
    this.#open.set(connection, carried);
    record.opened(carried);
    void carried.closed.then((end) => {
      this.#open.delete(connection);
      record.closed(carried, end);
      this.#settle();
    });
  }

  #refuse(connection: string, { outcome, detail }: Refusal, record: DialRecord): void {
    record.outcome(outcome, detail);
    const frames = this.#openFrames(connection);
    if (frames !== undefined) refuse(frames, outcome, detail, [this.#ports.agent]);
  }

  /** undefined: the channel is closed already. */
  #openFrames(connection: string): FramePort | undefined {
    try {
      return new FramePort(this.#channel.duplex(RawFrameMethods.carry, { 'xylem-connection': connection }));
    } catch (error) {
      if (error instanceof StatusError) return undefined;
      throw error;
    }
  }

  #settle(): void {
    if (this.size > 0) return;
    const waiting = this.#idle;
    this.#idle = [];
    for (const resolve of waiting) resolve();
  }
}
