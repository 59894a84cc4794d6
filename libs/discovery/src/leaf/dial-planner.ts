import { earliest, fullJitterMs, spreadMs } from '../shared/backoff.ts';
import type { DialId, ProxyId, TunnelId } from '../shared/ids.ts';
import type { Instant } from '../shared/time.ts';
import { Dials, type Dial, type DialPurpose } from './dials.ts';
import type { LeafParts } from './parts.ts';
import { isWanted, tunnelOf } from './phase.ts';
import type { Entry } from './pool.ts';
import { Relayed } from './relayed.ts';
import type { DialFailure } from './types.ts';

/** A second instance with our id answers: soon again is useless, a person has to act. */
const DUPLICATE_ID_WAIT_MS = 10_000;
/** Longest wait that the other side may ask for. */
const MAX_ASKED_WAIT_MS = 60_000;
/** First ceiling of the wait after one tunnel was lost; each more within the same second adds as much. */
const LOSS_JITTER_MS = 500;
const LOSS_WINDOW_MS = 1_000;

const FAILURE_TEXT: Readonly<Record<DialFailure, string>> = {
  unreachable: 'the balancer cannot be reached',
  timeout: 'the dial passed its deadline',
  handshake: 'TLS failed or another proxy answered',
  refused: 'the proxy refused',
  'duplicate-id': 'a second live instance uses this agent id',
  'already-claimed': 'the dial met a proxy that is already held',
  lost: 'the connection broke before the welcome',
};

/**
 * Decides when to dial and at whom (DESIGN: Dialling, Steering).
 *
 * Connected: every wanted entry has a dial in flight, or one due by its own backoff; when nothing is wanted nothing is
 * dialled, but for at most one optional dial per probe interval. Not connected at all: one dial at a time, the probe, in
 * flight or due; it prefers chance and, when that fails, takes turns with steering at known entries.
 */
export class DialPlanner {
  readonly dials: Dials;
  readonly relayed: Relayed;
  readonly #parts: LeafParts;
  #probe: { attempts: number; dueAt: Instant | undefined } = { attempts: 0, dueAt: undefined };
  #probeDial: DialId | undefined;
  #optionalNotBefore: Instant;
  #silence: { heard: boolean; endsAt: Instant };
  #losses: { since: Instant; count: number } = { since: 0, count: 0 };

  constructor(parts: LeafParts, now: Instant) {
    this.#parts = parts;
    this.dials = new Dials(parts.config.maxPermits);
    this.relayed = new Relayed(parts);
    this.#optionalNotBefore = now;
    this.#silence = { heard: false, endsAt: this.#nextSilence(now) };
  }

  /** Starts every dial that is due and sets the deadlines of the ones that are not. */
  pump(now: Instant): void {
    const { pool, deadlines } = this.#parts;
    deadlines.set('optional', undefined);
    deadlines.set('probe', undefined);
    this.#pumpReroutes(now);
    const connected = pool.connected > 0;
    if (this.#reachable) this.#pumpWanted(now);
    if (connected) {
      this.#probe.dueAt = undefined;
      this.#pumpOptional(now);
    } else if (!this.#reachable || pool.wanted === 0) {
      this.#pumpProbe(now);
    }
  }

  /** Some tunnel is up, be it to a proxy that drains: the balancer works, so wanted entries are worth a dial each. */
  get #reachable(): boolean {
    return this.#parts.pool.count((phase) => tunnelOf(phase) !== undefined) > 0;
  }

  #pumpProbe(now: Instant): void {
    if (this.#probeDial !== undefined || this.dials.unsteeredInFlight) return;
    this.#probe.dueAt ??= this.#probe.attempts === 0 ? now : now + this.#jitter(this.#probe.attempts, 'probe');
    if (this.#probe.dueAt > now) {
      this.#parts.deadlines.set('probe', this.#probe.dueAt);
      return;
    }
    if (!this.dials.permitFree) return;
    this.#probe.dueAt = undefined;
    const target = this.#probe.attempts % 2 === 1 ? this.#probeTarget() : undefined;
    this.#probeDial = this.#start('probe', undefined, target?.proxy, target?.lost, now).id;
  }

