export { decide, decideSomePort } from './decide.ts';
export { denialText } from './denial.ts';
export { matchesPattern } from './pattern.ts';
export { isAdmin, principalsOf } from './principals.ts';
export type { Principals } from './principals.ts';
export { sliceFor, withMembers } from './slice.ts';
export type * from './types.ts';
