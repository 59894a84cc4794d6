export { chainLine, FIRST_HEAD } from './line.ts';
export type { AuditWriter, ChainedLine, ChainHead } from './line.ts';
export { openAuditLog } from './log.ts';
export type { AuditLogOptions } from './log.ts';
export { openAudit } from './open.ts';
export type { AuditSettings } from './open.ts';
export * from './types.ts';
export { verifyAudit } from './verify.ts';
export type { AuditFault, AuditReport } from './verify.ts';
