import { defaultLeafConfig } from '../leaf/defaults.ts';
import type { DialFailure, LeafEffect, LeafEvent } from '../leaf/types.ts';
import { defaultRootConfig } from '../root/defaults.ts';
import { RootDiscovery } from '../root/root-discovery.ts';
import type { RootEffect, RootEvent } from '../root/types.ts';
import type { Delta, GossipMessage, ProxyRecord, Snapshot, Stamp } from '../shared/gossip.ts';
import type {
  AgentId,
  DialId,
  FencingToken,
  Incarnation,
  InstanceNonce,
  LeafId,
  ProxyId,
  TunnelId,
} from '../shared/ids.ts';
import { createAgent, type DiscoveryAgent, type StrategyName } from '../strategies.ts';
import { fixedRandom } from './random.ts';

/**
 * Golden scenarios: one event a row, with what the machine shows and does after it.
 *
 *   # comment
 *   leaf strategy=stamped steering=sni      (or: root proxy=a claims=1)
 *   time | event | pool | effects
 *   0    | start |      | dial 1
 *
 * Times are in milliseconds. `time` and `event` are read; the other columns are compared, and rewritten with UPDATE=1.
 * Before each event all timeouts that are due by its time are fired, each shown as a row of its own with event `-`;
 * those rows are output as well; the event `wait` does no more than that. Lines with `#` stay as they are. Chance always
 * draws `draw` (default 0: every jittered wait is its shortest).
 */
export function runScenario(text: string): string {
  const lines = text.split('\n');
  const header = lines.findIndex((line) => line.startsWith('leaf ') || line.startsWith('root '));
  const options = new Map(words(lines[header] ?? '').map((word) => pair(word)));
  const machine = (lines[header] ?? '').startsWith('root ') ? new RootMachine(options) : new LeafMachine(options);
  const inputs = lines.slice(header + 2).flatMap((line) => {
    if (line.startsWith('#')) return [{ at: 0, event: line }];
    const [time = '', event = ''] = line.split('|').map((column) => column.trim());
    return event === '' || event === '-' ? [] : [{ at: Number(time), event }];
  });
  const rows = [
    ['time', 'event', machine.shows, 'effects'],
    ...inputs.flatMap(({ at, event }) => runRow(machine, at, event)),
  ];
  return [...lines.slice(0, header + 1), ...table(rows), ''].join('\n');
}

interface Machine {
  readonly shows: string;
  apply(event: string, at: number): void;
  nextTimeout(): number | undefined;
  state(): string;
  effects(): string;
}

function runRow(machine: Machine, at: number, event: string): string[][] {
  if (event.startsWith('#')) return [[event]];
  const rows: string[][] = [];
  for (let due = machine.nextTimeout(); due !== undefined && due <= at; due = machine.nextTimeout()) {
    machine.apply('-', due);
    rows.push([String(due), '-', machine.state(), machine.effects()]);
  }
  if (event !== 'wait') machine.apply(event, at);
  return [...rows, [String(at), event, machine.state(), machine.effects()]];
}

function table(rows: readonly string[][]): string[] {
  const widths = [0, 1, 2].map((column) =>
    Math.max(...rows.map((row) => (row.length > 1 ? (row[column]?.length ?? 0) : 0))),
  );
  return rows.map((row) => {
    const cells = row.length > 1 ? row.map((cell, column) => cell.padEnd(widths[column] ?? 0)) : row;
    return cells.join(' | ').trimEnd();
  });
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '');
}

function pair(word: string): [string, string] {
  const [key = '', value = ''] = word.split('=');
  return [key, value];
}

function parseStamp(text: string): Stamp {
  const [epoch = '0', revision = '0'] = text.split('.');
  return { epoch: BigInt(epoch), revision: BigInt(revision) };
}

/** `a`, `a@5`, `a@5!` (draining), `a@5^2` (of generation 2). */
function parseRecord(text: string): ProxyRecord {
  const [record = '', generation = '0'] = text.split('^');
  const [id = '', incarnation = '1'] = record.replace('!', '').split('@');
  const state = record.endsWith('!') ? 'draining' : 'ready';
  return {
    id: id as ProxyId,
    incarnation: BigInt(incarnation) as Incarnation,
    state,
    generation: Number(generation),
  };
}

function parseSnapshot(stamp: string, records: readonly string[]): Snapshot {
  return { kind: 'snapshot', stamp: parseStamp(stamp), proxies: records.map(parseRecord) };
}

function parseDelta(from: string, to: string, changes: readonly string[]): Delta {
  const added = changes.filter((change) => change.startsWith('+')).map((change) => parseRecord(change.slice(1)));
  const removed = changes.filter((change) => change.startsWith('-')).map((change) => change.slice(1) as ProxyId);
  return { kind: 'delta', from: parseStamp(from), to: parseStamp(to), changed: added, removed };
}

