import type { Decision, DialQuestion } from './types.ts';

/**
 * What somebody whose dial was denied may be told: the rule that denies, if one does, and whom to ask. Nothing about what the policy
 * allows to others, nor whether there is such a node: `Decision.reason` is for administrators.
 */
export function denialText(
  { rule }: Decision,
  question: Pick<DialQuestion, 'user' | 'leaf' | 'node' | 'port'>,
): string {
  const { user, leaf, node, port } = question;
  const who = user ?? 'anonymous';
  // Port 0: the only one of the node, which was not known yet.
  const target = port === 0 ? `${node}.${leaf}` : `${node}.${leaf}:${port}`;
  if (rule !== undefined)
    return `rule ${rule} of the policy denies ${target} to ${who}; an administrator can change it`;
  if (user === undefined) {
    return `the policy allows ${target} to nobody without a name; log in: xylem login`;
  }
  return `no rule of the policy allows ${target} to ${who}; ask an administrator, whom "xylem policy check ${who} ${target}" tells more`;
}
