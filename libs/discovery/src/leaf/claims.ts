import { assert } from '../shared/assert.ts';
import type { AgentId, FencingToken, Incarnation } from '../shared/ids.ts';
import type { Instant } from '../shared/time.ts';
import type { DialPlanner } from './dial-planner.ts';
import { closeTunnel, type LeafParts } from './parts.ts';
import type { Entry, Tunnel } from './pool.ts';
import type { CloseReason } from './types.ts';

/**
 * What proxies answer to claims, and the fence between incarnations: a grant by an incarnation older than one we know
 * is not believed until its record or a newer epoch proves it.
 */
export class Claims {
  readonly #parts: LeafParts;
  readonly #planner: DialPlanner;

  constructor(parts: LeafParts, planner: DialPlanner) {
    this.#parts = parts;
    this.#planner = planner;
  }

  granted(tunnel: Tunnel, slot: number, now: Instant): void {
    const { pool } = this.#parts;
    const entry = pool.of(tunnel);
    if (tunnel.role === 'candidate') this.#takeOver(entry, tunnel, now);
    if (entry.phase.kind === 'retiring') return;
    if (entry.phase.kind === 'claiming' && this.isStale(entry, tunnel.incarnation)) {
      pool.move(entry, { ...entry.phase, granted: slot });
      return;
    }
    this.#claimed(entry, tunnel, slot, now);
  }

  #claimed(entry: Entry, tunnel: Tunnel, slot: number, now: Instant): void {
    const { pool, config } = this.#parts;
    pool.move(entry, { kind: 'claimed', tunnel: tunnel.id, slot });
    this.#answered(entry);
    if (tunnel.via === undefined || config.steering === 'off') entry.upgrade = undefined;
    else if (entry.upgrade === undefined) this.#planner.relayed.postponeUpgrade(entry, now);
  }

  /** Believes a grant that looked stale, once a record or a newer epoch has proved it. */
  prove(entry: Entry, tunnel: Tunnel, now: Instant): void {
    const { phase } = entry;
    if (phase.kind !== 'claiming' || phase.granted === undefined || this.isStale(entry, tunnel.incarnation)) return;
    this.#claimed(entry, tunnel, phase.granted, now);
  }

  #answered(entry: Entry): void {
    entry.attempts = 0;
    entry.lost = undefined;
    this.#parts.account.problem = undefined;
    this.#planner.answered();
  }

  recorded(tunnel: Tunnel, token: FencingToken, incarnation: Incarnation, now: Instant): void {
    tunnel.token = token;
    this.named(tunnel, incarnation, now);
  }

  /** The proxy at the other end has told which incarnation it is. */
  named(tunnel: Tunnel, incarnation: Incarnation, now: Instant): void {
    tunnel.incarnation = incarnation;
    this.raiseFence(this.#parts.pool.of(tunnel), incarnation);
    this.#parts.knowledge.shookHands(tunnel.proxy, incarnation, now);
  }

  held(tunnel: Tunnel, holder: AgentId, now: Instant): void {
    const { pool, config, emit } = this.#parts;
    const entry = pool.of(tunnel);
    if (tunnel.role === 'candidate' && !this.#heldBySibling(entry, tunnel, holder, now)) return;
    if (entry.phase.kind === 'retiring') return;
    this.#answered(entry);
    const standsBy = entry.phase.kind === 'standby';
    const others = pool.count((phase) => phase.kind === 'standby') - (standsBy ? 1 : 0);
    if (others < config.standbys) {
      if (!standsBy) emit({ type: 'requestStandby', tunnel: tunnel.id });
      pool.move(entry, { kind: 'standby', tunnel: tunnel.id, holder });
      return;
    }
    const candidate = pool.candidateOf(entry);
    if (candidate !== undefined) this.dropCandidate(entry, candidate, 'duplicate');
    closeTunnel(this.#parts, tunnel, 'claim-held');
    pool.move(entry, { kind: 'sibling', holder, until: now + this.#planner.siblingWaitMs(entry) });
  }

  // ---- candidates --------------------------------------------------------------------------------------------------

  /** The candidate's claim was granted: it carries the entry now and the old tunnel finishes. */
  #takeOver(entry: Entry, candidate: Tunnel, now: Instant): void {
    const { pool, config } = this.#parts;
    const old = pool.currentOf(entry);
    assert(old !== undefined, `candidate ${candidate.id} without a current tunnel`);
    const { upgrade } = entry;
    this.#adopt(entry, candidate);
    pool.move(entry, { kind: 'claiming', tunnel: candidate.id, until: now, granted: undefined });
    entry.upgrade = upgrade;
    const stale = old.incarnation < candidate.incarnation;
    closeTunnel(this.#parts, old, stale ? 'stale-incarnation' : 'replaced', stale ? undefined : now + config.lingerMs);
  }

  /** The current tunnel is over: the candidate, if there is one, carries the entry on. */
  candidateSteps(entry: Entry, now: Instant): boolean {
    const { pool, config } = this.#parts;
    const candidate = pool.candidateOf(entry);
    if (candidate === undefined) return false;
    this.#adopt(entry, candidate);
    const until = now + config.claimTimeoutMs;
    pool.move(entry, { kind: 'claiming', tunnel: candidate.id, until, granted: undefined });
    return true;
  }

  #adopt(entry: Entry, candidate: Tunnel): void {
    candidate.role = 'current';
    this.#parts.pool.setCandidate(entry, undefined);
    this.raiseFence(entry, candidate.incarnation);
  }

  dropCandidate(entry: Entry, candidate: Tunnel, reason: CloseReason): void {
    this.#parts.pool.setCandidate(entry, undefined);
    this.#parts.account.wastedDials += 1;
    closeTunnel(this.#parts, candidate, reason);
  }

  /**
   * A candidate's claim is held. By ourselves or unchanged: the old tunnel lives, the candidate goes. By a sibling at a
   * newer incarnation: the old tunnel belongs to a process that is over, and the candidate carries the entry; so it does
   * where the old one stood by through a relay that is about to stop.
   */
  #heldBySibling(entry: Entry, candidate: Tunnel, holder: AgentId, now: Instant): boolean {
    const { pool, config } = this.#parts;
    const old = pool.currentOf(entry);
    assert(old !== undefined, `candidate ${candidate.id} without a current tunnel`);
    const newer = candidate.incarnation > old.incarnation;
    const standsBy = entry.phase.kind === 'standby' && entry.reroute !== undefined;
    if (holder !== config.agent && (newer || standsBy)) {
      this.#takeOver(entry, candidate, now);
      return true;
    }
    if (newer) {
      old.incarnation = candidate.incarnation;
      this.raiseFence(entry, old.incarnation);
    }
    this.dropCandidate(entry, candidate, 'duplicate');
    return false;
  }

  // ---- fence -------------------------------------------------------------------------------------------------------

  #epoch(): bigint {
    return this.#parts.knowledge.stamp?.epoch ?? 0n;
  }

  /** Whether a greater incarnation of the same epoch is known. A never registered proxy (0) cannot be judged. */
  isStale(entry: Entry, incarnation: Incarnation): boolean {
    if (incarnation === 0n) return false;
    const { fence } = entry;
    const shook = fence !== undefined && fence.epoch === this.#epoch() && fence.incarnation > incarnation;
    return shook || entry.incarnation > incarnation;
  }

  raiseFence(entry: Entry, incarnation: Incarnation): void {
    const epoch = this.#epoch();
    if (entry.fence !== undefined && entry.fence.epoch === epoch && entry.fence.incarnation >= incarnation) return;
    entry.fence = { epoch, incarnation };
  }
}
