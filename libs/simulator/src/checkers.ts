import { PREFIX, PREFIX_END, decodeClaim, parseKey } from '@xylem/membership';
import type { KeyValue } from '@xylem/membership';
import type { AgentProcess } from './agent-process.ts';
import type { ProxyProcess } from './proxy-process.ts';
import type { World } from './world.ts';

/** A broken promise; `promise` names it as in docs/GUARANTEES.md. */
export interface Violation {
  readonly promise: string;
  readonly at: number;
  readonly detail: string;
}

/** L6: something wanted means that a dial is due within this. The ceiling of the backoff, and one turn of the clock. */
const DIAL_DUE_MS = 8_001;

/** Checks the safety promises after each step, on what changed since the last look. */
export class Checkers {
  readonly #world: World;
  readonly #turns = new Map<ProxyProcess | AgentProcess, number>();
  readonly #lastToken = new Map<string, bigint>();
  #revision = 0n;
  #restores = 0;
  #violation: Violation | undefined;

  constructor(world: World) {
    this.#world = world;
  }

  /** The first broken promise; later ones are likely its consequences. */
  get violation(): Violation | undefined {
    return this.#violation;
  }

  afterStep(): void {
    if (this.#violation !== undefined) return;
    for (const proxy of this.#world.proxies.values()) {
      if (this.#moved(proxy)) this.#checkProxy(proxy);
    }
    for (const agent of this.#world.agents.values()) {
      if (this.#moved(agent)) this.#checkAgent(agent);
    }
    if (this.#world.store.store.revision !== this.#revision) this.#checkStore();
  }

  fail(promise: string, detail: string): void {
    this.#violation ??= { promise, at: this.#world.now, detail };
  }

  #moved(process: ProxyProcess | AgentProcess): boolean {
    if (this.#turns.get(process) === process.turns) return false;
    this.#turns.set(process, process.turns);
    return true;
  }

  /** S1: at most one active agent per slot of an incarnation. */
  #checkProxy(proxy: ProxyProcess): void {
    const { root } = proxy;
    if (root === undefined) return;
    root.checkInvariants();
    const holders = new Map<string, string>();
    for (const tunnel of root.status().tunnels) {
      if (tunnel.state !== 'claimed' && tunnel.state !== 'provisional') continue;
      const slot = `${tunnel.leaf}/${String(tunnel.slot)}`;
      const other = holders.get(slot);
      if (other !== undefined) this.fail('S1', `${proxy.id}: slot ${slot} is held by ${other} and ${tunnel.tunnel}`);
      holders.set(slot, tunnel.tunnel);
    }
  }

  /** L6: no stuck state. */
  #checkAgent(agent: AgentProcess): void {
    const { brain } = agent;
    if (brain === undefined) return;
    const { wanted, dialsInFlight, nextDialAt, problem } = brain.status();
    if (wanted === 0 || dialsInFlight > 0 || problem !== undefined) return;
    if (nextDialAt === undefined || nextDialAt > agent.host.now + DIAL_DUE_MS) {
      this.fail('L6', `${agent.host.name} wants ${String(wanted)} proxies, and its next dial is ${nextDialAt === undefined ? 'never' : 'too late'}`);
    }
  }

  /** S2 and S3 in the store: one claim per slot, tokens rise, and no record of an incarnation that is over. */
  #checkStore(): void {
    const { store, restores } = this.#world.store;
    // A restored store counts some revisions twice; the epoch in front of them keeps fences rising.
    if (restores !== this.#restores) this.#lastToken.clear();
    this.#restores = restores;
    this.#revision = store.revision;
    const records = this.#world.store.list(PREFIX, PREFIX_END);
    const incarnations = new Map<string, bigint>();
    for (const kv of records) {
      const parsed = parseKey(kv.key);
      if (parsed.kind === 'member') incarnations.set(parsed.proxy, kv.createRevision);
    }
    for (const kv of records) this.#checkClaim(kv, incarnations);
  }

  #checkClaim(kv: KeyValue, incarnations: ReadonlyMap<string, bigint>): void {
    const parsed = parseKey(kv.key);
    if (parsed.kind !== 'claim') return;
    const last = this.#lastToken.get(kv.key) ?? 0n;
    if (kv.createRevision < last) this.fail('S2', `token of ${kv.key} fell from ${String(last)} to ${String(kv.createRevision)}`);
    this.#lastToken.set(kv.key, kv.createRevision);
    const record = decodeClaim(kv.value);
    const member = incarnations.get(parsed.claim.proxy);
    if (record === undefined) return this.fail('S2', `claim ${kv.key} cannot be read`);
    const incarnation = record.incarnation & ((1n << 44n) - 1n);
    if (member !== undefined && member !== incarnation) {
      this.fail('S3', `${kv.key} belongs to incarnation ${String(incarnation)}, but ${parsed.claim.proxy} is at ${String(member)}`);
    }
  }
}

const SETTLED: ReadonlySet<string> = new Set(['claimed', 'standby', 'sibling']);

/** What still keeps a healed world from its goal; undefined once every promise of liveness is met. */
export function notConverged(world: World): string | undefined {
  const live = world.liveProxies();
  const leaves = new Set([...world.agents.values()].filter((agent) => agent.brain !== undefined).map((agent) => agent.leaf));
  for (const proxy of live) {
    const status = proxy.root?.status();
    if (status === undefined || !status.registryConnected) return `${proxy.id} has no registry`;
    if (status.unrecorded > 0) return `${proxy.id} has ${String(status.unrecorded)} claims that are not recorded`;
    for (const leaf of leaves) {
      const held = status.tunnels.filter((tunnel) => tunnel.leaf === leaf && tunnel.state === 'claimed');
      if (held.length === 0) return `${proxy.id} is not claimed by ${leaf}`;
      const [claim] = held;
      const agent = [...world.agents.values()].find((candidate) => candidate.agent === claim?.agent);
      const entry = agent?.brain?.status().entries.find((candidate) => candidate.proxy === proxy.id);
      if (entry?.state !== 'claimed' || entry.tunnel !== claim?.tunnel) {
        return `${proxy.id} takes ${String(claim?.agent)} for its holder, which says ${entry?.state ?? 'nothing'}`;
      }
    }
  }
  for (const agent of world.agents.values()) {
    const reason = agentNotConverged(agent, live);
    if (reason !== undefined) return reason;
  }
  return claimsDiffer(world, live);
}

/** Whether an agent knows every live proxy and serves it, or waits behind the one that does. */
function agentNotConverged(agent: AgentProcess, live: readonly ProxyProcess[]): string | undefined {
  const status = agent.brain?.status();
  if (status === undefined) return undefined;
  if (status.wanted > 0) return `${agent.host.name} still seeks ${String(status.wanted)} proxies`;
  const settled = new Set(status.entries.filter(({ state }) => SETTLED.has(state)).map(({ proxy }) => proxy));
  const missing = live.find((proxy) => !settled.has(proxy.id));
  return missing === undefined ? undefined : `${agent.host.name} has no place at ${missing.id}`;
}

/** Rows 11 and S4: the records in the store are exactly the slots of the proxies. */
function claimsDiffer(world: World, live: readonly ProxyProcess[]): string | undefined {
  const recorded = new Set<string>();
  for (const kv of world.store.list(PREFIX, PREFIX_END)) {
    const parsed = parseKey(kv.key);
    if (parsed.kind === 'claim') recorded.add(`${parsed.claim.proxy}/${parsed.claim.leaf}/${String(parsed.claim.slot)}`);
  }
  for (const proxy of live) {
    for (const tunnel of proxy.root?.status().tunnels ?? []) {
      if (tunnel.state !== 'claimed') continue;
      const name = `${proxy.id}/${tunnel.leaf}/${String(tunnel.slot)}`;
      if (!recorded.delete(name)) return `${name} is held but not in the store`;
    }
  }
  const [left] = recorded;
  return left === undefined ? undefined : `${left} is in the store but nobody holds it`;
}
