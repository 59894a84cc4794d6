import type { UserProof } from '@xylem/identity';
import type { carry } from '@xylem/wire';

const MAX_SIGNED_CHARACTERS = 2_048;

/** undefined: the sender says nothing of who dials. */
export function proofFromWire({ kind }: carry.UserProof): UserProof | undefined {
  switch (kind?.$case) {
    case 'anonymous':
      return { kind: 'anonymous' };
    case 'certificate':
      return { kind: 'certificate', chain: kind.value.certificates, signed: kind.value.signed };
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

/**
 * @param certificates DER as verified in the handshake, the end entity first.
 * @param signed What the user's client signed for the dial; empty where it cannot.
 */
export function certificateProof(certificates: readonly Uint8Array[], signed: string): carry.UserProof {
  const chain = certificates.map((der) => Buffer.from(der));
  return { kind: { $case: 'certificate', value: { certificates: chain, signed } } };
}

/** What a user's client signed, of all that it says of itself. Longer than any signed dial is none. */
export function signedBy(proof: carry.UserProof | undefined): string {
  const signed = proof?.kind?.$case === 'certificate' ? proof.kind.value.signed : '';
  return signed.length <= MAX_SIGNED_CHARACTERS ? signed : '';
}

/** What the user showed, for the audit log. */
export function proofName({ kind }: carry.UserProof): 'anonymous' | 'certificate' | 'signed' | 'token' | 'none' {
  switch (kind?.$case) {
    case 'anonymous':
      return 'anonymous';
    case 'certificate':
      return kind.value.signed === '' ? 'certificate' : 'signed';
    case 'accessToken':
      return 'token';
    default:
      return 'none';
  }
}
