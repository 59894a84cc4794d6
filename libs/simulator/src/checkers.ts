import { toFence } from '@xylem/membership';
import type { AgentProcess } from './agent-process.ts';
import { verdictOn } from './marks-seen.ts';
import type { LifeMark } from './marks-seen.ts';
import { LIVENESS } from './messages.ts';
import { PromptChecks } from './prompt-checks.ts';
import type { ProxyProcess } from './proxy-process.ts';
import { StoreChecks } from './store-checks.ts';
import type { Fact } from './trace.ts';
import type { World } from './world.ts';

/** A broken promise; `promise` names it as in docs/GUARANTEES.md. */
export interface Violation {
  readonly promise: string;
  readonly at: number;
  readonly detail: string;
}

/** L6: something wanted means that a dial is due within this. The ceiling of the backoff, and one turn of the clock. */
const DIAL_DUE_MS = 8_001;
/** S4: a holder whose host is lost loses its slot after that much silence; clocks drift. */
const LOST_HOLDER_MS = LIVENESS.deadAfterMs * 1.001;
/** Whoever was stopped itself gives its peers up to eight times as long (Lifeguard), and asks once more before it blames. */
const LOST_HOLDER_AFTER_PAUSE_MS = LIVENESS.deadAfterMs * 8 + LIVENESS.intervalMs;
/** Who was deceived about a lease believes in it for another time to live, and a heartbeat that was on its way. */
const DECEIVED_MS = 11_000;
/** Why an agent may give up a claim that it holds. `drained` only once the drain was announced. */
const GIVE_UP_REASONS: ReadonlySet<string> = new Set(['replaced', 'drained', 'stale-incarnation', 'leaving']);

/** Checks the safety promises after each step, on what changed since the last look. */
export class Checkers {
  readonly #world: World;
  readonly #store: StoreChecks;
  readonly #prompt: PromptChecks;
  readonly #turns = new Map<ProxyProcess | AgentProcess, number>();
  #violation: Violation | undefined;

  constructor(world: World) {
    this.#world = world;
    const fail = (promise: string, detail: string): void => this.fail(promise, detail);
    this.#store = new StoreChecks(world, fail);
    this.#prompt = new PromptChecks(world, this.#store, fail);
    world.trace.onFact = (fact) => this.#checkFact(fact);
  }

  /** The first broken promise; later ones are likely its consequences. */
  get violation(): Violation | undefined {
    return this.#violation;
  }

  /** See StoreChecks: what agents hold against the root proxies then is no mistake of theirs. */
  get isEpochDrawnAgain(): boolean {
    return this.#store.isEpochDrawnAgain;
  }

