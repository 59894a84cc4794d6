import { canonicalPolicy, readPolicy } from '@xylem/identity';

/** Everybody may dial everything: for tests of something else. */
export const OPEN_POLICY = `
rules:
  - name: open
    allow: [everyone, anonymous]
    leaves: ['*']
    nodes: ['*']
`;

/** A policy as registries tell it to root proxies. */
export function canonical(yaml: string): string {
  const outcome = readPolicy(yaml);
  if (!outcome.ok) throw new Error(outcome.problems.map(({ message }) => message).join('; '));
  return canonicalPolicy(outcome.policy);
}