function showMessage(message: GossipMessage): string {
  const show = (record: ProxyRecord): string =>
    `${record.id}@${record.incarnation}${record.state === 'draining' ? '!' : ''}${record.generation === 0 ? '' : `^${record.generation}`}`;
  const stamp = (value: Stamp): string => `${value.epoch}.${value.revision}`;
  if (message.kind === 'snapshot') return `${stamp(message.stamp)} ${message.proxies.map(show).join(' ')}`;
  const changes = [...message.changed.map((record) => `+${show(record)}`), ...message.removed.map((id) => `-${id}`)];
  return `${stamp(message.from)}>${stamp(message.to)} ${changes.join(' ')}`;
}

class LeafMachine implements Machine {
  readonly shows = 'pool';
  #core: DiscoveryAgent | undefined;
  readonly #options: ReadonlyMap<string, string>;

  constructor(options: ReadonlyMap<string, string>) {
    this.#options = options;
  }

  apply(event: string, at: number): void {
    if (event === 'start') this.#core = this.#start(at);
    else this.#core?.handle(parseLeafEvent(event), at);
  }

  #start(at: number): DiscoveryAgent {
    const strategy = (this.#options.get('strategy') ?? 'stamped') as StrategyName;
    const steering = this.#options.get('steering') === 'off' ? 'off' : 'sni';
    const standbys = Number(this.#options.get('standbys') ?? '32');
    const maxPermits = Number(this.#options.get('permits') ?? '8');
    const config = {
      ...defaultLeafConfig('berlin' as LeafId, 'a1' as AgentId),
      steering,
      standbys,
      maxPermits,
    } as const;
    return createAgent(strategy, config, fixedRandom(Number(this.#options.get('draw') ?? '0')), at);
  }

  nextTimeout(): number | undefined {
    return this.#core?.nextTimeout();
  }

  state(): string {
    const entries = this.#core?.status().entries ?? [];
    return entries.map(({ proxy, state, via }) => `${proxy}=${state}${via === undefined ? '' : `(${via})`}`).join(' ');
  }

  effects(): string {
    const shown: string[] = [];
    for (let effect = this.#core?.pollEffect(); effect !== undefined; effect = this.#core?.pollEffect()) {
      shown.push(showLeafEffect(effect));
    }
    return shown.join(', ');
  }
}

function parseLeafEvent(text: string): LeafEvent {
  const [verb = '', first = '', ...rest] = words(text);
  const [second = '', third = '', fourth = ''] = rest;
  const tunnel = first as TunnelId;
  switch (verb) {
    case '-':
      return { type: 'timeout' };
    case 'up': {
      const { id, incarnation } = parseRecord(third);
      const via = fourth === '' ? undefined : (fourth.replace('via=', '') as ProxyId);
      return {
        type: 'tunnelEstablished',
        dial: Number(first) as DialId,
        tunnel: second as TunnelId,
        proxy: id,
        incarnation,
        via,
      };
    }
    case 'fail':
      return {
        type: 'dialFailed',
        dial: Number(first) as DialId,
        reason: second as DialFailure,
        retryAfterMs: Number(third),
      };
    case 'gossip':
      return { type: 'gossipReceived', tunnel, message: parseSnapshot(second, rest.slice(1)) };
    case 'delta':
      return { type: 'gossipReceived', tunnel, message: parseDelta(second, third, rest.slice(2)) };
    case 'granted':
      return { type: 'claimGranted', tunnel, slot: Number(second) };
    case 'recorded':
      return {
        type: 'claimRecorded',
        tunnel,
        token: BigInt(second) as FencingToken,
        incarnation: BigInt(third) as Incarnation,
      };
    case 'held':
      return { type: 'claimHeld', tunnel, holder: second as AgentId };
    case 'drain':
      return { type: 'drainAnnounced', tunnel, spreadMs: Number(second), deadlineMs: Number(third) };
    case 'closed':
      return { type: 'tunnelClosed', tunnel, graceful: second !== '', reason: second };
    case 'leave':
      return { type: 'leaveRequested', deadlineMs: Number(first) };
    default:
      throw new Error(`unknown event in scenario: ${text}`);
  }
}

function showLeafEffect(effect: LeafEffect): string {
  switch (effect.type) {
    case 'dial': {
      const replaces = effect.replaces === undefined ? '' : ` replacing ${effect.replaces}`;
      return `dial ${effect.dial}${effect.target === undefined ? '' : `>${effect.target}`}${replaces}`;
    }
    case 'cancelDial':
      return `cancel ${effect.dial}`;
    case 'requestStandby':
      return `standby ${effect.tunnel}`;
    case 'requestSnapshot':
      return `ask ${effect.tunnel}`;
    case 'showEvidence':
      return `show ${effect.tunnel} ${effect.evidence.stamp.epoch}.${effect.evidence.stamp.revision}`;
    case 'closeTunnel':
      return `close ${effect.tunnel} ${effect.reason}${effect.deadline === undefined ? '' : ` by ${effect.deadline}`}`;
  }
}

class RootMachine implements Machine {
  readonly shows = 'tunnels';
  readonly #core: RootDiscovery;

  constructor(options: ReadonlyMap<string, string>) {
    const config = {
      ...defaultRootConfig((options.get('proxy') ?? 'a') as ProxyId),
      claimsPerProxy: Number(options.get('claims') ?? '1'),
      maxStandbysPerLeaf: Number(options.get('standbys') ?? '16'),
    };
    this.#core = new RootDiscovery(config, fixedRandom(Number(options.get('draw') ?? '0')), 0);
  }

  apply(event: string, at: number): void {
    this.#core.handle(parseRootEvent(event), at);
    this.#core.checkInvariants();
  }

  nextTimeout(): number | undefined {
    return this.#core.nextTimeout();
  }

  state(): string {
    const tunnels = this.#core
      .status()
      .tunnels.map(({ tunnel, state, token }) => `${tunnel}=${state}${token === 0n ? '' : `#${token}`}`);
    return tunnels.join(' ');
  }

  effects(): string {
    const shown: string[] = [];
    for (let effect = this.#core.pollEffect(); effect !== undefined; effect = this.#core.pollEffect()) {
      shown.push(showRootEffect(effect));
    }
    return shown.join(', ');
  }
}

function parseRootEvent(text: string): RootEvent {
  const [verb = '', first = '', second = '', ...rest] = words(text);
  const tunnel = first as TunnelId;
  const request = Number(first);
  switch (verb) {
    case '-':
      return { type: 'timeout' };
    case 'attach': {
      const [leaf = '', agent = ''] = second.split('/');
      const [nonce = '', replaces, via] = rest;
      return {
        type: 'attachRequested',
        tunnel,
        leaf: leaf as LeafId,
        agent: agent as AgentId,
        nonce: nonce as InstanceNonce,
        replaces: replaces as TunnelId | undefined,
        via: via as ProxyId | undefined,
      };
    }
    case 'standby':
      return { type: 'standbyRequested', tunnel };
    case 'ask':
      return { type: 'snapshotRequested', tunnel };
    case 'alive':
      return { type: 'challengeAnswered', tunnel };
    case 'unserved':
      return { type: 'claimUnserved', tunnel, detail: 'three probes in a row were not answered' };
    case 'agent-drain':
      return { type: 'agentDraining', tunnel };
    case 'closed':
      return { type: 'tunnelClosed', tunnel };
    case 'registry':
      return { type: 'registryConnected', incarnation: BigInt(first) as Incarnation };
    case 'registry-lost':
      return { type: 'registryLost' };
    case 'recorded':
      return { type: 'claimRecorded', request, token: BigInt(second) as FencingToken };
    case 'refused':
      return { type: 'claimRefused', request, cause: second === 'stale' ? 'stale-incarnation' : 'held' };
    case 'unknown':
      return { type: 'claimUnknown', request };
    case 'released':
      return { type: 'claimReleased', request };
    case 'release-unknown':
      return { type: 'releaseUnknown', request };
    case 'members':
      return { type: 'membershipChanged', snapshot: parseSnapshot(first, [second, ...rest]) };
    case 'drain':
      return { type: 'drainRequested', spreadMs: Number(first), deadlineMs: Number(second) };
    default:
      throw new Error(`unknown event in scenario: ${text}`);
  }
}

function showRootEffect(effect: RootEffect): string {
  switch (effect.type) {
    case 'grantClaim':
      return `grant ${effect.tunnel} slot ${effect.slot}`;
    case 'confirmClaim':
      return `confirm ${effect.tunnel} #${effect.token} of ${effect.incarnation}`;
    case 'reportHeld':
      return `held ${effect.tunnel} by ${effect.holder}`;
    case 'sendGossip':
      return `gossip ${effect.tunnel} ${showMessage(effect.message)}`;
    case 'challengeTunnel':
      return `challenge ${effect.tunnel}`;
    case 'closeTunnel':
      return `close ${effect.tunnel} ${effect.reason}`;
    case 'announceDrain':
      return `announce ${effect.tunnel}`;
    case 'recordClaim':
      return `record ${effect.request} ${effect.leaf}/${effect.slot} ${effect.agent} ${effect.nonce.replace(/^0+/, '')}`;
    case 'releaseClaim':
      return `release ${effect.request} ${effect.leaf}/${effect.slot} #${effect.token}`;
    case 'deregister':
    case 'drained':
      return effect.type;
  }
}