  afterStep(): void {
    if (this.#violation !== undefined) return;
    this.#store.afterStep();
    for (const proxy of this.#world.proxies.values()) {
      if (this.#moved(proxy)) this.#checkProxy(proxy);
    }
    for (const agent of this.#world.agents.values()) {
      if (this.#moved(agent)) this.#checkAgent(agent);
    }
  }

  /** Promises with a time; to be called every quarter of a second or so. */
  look(calm: boolean): void {
    if (this.#violation === undefined) this.#prompt.look(calm);
  }

  fail(promise: string, detail: string): void {
    this.#violation ??= { promise, at: this.#world.now, detail };
  }

  #moved(process: ProxyProcess | AgentProcess): boolean {
    if (this.#turns.get(process) === process.turns) return false;
    this.#turns.set(process, process.turns);
    return true;
  }

  #checkProxy(proxy: ProxyProcess): void {
    const { root } = proxy;
    if (root === undefined || proxy.host.paused) return;
    root.checkInvariants();
    this.#checkSlots(proxy);
    this.#store.checkTokens(proxy);
    this.#checkHolders(proxy);
    this.#checkLease(proxy);
  }

  /** S1: at most one active agent per slot of an incarnation, and nobody was told otherwise. */
  #checkSlots(proxy: ProxyProcess): void {
    const holders = new Map<string, string>();
    const states = new Map<string, string>();
    for (const tunnel of proxy.root?.status().tunnels ?? []) {
      states.set(tunnel.tunnel, tunnel.state);
      if (tunnel.state !== 'claimed' && tunnel.state !== 'provisional') continue;
      const slot = `${tunnel.leaf}/${String(tunnel.slot)}`;
      const other = holders.get(slot);
      if (other !== undefined) this.fail('S1', `${proxy.id}: slot ${slot} is held by ${other} and ${tunnel.tunnel}`);
      holders.set(slot, tunnel.tunnel);
    }
    for (const { id, granted } of proxy.tunnelEnds()) {
      const state = states.get(id);
      if (granted !== undefined && (state === 'standby' || state === 'undecided')) {
        this.fail('S1', `${proxy.id} told ${id} that slot ${String(granted)} is its own, which is only ${state}`);
      }
    }
  }

  /** S4: a tunnel that ended holds nothing, and a holder whose process is gone is found out in time. */
  #checkHolders(proxy: ProxyProcess): void {
    const ends = new Map(proxy.tunnelEnds().map((tunnel) => [tunnel.id, tunnel.end]));
    for (const { tunnel, state } of proxy.root?.status().tunnels ?? []) {
      const end = ends.get(tunnel);
      if (end === undefined)
        return this.fail('S4', `${proxy.id} keeps ${tunnel} as ${state}, whose connection has ended`);
      const { peerDiedAt } = end;
      if (peerDiedAt === undefined) continue;
      const silentMs = this.#world.now - peerDiedAt;
      if (silentMs > (proxy.host.everPaused ? LOST_HOLDER_AFTER_PAUSE_MS : LOST_HOLDER_MS))
        this.fail('S4', `${proxy.id} keeps ${tunnel}, whose process died ${silentMs.toFixed(0)} ms ago`);
    }
  }

  /** S3: a proxy that takes its lease for valid has its record, unless the store itself deceived it. */
  #checkLease(proxy: ProxyProcess): void {
    const { store, now } = this.#world;
    const status = proxy.link?.status();
    if (status?.leaseValidUntil === undefined || status.leaseValidUntil <= proxy.host.now) return;
    if (status.state === 'leaving' || status.state === 'left' || now - store.deceivedAt <= DECEIVED_MS) return;
    const registered = this.#store.members.get(proxy.id)?.createRevision;
    const own = toFence(status.incarnation).createRevision;
    // Whoever takes the place of one that seems to be dead takes its records away at once.
    if (this.#world.instances(proxy.id).some((other) => other !== proxy && other.host.alive)) return;
    // It may be gone again before the one without a session is told.
    if (status.state !== 'connected' && !proxy.contested && this.#store.isDisplaced(proxy)) return;
    if (registered !== own) {
      this.fail(
        'S3',
        `${proxy.id} takes its lease of incarnation ${String(own)} for valid, but the store has ${String(registered ?? 'none')}`,
      );
    }
  }

  #checkAgent(agent: AgentProcess): void {
    const { brain } = agent;
    if (brain === undefined || agent.host.paused) return;
    const { wanted, dialsInFlight, nextDialAt, problem } = brain.status();
    // L6: no stuck state.
    if (
      wanted > 0 &&
      dialsInFlight === 0 &&
      problem === undefined &&
      (nextDialAt === undefined || nextDialAt > agent.host.now + DIAL_DUE_MS)
    ) {
      this.fail(
        'L6',
        `${agent.host.name} wants ${String(wanted)} proxies, and its next dial is ${nextDialAt === undefined ? 'never' : 'too late'}`,
      );
    }
    this.#checkKnowledge(agent);
  }

  /** L6: whoever knows a stamp knows every proxy that was registered by then and still is: nothing is forgotten for gossip's order. */
  #checkKnowledge(agent: AgentProcess): void {
    const status = agent.brain?.status();
    // Revisions of another epoch than the store's, or from before a restore that nobody has noticed yet, compare with nothing.
    if (status?.stamp === undefined || status.stamp.epoch !== this.#store.ownEpoch) return;
    const { revision } = status.stamp;
    if (revision > this.#world.store.store.revision) {
      return this.fail('L6', `${agent.host.name} believes in revision ${String(revision)}, which the store never had`);
    }
    const known = new Map(status.entries.map((entry) => [entry.proxy as string, entry.state]));
    for (const [proxy, { createRevision }] of this.#store.members) {
      if (createRevision > revision) continue;
      const state = known.get(proxy);
      if (state === undefined || state === 'gone') {
        this.fail(
          'L6',
          `${agent.host.name} at revision ${String(revision)} takes ${proxy} for ${state ?? 'unknown'}, registered since ${String(createRevision)}`,
        );
      }
    }
  }

  #checkFact(fact: Fact): void {
    switch (fact.type) {
      case 'dialJudged':
        return this.#checkDial(fact);
      case 'claimGivenUp':
        if (!GIVE_UP_REASONS.has(fact.reason) || (fact.reason === 'drained' && !fact.drainAnnounced)) {
          this.fail('L6', `${fact.agent} gave up its claim on ${fact.proxy}, unasked: ${fact.reason}`);
        }
        return;
      case 'tunnelGivenUp':
        return this.#checkGivenUp(fact);
    }
  }

  /** S3: what is over is refused. L4, L5: nothing else is. */
  #checkDial({ agent, proxy, served, mark, seen, admitted }: Extract<Fact, { type: 'dialJudged' }>): void {
    const right = verdictOn(mark, seen, admitted);
    if (right === 'either' || served === (right === 'serve')) return;
    const what = `a dial of ${proxy} at ${describe(mark)}, having seen ${describe(seen)}`;
    if (served) this.fail('S3', `${agent} served ${what}`);
    else this.fail('L4', `${agent} refused ${what}`);
  }

  #checkGivenUp({
    proxy,
    tunnel,
    reason,
    drainAnnounced,
    detail,
    peer,
  }: Extract<Fact, { type: 'tunnelGivenUp' }>): void {
    if (reason === 'drain-deadline' && !drainAnnounced)
      this.fail('drain', `${proxy} closed ${tunnel} for its drain without having announced it`);
    const silent = reason === 'replaced' && detail.includes('did not answer');
    if (silent && peer.alive && !peer.troubled) {
      this.fail('S1', `${proxy} gave the slot of ${tunnel} away, whose process is well`);
    }
    if (reason === 'claim-lost') this.fail('S3', `${proxy} closed ${tunnel} as lost, and nobody else can have had it`);
  }
}

function describe({ incarnation, token, life }: LifeMark): string {
  return `${String(incarnation)}/${String(token)} of life ${String(life)}`;
}
