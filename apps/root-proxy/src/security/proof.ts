import type { UserProof } from '@xylem/identity';
import type { carry } from '@xylem/wire';

/** undefined: the sender says nothing of who dials. */
export function proofFromWire({ kind }: carry.UserProof): UserProof | undefined {
  switch (kind?.$case) {
    case 'anonymous':
      return { kind: 'anonymous' };
    case 'certificate':
      return { kind: 'certificate', chain: kind.value.certificates };
    case 'accessToken':
      return { kind: 'token', token: kind.value };
    default:
      return undefined;
  }
}

export const ANONYMOUS_PROOF: carry.UserProof = { kind: { $case: 'anonymous', value: {} } };

/** A proof for others that this root proxy has verified for itself. */
export function tokenProof(token: string): carry.UserProof {
  return { kind: { $case: 'accessToken', value: token } };
}

/** @param certificates DER as verified in the handshake, the end entity first. */
export function certificateProof(certificates: readonly Uint8Array[]): carry.UserProof {
  const chain = certificates.map((der) => Buffer.from(der));
  return { kind: { $case: 'certificate', value: { certificates: chain } } };
}
