/**
 * Merging of gossip (DESIGN: Discovery). A view is a snapshot chain plus the proxies heard of at first hand.
 *
 *   chain   the greatest snapshot by (epoch, revision, canonical text). A maximum in a total order is commutative,
 *           associative and idempotent for any input, hostile input included.
 *   heard   per proxy the greatest (epoch, incarnation, instant) of a handshake: again a maximum.
 *
 * Everything here is a pure function of its arguments. Messages are checked by `checkMessage` before they are merged.
 */
import type { Delta, GossipMessage, ProxyRecord, Snapshot, Stamp } from './gossip.ts';
import { isProxyName, type Incarnation, type ProxyId } from './ids.ts';
import type { Instant } from './time.ts';

/** Greatest number of root proxies in one message; beyond it the message is refused whole. */
export const MAX_PROXIES = 4096;
const MAX_UINT64 = 2n ** 64n - 1n;
const MAX_UINT32 = 2 ** 32 - 1;

/** What a handshake told us of a root proxy, and when. */
export interface Heard {
  /** Epoch of the chain when we heard it: revisions of different epochs cannot be compared. */
  readonly epoch: bigint;
  readonly incarnation: Incarnation;
  readonly at: Instant;
}

export interface GossipView {
  /** Greatest snapshot so far, its proxies sorted by id, each id once. */
  readonly head: Snapshot | undefined;
  readonly heard: ReadonlyMap<ProxyId, Heard>;
}

export const EMPTY_VIEW: GossipView = { head: undefined, heard: new Map() };

/** What became of a message. `advanced` and `confirmed` vouch for every proxy of the head. */
export type MergeOutcome =
  /** The head moved forward. */
  | 'advanced'
  /** The message says what the head says already. */
  | 'confirmed'
  /** Older than the head: changes nothing. */
  | 'older'
  /** A delta that does not start at the head: a snapshot is needed. */
  | 'gap';

export function compareStamps(a: Stamp, b: Stamp): number {
  if (a.epoch !== b.epoch) return a.epoch < b.epoch ? -1 : 1;
  if (a.revision !== b.revision) return a.revision < b.revision ? -1 : 1;
  return 0;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function recordText(record: ProxyRecord): string {
  return `${record.id}@${record.incarnation.toString(16).padStart(16, '0')}:${record.state}:${record.generation}`;
}

/** The exact text of a snapshot's content, equal for equal content: the digest that breaks ties between equal stamps. */
export function canonicalText(snapshot: Snapshot): string {
  return snapshot.proxies.map(recordText).join(' ');
}

/** Sorted by id, each id once: of several records for one id the one with the greatest canonical text stays. */
export function normalise(records: readonly ProxyRecord[]): readonly ProxyRecord[] {
  const byId = new Map<ProxyId, ProxyRecord>();
  for (const record of records) {
    const other = byId.get(record.id);
    if (other === undefined || recordText(record) > recordText(other)) byId.set(record.id, record);
  }
  return [...byId.values()].sort((a, b) => compareText(a.id, b.id));
}

function checkStamp(stamp: Stamp): string | undefined {
  if (stamp.epoch < 0n || stamp.epoch > MAX_UINT64) return 'epoch is not an unsigned 64-bit number';
  if (stamp.revision < 0n || stamp.revision > MAX_UINT64) return 'revision is not an unsigned 64-bit number';
  return undefined;
}

function checkRecord(record: ProxyRecord): string | undefined {
  if (!isProxyName(record.id)) return 'a root proxy id is not a valid name';
  if (record.incarnation < 0n || record.incarnation > MAX_UINT64) return `incarnation of ${record.id} is out of range`;
  if (record.state !== 'ready' && record.state !== 'draining') return `state of ${record.id} is unknown`;
  const { generation } = record;
  if (!Number.isInteger(generation) || generation < 0 || generation > MAX_UINT32) {
    return `generation of ${record.id} is out of range`;
  }
  return undefined;
}

/**
 * Why `message` must not be merged, for a person; undefined when it may. Bounds and forms only: whether a stamp is
 * *true* cannot be decided here, which is what an `admit` function (see StampedKnowledge) is for.
 */
export function checkMessage(message: GossipMessage): string | undefined {
  const records = message.kind === 'snapshot' ? message.proxies : message.changed;
  const removed = message.kind === 'snapshot' ? [] : message.removed;
  if (records.length + removed.length > MAX_PROXIES) return `more than ${MAX_PROXIES} root proxies in one message`;
  const stamps = message.kind === 'snapshot' ? [message.stamp] : [message.from, message.to];
  for (const stamp of stamps) {
    const why = checkStamp(stamp);
    if (why !== undefined) return why;
  }
  if (message.kind === 'delta' && compareStamps(message.from, message.to) >= 0)
    return 'a delta that does not lead forward';
  for (const record of records) {
    const why = checkRecord(record);
    if (why !== undefined) return why;
  }
  return removed.every(isProxyName) ? undefined : 'a removed root proxy id is not a valid name';
}

function compareSnapshots(a: Snapshot, b: Snapshot): number {
  return compareStamps(a.stamp, b.stamp) || compareText(canonicalText(a), canonicalText(b));
}

function greaterHead(a: Snapshot | undefined, b: Snapshot | undefined): Snapshot | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return compareSnapshots(a, b) >= 0 ? a : b;
}

function compareHeard(a: Heard, b: Heard): number {
  if (a.epoch !== b.epoch) return a.epoch < b.epoch ? -1 : 1;
  if (a.incarnation !== b.incarnation) return a.incarnation < b.incarnation ? -1 : 1;
  return a.at - b.at;
}