  /** Chance failed: take turns among the entries that are wanted. */
  #probeTarget(): Entry | undefined {
    const { config, pool } = this.#parts;
    if (config.steering === 'off') return undefined;
    const wanted = pool.sorted().filter((entry) => isWanted(entry.phase));
    return wanted[((this.#probe.attempts - 1) >> 1) % Math.max(1, wanted.length)];
  }

  #pumpWanted(now: Instant): void {
    const { pool, config } = this.#parts;
    if (!this.dials.permitFree) return;
    const seeking = pool.sorted().filter((entry) => entry.phase.kind === 'seeking');
    seeking.sort((a, b) => b.generation - a.generation || (a.proxy < b.proxy ? -1 : 1));
    for (const entry of seeking) {
      if (!this.dials.permitFree) return;
      const steered = config.steering === 'sni' && !entry.unsteered;
      entry.unsteered = false;
      const target = steered ? entry.proxy : undefined;
      const dial = this.#start('seek', entry.proxy, target, steered ? entry.lost : undefined, now);
      pool.move(entry, { kind: 'dialling', dial: dial.id, sibling: undefined });
    }
  }

  /** Tunnels whose relay is about to stop: another way first, then the old one finishes. */
  #pumpReroutes(now: Instant): void {
    const { pool, deadlines } = this.#parts;
    let next: Instant | undefined;
    for (const entry of pool.sorted()) {
      const { reroute } = entry;
      if (reroute === undefined) continue;
      if (reroute.at <= now) {
        // The end of any dial wakes the planner again.
        if (!this.dials.permitFree || this.#upgrades(entry)) continue;
        this.#start('upgrade', entry.proxy, entry.proxy, pool.currentOf(entry)?.id, now);
        this.relayed.postponeReroute(entry, now);
      }
      next = earliest(next, entry.reroute?.at);
    }
    deadlines.set('relays', next);
  }

  #upgrades(entry: Entry): boolean {
    return this.dials.inOrder().some((dial) => dial.purpose === 'upgrade' && dial.entry === entry.proxy);
  }

  /** With nothing wanted: a probe when all gossip has fallen silent, or a direct try for a relayed tunnel. */
  #pumpOptional(now: Instant): void {
    const { pool, deadlines } = this.#parts;
    if (pool.wanted > 0 || this.dials.inFlight > 0) return;
    if (this.#silence.endsAt <= now && this.#silence.heard) {
      this.#silence = { heard: false, endsAt: this.#nextSilence(now) };
    }
    const upgrade = this.relayed.nextUpgrade();
    const wish = Math.min(this.#silence.endsAt, upgrade?.at ?? Infinity);
    const at = Math.max(wish, this.#optionalNotBefore);
    if (at > now) {
      deadlines.set('optional', at);
      return;
    }
    this.#optionalNotBefore = this.#nextSilence(now);
    if (upgrade !== undefined && upgrade.at <= now) {
      const { entry } = upgrade;
      this.#start('upgrade', entry.proxy, entry.proxy, pool.currentOf(entry)?.id, now);
      this.relayed.postponeUpgrade(entry, now);
    } else {
      this.#silence = { heard: false, endsAt: this.#nextSilence(now) };
      this.#probeDial = this.#start('probe', undefined, undefined, undefined, now).id;
    }
  }

  /** Looks whether a sibling still holds `entry`. False when there is no permit or no connection now. */
  recheck(entry: Entry, now: Instant): boolean {
    const { pool, config } = this.#parts;
    if (entry.phase.kind !== 'sibling' || !this.dials.permitFree || pool.connected === 0) return false;
    const target = config.steering === 'sni' ? entry.proxy : undefined;
    const dial = this.#start('recheck', entry.proxy, target, undefined, now);
    pool.move(entry, { kind: 'dialling', dial: dial.id, sibling: entry.phase.holder });
    return true;
  }

  #start(
    purpose: DialPurpose,
    entry: ProxyId | undefined,
    target: ProxyId | undefined,
    replaces: TunnelId | undefined,
    now: Instant,
  ): Dial {
    const { config, deadlines, emit } = this.#parts;
    const dial = this.dials.start({ purpose, entry, target, deadline: now + config.dialTimeoutMs });
    deadlines.set(`dial:${dial.id}`, Dials.overdueAt(dial));
    emit({ type: 'dial', dial: dial.id, target, replaces, deadline: dial.deadline });
    return dial;
  }

