import type { Snapshot, Stamp, Statement } from '../shared/gossip.ts';
import { canonicalText, compareStamps, MAX_PROXIES, normalise } from '../shared/gossip-view.ts';
import type { LeafId, ProxyId } from '../shared/ids.ts';
import type { ClaimKey, Member, MemberClaim, View, ViewDelta } from './registry-types.ts';

/** Claims in one view: 4,096 proxies would have them for 128 leaf clusters each. About 200 bytes each. */
const MAX_CLAIMS = 524_288;

function claimName(key: ClaimKey): string {
  return `${key.proxy}/${key.slot}`;
}

/** Membership and claims as one session told them, kept exact by deltas. */
export class RegistryView {
  readonly #members = new Map<ProxyId, Member>();
  /** By leaf cluster, then by proxy and slot: a dial looks one leaf cluster up. */
  readonly #claims = new Map<LeafId, Map<string, MemberClaim>>();
  #claimCount = 0;
  #stamp: Stamp;
  /** The newest statement about the members, and the stamp it is of: gossip is stamped as it was signed. */
  #signed: { readonly stamp: Stamp; readonly statement: Statement } | undefined;

  /** Throws RangeError when the view is beyond its bounds. */
  constructor(view: View) {
    this.#stamp = view.stamp;
    this.#sign(view.stamp, view.statement);
    for (const member of view.members) this.#members.set(member.record.id, member);
    for (const claim of view.claims) this.#addClaim(claim);
    this.#checkBounds();
  }

  get stamp(): Stamp {
    return this.#stamp;
  }

  /** False when the delta does not start here: the view is then unchanged, and a new one is needed. */
  apply(delta: ViewDelta): boolean {
    if (compareStamps(delta.from, this.#stamp) !== 0 || compareStamps(delta.to, delta.from) < 0) return false;
    for (const proxy of delta.removedMembers) this.#members.delete(proxy);
    for (const member of delta.members) this.#members.set(member.record.id, member);
    for (const key of delta.removedClaims) this.#removeClaim(key);
    for (const claim of delta.claims) this.#addClaim(claim);
    this.#stamp = delta.to;
    if (delta.members.length + delta.removedMembers.length > 0) this.#signed = undefined;
    this.#sign(delta.to, delta.statement);
    this.#checkBounds();
    return true;
  }

  member(proxy: ProxyId): Member | undefined {
    return this.#members.get(proxy);
  }

  /** Sorted by id. */
  members(): readonly Member[] {
    return [...this.#members.values()].sort((a, b) => (a.record.id < b.record.id ? -1 : 1));
  }

  /** Claims of one leaf cluster by members of this view, sorted by proxy and slot. */
  claimsOf(leaf: LeafId): readonly MemberClaim[] {
    const claims = [...(this.#claims.get(leaf)?.values() ?? [])].filter((claim) => this.#members.has(claim.proxy));
    return claims.sort((a, b) => (a.proxy === b.proxy ? a.slot - b.slot : a.proxy < b.proxy ? -1 : 1));
  }

  /** Every claim, in no order. */
  allClaims(): readonly MemberClaim[] {
    return [...this.#claims.values()].flatMap((claims) => [...claims.values()]);
  }

  /** Leaf clusters with at least one claim, sorted. */
  leaves(): readonly LeafId[] {
    return [...this.#claims.keys()].sort();
  }

  /** The membership alone, as gossip. */
  snapshot(): Snapshot {
    const proxies = normalise([...this.#members.values()].map((member) => member.record));
    return { kind: 'snapshot', stamp: this.#stamp, proxies, ...this.#signed };
  }

  /** Equal for equal membership and equal statements about it, whatever the claims. */
  membershipText(): string {
    return `${canonicalText(this.snapshot())}\n${this.#signed?.statement ?? ''}`;
  }

  #sign(stamp: Stamp, statement: Statement | undefined): void {
    if (statement !== undefined) this.#signed = { stamp, statement };
  }

  #addClaim(claim: MemberClaim): void {
    let claims = this.#claims.get(claim.leaf);
    if (claims === undefined) {
      claims = new Map();
      this.#claims.set(claim.leaf, claims);
    }
    if (!claims.has(claimName(claim))) this.#claimCount += 1;
    claims.set(claimName(claim), claim);
  }

  #removeClaim(key: ClaimKey): void {
    const claims = this.#claims.get(key.leaf);
    if (claims?.delete(claimName(key)) === true) this.#claimCount -= 1;
    if (claims?.size === 0) this.#claims.delete(key.leaf);
  }

  #checkBounds(): void {
    if (this.#members.size > MAX_PROXIES) throw new RangeError(`a view of more than ${MAX_PROXIES} root proxies`);
    if (this.#claimCount > MAX_CLAIMS) throw new RangeError(`a view of more than ${MAX_CLAIMS} claims`);
  }
}
