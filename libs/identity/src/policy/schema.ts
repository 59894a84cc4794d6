import type { Policy, Rule } from '@xylem/policy';
import * as z from 'zod';
import {
  parseAdmin,
  parseGroupName,
  parsePattern,
  parseRuleName,
  parseSubject,
  parseTarget,
  parseUserName,
  quoted,
} from './grammar.ts';
import type { Parsed } from './grammar.ts';

/** Bounds of a policy document; docs/LIMITS.md. */
export const POLICY_LIMITS = {
  bytes: 1_048_576,
  rules: 10_000,
  /** Names in one list of a rule. */
  names: 256,
  /** Members of one group, groups, administrators. */
  members: 10_000,
} as const;

/** Every scalar arrives as text (YAML's failsafe schema), so that `no`, `1e3` or `0755` are names and nothing else. */
function parsed<Value>(parse: (text: string) => Parsed<Value>) {
  return z.string().transform((text, context): Value => {
    const outcome = parse(text);
    if (outcome.ok) return outcome.value;
    context.addIssue({ code: 'custom', message: outcome.why });
    return z.NEVER;
  });
}

function names<Value>(parse: (text: string) => Parsed<Value>) {
  return z.array(parsed(parse)).min(1).max(POLICY_LIMITS.names);
}

const rule = z
  .strictObject({
    name: parsed(parseRuleName),
    allow: names(parseSubject).optional(),
    deny: names(parseSubject).optional(),
    leaves: names(parsePattern),
    nodes: names(parseTarget),
  })
  .transform(({ name, allow, deny, leaves, nodes }, context): Rule => {
    if ((allow === undefined) === (deny === undefined)) {
      const which = allow === undefined ? 'neither allow nor' : 'both allow and';
      const message = `has ${which} deny; write one of the two`;
      context.addIssue({ code: 'custom', message });
      return z.NEVER;
    }
    return {
      name,
      effect: deny === undefined ? 'allow' : 'deny',
      subjects: allow ?? deny ?? [],
      leaves,
      targets: nodes,
    };
  });

const flag = z.enum(['true', 'false']).transform((text) => text === 'true');

/** From the plain values of the document to a policy. Keys of `groups` arrive as pairs. */
export const policySchema = z
  .strictObject({
    groups: z
      .array(z.tuple([parsed(parseGroupName), z.array(parsed(parseUserName)).max(POLICY_LIMITS.members)]))
      .max(POLICY_LIMITS.members)
      .optional(),
    admins: z.array(parsed(parseAdmin)).max(POLICY_LIMITS.members).optional(),
    rules: z.array(rule).max(POLICY_LIMITS.rules).optional(),
    cutOpenConnections: flag.optional(),
  })
  .transform(({ groups, admins, rules, cutOpenConnections }): Policy => ({
    groups: new Map((groups ?? []).map(([group, members]) => [group, [...new Set(members)]])),
    admins: admins ?? [],
    rules: rules ?? [],
    cutOpenConnections: cutOpenConnections ?? true,
  }));

/** From canonical JSON, where a truth value is one, to what `policySchema` takes. */
export const canonicalSchema = z
  .looseObject({ groups: z.record(z.string(), z.unknown()), cutOpenConnections: z.boolean() })
  .transform((plain) => ({
    ...plain,
    groups: Object.entries(plain.groups),
    cutOpenConnections: String(plain.cutOpenConnections),
  }));

const KEYS = ['groups', 'admins', 'rules', 'cutOpenConnections'];
const RULE_KEYS = ['name', 'allow', 'deny', 'leaves', 'nodes'];

/** What is said about one issue, without the place. */
export function issueText(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'unrecognized_keys': {
      const known = issue.path.length === 0 ? KEYS : RULE_KEYS;
      const unknown = issue.keys.slice(0, 3).map(quoted).join(', ');
      const more = issue.keys.length > 3 ? ` and ${issue.keys.length - 3} more` : '';
      return `${unknown}${more} is not known here; keys are ${known.join(', ')}`;
    }
    case 'invalid_type':
      return issue.expected === 'array' || issue.expected === 'tuple'
        ? 'must be a list: [a, b], or one line with "- " for each'
        : `must be ${issue.expected === 'object' ? 'a mapping of keys' : 'a single text'}, or is missing`;
    case 'too_big':
      return `has more than ${issue.maximum} entries`;
    case 'too_small':
      return 'is empty; list at least one';
    case 'invalid_value':
      return `must be ${issue.values.join(' or ')}`;
    default:
      return issue.message;
  }
}
