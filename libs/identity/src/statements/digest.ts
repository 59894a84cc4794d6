import { createHash } from 'node:crypto';

/**
 * What a membership statement signs of a member list.
 *
 * @param canonical `canonicalText` of the list (@xylem/discovery; docs/PROTOCOL.md gives it byte by byte).
 * @returns SHA-256 in lower-case hex.
 */
export function membershipDigest(canonical: string): string {
  return createHash('sha256').update(canonical, 'utf8').digest('hex');
}
