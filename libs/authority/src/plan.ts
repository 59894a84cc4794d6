/** A record as it was read, linearizably. An absent one has revision 0n. */
export interface Read<Record> {
  readonly key: string;
  readonly record: Record | undefined;
  readonly modRevision: bigint;
  /** 0n: none. */
  readonly lease: bigint;
}

/** One transaction: the steps are done when every key still has the revision it was read at, all of them or none. */
export interface Plan {
  readonly compares: readonly { readonly key: string; readonly modRevision: bigint }[];
  readonly steps: readonly PlanStep[];
}

export type PlanStep =
  /** `lease`: that of the record as read, or 0n. */
  | { readonly type: 'put'; readonly key: string; readonly value: string; readonly lease: bigint }
  /** Under a lease of its own: gone after so long. */
  | { readonly type: 'putFor'; readonly key: string; readonly value: string; readonly ttlMs: number }
  | { readonly type: 'delete'; readonly key: string };

export function unchanged(read: Read<unknown>): { readonly key: string; readonly modRevision: bigint } {
  return { key: read.key, modRevision: read.modRevision };
}