/** Join of two views: commutative, associative, idempotent, and never less than either. */
export function mergeViews(a: GossipView, b: GossipView): GossipView {
  const heard = new Map(a.heard);
  for (const [proxy, theirs] of b.heard) {
    const ours = heard.get(proxy);
    if (ours === undefined || compareHeard(ours, theirs) < 0) heard.set(proxy, theirs);
  }
  return { head: greaterHead(a.head, b.head), heard };
}

/** Merges a checked message into the chain. Returns the same view object when nothing changed. */
export function applyMessage(view: GossipView, message: GossipMessage): { view: GossipView; outcome: MergeOutcome } {
  if (message.kind === 'delta') return applyDelta(view, message);
  const snapshot: Snapshot = { ...message, proxies: normalise(message.proxies) };
  if (view.head === undefined) return { view: { ...view, head: snapshot }, outcome: 'advanced' };
  const order = compareSnapshots(snapshot, view.head);
  if (order > 0) return { view: { ...view, head: snapshot }, outcome: 'advanced' };
  if (order < 0) return { view, outcome: 'older' };
  return { view: signedAnew(view, snapshot), outcome: 'confirmed' };
}

/** The head with a newer statement about it, which verifies for longer. */
function signedAnew(view: GossipView, { statement }: Snapshot): GossipView {
  if (view.head === undefined || statement === undefined || statement === view.head.statement) return view;
  return { ...view, head: { ...view.head, statement } };
}

function applyDelta(view: GossipView, delta: Delta): { view: GossipView; outcome: MergeOutcome } {
  const { head } = view;
  if (head === undefined) return { view, outcome: 'gap' };
  const order = compareStamps(delta.to, head.stamp);
  if (order <= 0) return { view, outcome: order === 0 ? 'confirmed' : 'older' };
  if (compareStamps(delta.from, head.stamp) !== 0) return { view, outcome: 'gap' };
  const removed = new Set(delta.removed);
  const changed = normalise(delta.changed);
  const replaced = new Set(changed.map((record) => record.id));
  const kept = head.proxies.filter((record) => !removed.has(record.id) && !replaced.has(record.id));
  const proxies = normalise([...kept, ...changed.filter((record) => !removed.has(record.id))]);
  if (proxies.length > MAX_PROXIES) return { view, outcome: 'gap' };
  const signed = delta.statement === undefined ? {} : { statement: delta.statement };
  return { view: { ...view, head: { kind: 'snapshot', stamp: delta.to, proxies, ...signed } }, outcome: 'advanced' };
}

/** The delta that leads from one snapshot to a later one. */
export function deltaBetween(from: Snapshot, to: Snapshot): Delta {
  const before = new Map(from.proxies.map((record) => [record.id, recordText(record)]));
  const target = normalise(to.proxies);
  const after = new Set(target.map((record) => record.id));
  return {
    kind: 'delta',
    from: from.stamp,
    to: to.stamp,
    changed: target.filter((record) => before.get(record.id) !== recordText(record)),
    removed: [...before.keys()].filter((id) => !after.has(id)).sort(),
    ...(to.statement === undefined ? {} : { statement: to.statement }),
  };
}

/** Notes a handshake with `proxy` at `now`. */
export function hear(view: GossipView, proxy: ProxyId, incarnation: Incarnation, now: Instant): GossipView {
  const entry: Heard = { epoch: view.head?.stamp.epoch ?? 0n, incarnation, at: now };
  return mergeViews(view, { head: undefined, heard: new Map([[proxy, entry]]) });
}

/**
 * Whether the head speaks about this handshake too. A registration at revision p is in every exact membership of
 * revision >= p, so a head of at least p that omits the proxy is evidence that this incarnation is over. A proxy that
 * was never registered (incarnation 0) is outside what snapshots can say.
 */
export function headCovers(head: Snapshot | undefined, heard: Heard): boolean {
  if (head === undefined) return false;
  if (heard.epoch !== head.stamp.epoch) return heard.epoch < head.stamp.epoch;
  return heard.incarnation !== 0n && heard.incarnation <= fenceOf(head.stamp);
}

/**
 * The greatest incarnation or token that a snapshot of this stamp can speak of. Fences carry the epoch in front of 44
 * bits of revision (membership: fence.ts), so that they rise across a restore.
 */
export function fenceOf(stamp: Stamp): bigint {
  return (stamp.epoch > 1n ? (stamp.epoch - 1n) << 44n : 0n) + stamp.revision;
}

/** Drops what was heard before `since` or is covered by the head, and the oldest beyond MAX_PROXIES. */
export function compactHeard(view: GossipView, since: Instant): GossipView {
  let kept = [...view.heard].filter(([, heard]) => heard.at >= since && !headCovers(view.head, heard));
  if (kept.length === view.heard.size && kept.length <= MAX_PROXIES) return view;
  if (kept.length > MAX_PROXIES) {
    kept = kept.sort(([a, x], [b, y]) => y.at - x.at || compareText(a, b)).slice(0, MAX_PROXIES);
  }
  return { head: view.head, heard: new Map(kept) };
}

/** Equal for equal views; for tests and checkers. */
export function viewText(view: GossipView): string {
  const { head } = view;
  const chain = head === undefined ? '-' : `${head.stamp.epoch}.${head.stamp.revision} ${canonicalText(head)}`;
  const heard = [...view.heard].sort(([a], [b]) => compareText(a, b));
  return `${chain} | ${heard.map(([id, { epoch, incarnation, at }]) => `${id}@${epoch}.${incarnation}/${at}`).join(' ')}`;
}
