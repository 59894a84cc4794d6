export { RenewalSchedule } from './renewal/schedule.ts';
export { DEFAULT_RENEWAL_CONFIG } from './renewal/types.ts';
export type { RenewalConfig, RenewalEffect, RenewalEvent, RenewalState, RenewalStatus } from './renewal/types.ts';
export type { Instant, Random } from './time.ts';
export type * from './types.ts';
