import type { StatementVerifier } from './verifier.ts';

/** What somebody shows to prove how far the store had come. */
export interface ShownEvidence {
  readonly stamp?: { readonly epoch: bigint; readonly revision: bigint } | undefined;
  readonly statement: string;
}

/** Whether a registry that is trusted signed a member list of exactly that stamp. Never rejects. */
export async function isSignedEvidence(
  verifier: Pick<StatementVerifier, 'membership'>,
  { stamp, statement }: ShownEvidence,
): Promise<boolean> {
  if (stamp === undefined) return false;
  const verdict = await verifier.membership(statement);
  if (verdict.kind === 'refused') return false;
  return verdict.content.epoch === stamp.epoch && verdict.content.revision === stamp.revision;
}
