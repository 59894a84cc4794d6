import { access, MAX_ANSWER_BYTES } from '@xylem/wire';

/** Left for what surrounds the tunnels in an answer. */
const MARGIN_BYTES = 64 * 1_024;
const BUDGET_BYTES = MAX_ANSWER_BYTES - MARGIN_BYTES;

/**
 * The statuses of root proxies so that together they fit into one answer. Each gets an equal share, and what one leaves is the
 * others'. What does not fit is left out in this order, and said in `detail`: the agents' own views of their pools, what their
 * nodes are, whole tunnels.
 */
export function fitStatuses(
  statuses: readonly access.ProxyStatus[],
  budgetBytes: number = BUDGET_BYTES,
): access.ProxyStatus[] {
  const sizes = statuses.map((status) => sizeOf(status));
  let left = budgetBytes;
  let waiting = statuses.length;
  const shares = new Map<number, number>();
  // Small ones first: each takes what it needs, up to an equal share of what is left.
  for (const index of [...sizes.keys()].toSorted((a, b) => (sizes[a] ?? 0) - (sizes[b] ?? 0))) {
    const share = Math.min(sizes[index] ?? 0, Math.floor(left / waiting));
    shares.set(index, share);
    left -= share;
    waiting -= 1;
  }
  return statuses.map((status, index) => fit(status, shares.get(index) ?? 0));
}

function sizeOf(status: access.ProxyStatus): number {
  return access.ProxyStatus.encode(status).finish().length;
}

function fit(status: access.ProxyStatus, shareBytes: number): access.ProxyStatus {
  const size = sizeOf(status);
  if (size <= shareBytes) return status;
  const withoutPools = { ...status, tunnels: status.tunnels.map((tunnel) => ({ ...tunnel, pool: undefined })) };
  if (sizeOf(withoutPools) <= shareBytes) return said(withoutPools, 'the pools of its agents are left out');
  const withoutNodes = { ...withoutPools, tunnels: withoutPools.tunnels.map((tunnel) => ({ ...tunnel, nodes: [] })) };
  if (sizeOf(withoutNodes) <= shareBytes) return said(withoutNodes, 'pools and nodes of its agents are left out');
  const { tunnels } = withoutNodes;
  const kept = Math.floor((tunnels.length * shareBytes) / sizeOf(withoutNodes));
  const cut = { ...withoutNodes, tunnels: tunnels.slice(0, kept) };
  return said(cut, `only ${kept} of ${tunnels.length} tunnels are listed`);
}

function said(status: access.ProxyStatus, what: string): access.ProxyStatus {
  const detail = `${what}: the answer would be too long`;
  return { ...status, detail: status.detail === '' ? detail : `${status.detail}; ${detail}` };
}

/** Whether a list of nodes fits into one answer. */
export function fitsAnswer(answer: access.ListNodesResponse): boolean {
  return access.ListNodesResponse.encode(answer).finish().length <= BUDGET_BYTES;
}
