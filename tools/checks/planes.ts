/**
 * Which plane may import which, as the table "Planes" in docs/ARCHITECTURE.md says. The keys are the `kind:` tags of the
 * package.json files.
 */
export interface Plane {
  /** Kinds that its projects may import. */
  readonly mayImport: readonly string[];
  /** Kinds that its test code may import besides. */
  readonly testsMayImport: readonly string[];
  /** May its shipped code import npm packages and node:*? */
  readonly external: boolean;
}

export const PLANES: ReadonlyMap<string, Plane> = new Map([
  ['core', { mayImport: [], testsMayImport: [], external: false }],
  ['contract', { mayImport: [], testsMayImport: [], external: true }],
  ['adapter', { mayImport: ['core', 'contract'], testsMayImport: ['testkit'], external: true }],
  ['sim', { mayImport: ['core'], testsMayImport: [], external: false }],
  ['testkit', { mayImport: ['core', 'contract', 'adapter'], testsMayImport: [], external: true }],
  ['app', { mayImport: ['core', 'contract', 'adapter', 'sim', 'testkit'], testsMayImport: ['app'], external: true }],
  ['tool', { mayImport: [], testsMayImport: [], external: true }],
]);
