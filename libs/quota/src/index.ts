export { CountQuota } from './count-quota.ts';
export { RateQuota } from './rate-quota.ts';
export type * from './types.ts';
