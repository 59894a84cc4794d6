import type { Policy } from '@xylem/policy';
import type * as z from 'zod';
import { PolicyDocument, pairsOf } from './document.ts';
import type { Plain, PolicyProblem } from './document.ts';
import { canonicalPolicy } from './canonical.ts';
import { POLICY_LIMITS, canonicalSchema, issueText, policySchema } from './schema.ts';
import { warningsOf } from './warnings.ts';
import type { KnownNames } from './warnings.ts';

export type PolicyOutcome =
  | {
      readonly ok: true;
      readonly policy: Policy;
      /** What is odd but allowed, one line each. */
      readonly warnings: readonly string[];
    }
  /** In the order of the text; at most `MAX_PROBLEMS`. */
  | { readonly ok: false; readonly problems: readonly PolicyProblem[] };

/** More than anybody reads; the rest is counted. */
const MAX_PROBLEMS = 50;
/** How long other things wait. */
const STEP_MS = 10;

/**
 * Reads a policy document. All problems are found at once. A text is taken only when it means the same to every reader: no
 * anchors, merge keys, tags or duplicate keys, and every scalar is text.
 *
 * @param known Users and groups of the registry's records, for warnings.
 */
export function readPolicy(text: string, known?: KnownNames): PolicyOutcome {
  const steps = reading(text, known);
  let step = steps.next();
  while (step.done !== true) step = steps.next();
  return step.value;
}

/** As `readPolicy`, in steps between which other things get their turn: the longest policy takes a second and more. Never rejects. */
export async function readPolicyInSteps(text: string, known?: KnownNames): Promise<PolicyOutcome> {
  const steps = reading(text, known);
  for (;;) {
    const pauseAt = performance.now() + STEP_MS;
    let step = steps.next();
    while (step.done !== true && performance.now() < pauseAt) step = steps.next();
    if (step.done === true) return step.value;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function* reading(text: string, known?: KnownNames): Generator<void, PolicyOutcome> {
  if (Buffer.byteLength(text) > POLICY_LIMITS.bytes) {
    const message = `the policy has more than ${POLICY_LIMITS.bytes} bytes; use groups and patterns to make it shorter`;
    return { ok: false, problems: [{ line: 1, column: 1, message }] };
  }
  const document = yield* PolicyDocument.reading(text);
  yield;
  const plain = document.plain();
  yield;
  const problems = [...document.problems];
  const parsed = policySchema.safeParse(withPairs(plain));
  for (const issue of parsed.error?.issues ?? []) problems.push(problemOf(issue, document));
  problems.push(...duplicateNames(plain, document));
  if (problems.length > 0 || !parsed.success) return { ok: false, problems: ordered(problems) };
  yield;
  return { ok: true, policy: parsed.data, warnings: warningsOf(parsed.data, known) };
}

/**
 * Reads what `canonicalPolicy` wrote, much faster than YAML. undefined for anything else: the text has to be canonical to
 * the letter, so that nothing in it can be read in two ways.
 */
export function readCanonicalPolicy(text: string): Policy | undefined {
  let plain: unknown;
  try {
    plain = JSON.parse(text);
  } catch {
    return undefined;
  }
  const outer = canonicalSchema.safeParse(plain);
  const parsed = policySchema.safeParse(outer.data);
  return parsed.success && canonicalPolicy(parsed.data) === text ? parsed.data : undefined;
}

/** One line for people: `line 4, column 9: ...`. */
export function problemText({ line, column, message }: PolicyProblem): string {
  return `line ${line}, column ${column}: ${message}`;
}

function withPairs(plain: Plain): unknown {
  if (typeof plain === 'string' || Array.isArray(plain) || !('groups' in plain)) return plain;
  return { ...plain, groups: pairsOf(plain['groups']) };
}

function problemOf(issue: z.core.$ZodIssue, document: PolicyDocument): PolicyProblem {
  const { path } = issue;
  const key = issue.code === 'unrecognized_keys' ? issue.keys[0] : undefined;
  const place = key === undefined ? document.placeOf(path) : document.placeOfKey(path, key);
  const last = path.at(-1);
  if (issue.code === 'invalid_type' && !document.has(path)) {
    return { ...place, message: `${pathText(path.slice(0, -1))}there is no ${JSON.stringify(last)}` };
  }
  return { ...place, message: `${pathText(path)}${issueText(issue)}` };
}

/** `rules[2].leaves: `; counts from 1, as people do. */
function pathText(path: readonly PropertyKey[]): string {
  if (path.length === 0) return '';
  if (path[0] === 'groups' && path.length > 1) return 'groups: ';
  const steps = path.map((step, index) =>
    typeof step === 'number' ? `[${step + 1}]` : `${index === 0 ? '' : '.'}${String(step)}`,
  );
  return `${steps.join('')}: `;
}

function duplicateNames(plain: Plain, document: PolicyDocument): readonly PolicyProblem[] {
  const rules = fieldOf(plain, 'rules');
  if (rules === undefined || typeof rules === 'string' || !isList(rules)) return [];
  const first = new Map<string, number>();
  const problems: PolicyProblem[] = [];
  for (const [index, rule] of rules.entries()) {
    const name = fieldOf(rule, 'name');
    if (typeof name !== 'string') continue;
    const earlier = first.get(name);
    if (earlier === undefined) first.set(name, index);
    else {
      const { line } = document.placeOf(['rules', earlier, 'name']);
      const message = `rules[${index + 1}].name: the rule on line ${line} has the same name; names are unique`;
      problems.push({ ...document.placeOf(['rules', index, 'name']), message });
    }
  }
  return problems;
}

function fieldOf(plain: Plain | undefined, key: string): Plain | undefined {
  if (plain === undefined || typeof plain === 'string' || isList(plain)) return undefined;
  return plain[key];
}

function isList(plain: Plain): plain is readonly Plain[] {
  return Array.isArray(plain);
}

function ordered(problems: readonly PolicyProblem[]): readonly PolicyProblem[] {
  const sorted = [...problems].sort((a, b) => a.line - b.line || a.column - b.column);
  const more = sorted.length - MAX_PROBLEMS;
  const last = sorted[MAX_PROBLEMS];
  if (last === undefined) return sorted;
  return [...sorted.slice(0, MAX_PROBLEMS), { ...last, message: `and ${more} more problems from here on` }];
}
