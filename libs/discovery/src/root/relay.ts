/**
 * Steering behind any balancer (DESIGN): an attempt that arrives here but names a live peer is relayed to it, byte by
 * byte, with TLS end to end between the agent and the peer.
 *
 * No loops: a proxy always serves its own name, only names of live members are relayed, a connection known to have been
 * relayed is not relayed again, and the number of relays is bounded, so that even two proxies that disagree about who
 * bears a name cannot pass one connection round for long.
 *
 * The other name that is passed on is `enrol.<domain>`: to a registry's enrolment port, for who cannot reach a registry
 * and has no certificate yet, or one that is to be renewed. Such connections are short and few; their bounds are their own.
 */
import { assert } from '../shared/assert.ts';
import type { ProxyId } from '../shared/ids.ts';
import { isEnrolmentServerName, proxyOfServerName } from '../shared/steering.ts';
import type { Instant } from '../shared/time.ts';

export interface RelayConfig {
  readonly proxy: ProxyId;
  readonly domain: string;
  /** `off`: every attempt is served here; agents then find their way by chance. */
  readonly mode: 'on' | 'off';
  /** Relayed connections at once; each is two sockets. Default 2_048. */
  readonly maxConcurrent: number;
  /**
   * New relays per second and source address, and how many may come at once. Behind a balancer all agents may share one
   * address, so the defaults (200, 400) bound a storm, not an agent.
   */
  readonly perSourceRate: number;
  readonly perSourceBurst: number;
  /** Connections to enrolment at once, in all and from one address. Defaults 256, 128: a join lasts a second. */
  readonly maxEnrolments: number;
  readonly maxEnrolmentsPerSource: number;
}

export interface RelayRequest {
  /** From the ClientHello; undefined without one. */
  readonly name: string | undefined;
  /** Address of the other end, without the port. */
  readonly source: string;
  /** This connection is known to have been relayed by a peer. */
  readonly relayed: boolean;
}

export type RelayDecision =
  /** Terminate TLS here, with our own certificate. */
  | { readonly kind: 'serve' }
  /** Connect to `address` and copy both ways; call `finished()` once when that is over, however it ends. */
  | { readonly kind: 'relay'; readonly proxy: ProxyId; readonly address: string }
  /** Connect to the first of `addresses` that answers and copy both ways; call `enrolmentFinished()` once after it. */
  | { readonly kind: 'enrol'; readonly addresses: readonly string[] }
  /** Close the connection. */
  | { readonly kind: 'refuse'; readonly why: string };

interface Bucket {
  tokens: number;
  at: Instant;
}

/** Source addresses remembered; a full bucket is forgotten first. */
const MAX_SOURCES = 4_096;

export function defaultRelayConfig(proxy: ProxyId, domain: string): RelayConfig {
  return {
    proxy,
    domain,
    mode: 'on',
    maxConcurrent: 2_048,
    perSourceRate: 200,
    perSourceBurst: 400,
    maxEnrolments: 256,
    maxEnrolmentsPerSource: 128,
  };
}

export class RelayPolicy {
  readonly #config: RelayConfig;
  readonly #buckets = new Map<string, Bucket>();
  /** Connections to enrolment by source address. */
  readonly #enrolments = new Map<string, number>();
  #enrolling = 0;
  #concurrent = 0;

  constructor(config: RelayConfig) {
    this.#config = config;
  }

  get concurrent(): number {
    return this.#concurrent;
  }

  /**
   * What to do with a connection. `addressOf` answers with a live member's tunnel address; `enrolment` is where registries
   * enrol, host:port, the best first. A name that no member bears is served with our own certificate: the agent's handshake fails at once, and that tells it that steering to this name
   * is not honoured here, where a closed socket would only look like a lost connection.
   */
  decide(
    request: RelayRequest,
    addressOf: (proxy: ProxyId) => string | undefined,
    now: Instant,
    enrolment: readonly string[] = [],
  ): RelayDecision {
    const { proxy: own, domain, mode } = this.#config;
    if (request.name !== undefined && isEnrolmentServerName(request.name, domain))
      return this.#enrol(request, enrolment);
    const proxy = request.name === undefined ? undefined : proxyOfServerName(request.name, domain);
    if (proxy === undefined || proxy === own || mode === 'off' || request.relayed) return { kind: 'serve' };
    const address = addressOf(proxy);
    if (address === undefined) return { kind: 'serve' };
    if (this.#concurrent >= this.#config.maxConcurrent) return { kind: 'refuse', why: 'too many relayed connections' };
    if (!this.#takeToken(request.source, now)) {
      return { kind: 'refuse', why: 'too many relayed connections from this address' };
    }
    this.#concurrent += 1;
    return { kind: 'relay', proxy, address };
  }

  finished(): void {
    assert(this.#concurrent > 0, 'a relay finished that never started');
    this.#concurrent -= 1;
  }

  enrolmentFinished(source: string): void {
    const open = this.#enrolments.get(source);
    assert(open !== undefined, 'an enrolment finished that never started');
    this.#enrolling -= 1;
    if (open === 1) this.#enrolments.delete(source);
    else this.#enrolments.set(source, open - 1);
  }

  #enrol({ source, relayed }: RelayRequest, addresses: readonly string[]): RelayDecision {
    if (relayed) return { kind: 'refuse', why: 'enrolment is not relayed a second time' };
    if (addresses.length === 0) return { kind: 'refuse', why: 'no registry is known to enrol at' };
    const open = this.#enrolments.get(source) ?? 0;
    const { maxEnrolments, maxEnrolmentsPerSource } = this.#config;
    if (this.#enrolling >= maxEnrolments) return { kind: 'refuse', why: 'too many connections to enrolment' };
    if (open >= maxEnrolmentsPerSource) {
      return { kind: 'refuse', why: 'too many connections to enrolment from this address' };
    }
    this.#enrolling += 1;
    this.#enrolments.set(source, open + 1);
    return { kind: 'enrol', addresses };
  }

  #takeToken(source: string, now: Instant): boolean {
    const { perSourceRate, perSourceBurst } = this.#config;
    const bucket = this.#buckets.get(source) ?? { tokens: perSourceBurst, at: now };
    const tokens = Math.min(perSourceBurst, bucket.tokens + ((now - bucket.at) / 1_000) * perSourceRate);
    this.#buckets.delete(source);
    this.#buckets.set(source, { tokens: tokens >= 1 ? tokens - 1 : tokens, at: now });
    const [oldest] = this.#buckets.keys();
    if (this.#buckets.size > MAX_SOURCES && oldest !== undefined) this.#buckets.delete(oldest);
    return tokens >= 1;
  }
}
