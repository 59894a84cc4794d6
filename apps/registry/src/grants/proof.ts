import type { UserProof } from '@xylem/identity';
import type { carry } from '@xylem/wire';

/** The proof that a root proxy passes on; undefined when it passes on none. */
export function proofFromWire(proof: carry.UserProof | undefined): UserProof | undefined {
  const kind = proof?.kind;
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