  /** Ends a dial and gives its permit back; undefined when nobody waits for it any more. */
  finish(id: Dial['id']): Dial | undefined {
    const dial = this.dials.finish(id);
    this.#parts.deadlines.set(`dial:${id}`, undefined);
    if (id === this.#probeDial) this.#probeDial = undefined;
    return dial;
  }

  /** Gives up the dial that is in flight for `entry`; its phase is the caller's to move. Returns whether there was one. */
  abandon(entry: Entry): boolean {
    if (entry.phase.kind !== 'dialling' || !this.dials.cancel(entry.phase.dial)) return false;
    this.#parts.emit({ type: 'cancelDial', dial: entry.phase.dial });
    return true;
  }

  /** This agent leaves: every dial in flight is given up. */
  abandonAll(): void {
    for (const dial of this.dials.inOrder()) {
      if (this.dials.cancel(dial.id)) this.#parts.emit({ type: 'cancelDial', dial: dial.id });
    }
    this.#parts.deadlines.set('probe', undefined);
    this.#parts.deadlines.set('optional', undefined);
    this.#parts.deadlines.set('relays', undefined);
  }

  /** A dial ended without a tunnel. */
  failed(dial: Dial, reason: DialFailure, retryAfterMs: number, now: Instant): void {
    const { pool, config } = this.#parts;
    if (dial.purpose === 'probe') {
      this.#probe.attempts += 1;
      // One proxy asks for patience; the next probe may reach another, so it waits no longer than our own backoff would.
      const asked = Math.min(retryAfterMs, config.backoffMaxMs / 2);
      this.#probe.dueAt = this.#retryAt(reason, asked, this.#probe.attempts, 'probe', now).until;
      return;
    }
    const entry = dial.entry === undefined ? undefined : pool.get(dial.entry);
    if (entry?.phase.kind !== 'dialling' || entry.phase.dial !== dial.id) return;
    if (entry.phase.sibling !== undefined) {
      pool.move(entry, { kind: 'sibling', holder: entry.phase.sibling, until: now + this.siblingWaitMs(entry) });
      return;
    }
    entry.unsteered = reason === 'handshake' && dial.target !== undefined && config.steering === 'sni';
    this.backOff(entry, reason, retryAfterMs, now);
  }

  /** The entry is wanted and its next dial waits, longer with every attempt, or as long as the other side asked. */
  backOff(entry: Entry, reason: DialFailure, retryAfterMs: number, now: Instant, detail?: string): void {
    entry.attempts += 1;
    const { until, asked } = this.#retryAt(reason, retryAfterMs, entry.attempts, entry.proxy, now);
    this.#parts.pool.move(entry, { kind: 'backoff', until, asked, why: detail ?? FAILURE_TEXT[reason] });
  }

  #retryAt(
    reason: DialFailure,
    retryAfterMs: number,
    attempts: number,
    site: string,
    now: Instant,
  ): { until: Instant; asked: boolean } {
    const { config, random } = this.#parts;
    const asked = reason === 'duplicate-id' ? DUPLICATE_ID_WAIT_MS : Math.min(retryAfterMs, MAX_ASKED_WAIT_MS);
    const own = this.#jitter(attempts - 1, site);
    if (!(asked > own)) return { until: now + own, asked: false };
    const wait = spreadMs(asked, 2 * asked, random, `asked:${site}`);
    return { until: now + wait, asked: wait > config.backoffMaxMs };
  }

  #jitter(attempts: number, site: string): number {
    const { config, random } = this.#parts;
    return fullJitterMs(
      attempts,
      { minMs: config.backoffMinMs, maxMs: config.backoffMaxMs },
      random,
      `backoff:${site}`,
    );
  }

  siblingWaitMs(entry: Entry): number {
    const { config, random } = this.#parts;
    return spreadMs(config.siblingRetryMs, 2 * config.siblingRetryMs, random, `sibling:${entry.proxy}`);
  }

  /** A tunnel that worked was lost: seek again soon, but not in step with every other agent that lost one too. */
  tunnelLost(entry: Entry, now: Instant): void {
    const { pool, config, random } = this.#parts;
    if (now - this.#losses.since > LOSS_WINDOW_MS) this.#losses = { since: now, count: 0 };
    this.#losses.count += 1;
    const window = Math.min(config.redialSpreadMs, LOSS_JITTER_MS * this.#losses.count);
    const until = now + spreadMs(0, window, random, `lost:${entry.proxy}`);
    pool.move(entry, { kind: 'backoff', until, asked: false, why: 'the tunnel was lost' });
    if (pool.connected > 0) return;
    const all = this.#losses.count > 1 ? config.redialSpreadMs : window;
    this.#probe = { attempts: 0, dueAt: now + spreadMs(0, all, random, 'lost') };
  }

  /** A tunnel came up while there was none: what waited for connectivity is sought at once, and the probe is done. */
  connectivityReturned(): void {
    const { pool, emit } = this.#parts;
    if (this.#probeDial !== undefined && this.dials.cancel(this.#probeDial)) {
      emit({ type: 'cancelDial', dial: this.#probeDial });
    }
    this.#probeDial = undefined;
    for (const entry of pool.sorted()) {
      if (entry.phase.kind !== 'backoff' || entry.phase.asked) continue;
      entry.attempts = 0;
      pool.move(entry, { kind: 'seeking' });
    }
  }

  /** A probe reached a proxy. Until its claim is answered this counts as an attempt, lest a hollow proxy makes us spin. */
  probeLanded(): void {
    this.#probe.attempts += 1;
  }

  /** A claim was answered: the way through the balancer works. */
  answered(): void {
    this.#probe.attempts = 0;
  }

  /** Another instance has our id: trying again soon is useless on every way. */
  duplicateReported(now: Instant): void {
    const wait = spreadMs(DUPLICATE_ID_WAIT_MS, 2 * DUPLICATE_ID_WAIT_MS, this.#parts.random, 'duplicate');
    this.#probe.dueAt = now + wait;
  }

  gossipHeard(): void {
    this.#silence.heard = true;
  }

  nextDialAt(): Instant | undefined {
    const { pool, deadlines } = this.#parts;
    let next = deadlines.get('probe') ?? deadlines.get('optional') ?? Infinity;
    if (this.#reachable) {
      for (const { phase } of pool.sorted()) {
        if (phase.kind === 'backoff' || phase.kind === 'sibling') next = Math.min(next, phase.until);
      }
    }
    return next === Infinity ? undefined : next;
  }

  #nextSilence(now: Instant): Instant {
    const { config, random } = this.#parts;
    return now + spreadMs(config.probeIntervalMs, 2 * config.probeIntervalMs, random, 'silence');
  }
}
