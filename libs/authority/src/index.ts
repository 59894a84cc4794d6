export { decideJoin, identityToJoin, joinPlan, refused } from './join.ts';
export type { Grant, IssuedFacts, JoinAsk, Refusal, RefusalCode } from './join.ts';
export {
  AUTHORITY_PREFIX,
  AUTHORITY_PREFIX_END,
  IDENTITIES_PREFIX,
  INTERMEDIATES_PREFIX,
  POLICY_KEY,
  REVOCATIONS_PREFIX,
  TOKENS_PREFIX,
  TRUST_KEY,
  USERS_PREFIX,
  endOfPrefix,
  identityKey,
  intermediateKey,
  revocationKey,
  tokenKey,
  userKey,
} from './keys.ts';
export { Ledger } from './ledger.ts';
export type { LedgerEntry } from './ledger.ts';
export { loginPlan } from './login.ts';
export { unchanged } from './plan.ts';
export type { Plan, PlanStep, Read } from './plan.ts';
export { decodeIdentity, decodeRevocation, decodeToken, decodeTrust, encodeRecord } from './records.ts';
export { clonePlan, decideRenewal, renewalPlan, revokePlan, unlockPlan } from './renew.ts';
export type { Clone, RenewAsk } from './renew.ts';
export { RenewalSchedule } from './renewal/schedule.ts';
export { DEFAULT_RENEWAL_CONFIG } from './renewal/types.ts';
export type { RenewalConfig, RenewalEffect, RenewalEvent, RenewalState, RenewalStatus } from './renewal/types.ts';
export { Revocations } from './revocations.ts';
export {
  activeRoot,
  behind,
  firstTrust,
  needsNewRoot,
  stepBack,
  stepForward,
  trustPem,
  trustedRoots,
} from './rotation.ts';
export type { Behind, NewRoot } from './rotation.ts';
export type { Instant, Random } from './time.ts';
export type * from './types.ts';
