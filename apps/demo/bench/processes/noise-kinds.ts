/** What a leaf cluster's users can take too much of. */
export const NOISE_KINDS = ['bytes', 'streams', 'dials', 'handshakes'] as const;
export type NoiseKind = (typeof NOISE_KINDS)[number];
