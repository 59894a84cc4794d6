export { ByteQuotas } from './byte-quotas.ts';
export type { ByteFlow, ByteQuotaStatus } from './byte-quotas.ts';
export { CountQuota } from './count-quota.ts';
export { FairTurns } from './fair-turns.ts';
export { RateQuota } from './rate-quota.ts';
export type * from './types.ts';
