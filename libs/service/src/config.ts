import { readFileSync } from 'node:fs';
import type { z } from 'zod';
import { helpText } from './help.ts';
import { configKeys } from './key.ts';
import type { ConfigKey } from './key.ts';
import { formatProblems } from './problem.ts';
import type { ConfigProblem } from './problem.ts';
import { readEnvironment, readFlags, readYaml } from './source.ts';
import type { Layer, Reading } from './source.ts';

/** What a service can be told. */
export interface ConfigSpec<Schema extends z.ZodType> {
  /** Name of the executable, for messages: `xylem-registry`. */
  readonly service: string;
  readonly version: string;
  /** One sentence for --help. */
  readonly summary: string;
  /** Nested `z.strictObject`s; every leaf has a `.describe()`. Keys, flags, variables and --help come from it. */
  readonly schema: Schema;
}

export interface ConfigInput {
  /** Arguments without the interpreter and the script. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Default: reads UTF-8 from the file system. Throws when it cannot. */
  readonly readFile?: (path: string) => string;
}

export type ConfigOutcome<Config> =
  | { readonly kind: 'loaded'; readonly config: Config; readonly exitOnStdinEnd: boolean }
  /** --help or --version: print to stdout, exit 0. */
  | { readonly kind: 'shown'; readonly text: string }
  /** Print `text` to stderr, exit 2. */
  | { readonly kind: 'invalid'; readonly text: string; readonly problems: readonly ConfigProblem[] };

const CONFIG_VARIABLE = 'XYLEM_CONFIG';
const CONFIG_FLAG = '--config';
const QUOTED_LENGTH_MAX = 80;

/**
 * Reads the file named by `--config` (or XYLEM_CONFIG), then `XYLEM_*`, then flags; the later wins. All problems are found in
 * one go. Never throws for anything the user wrote.
 */
export function loadConfig<Schema extends z.ZodType>(
  spec: ConfigSpec<Schema>,
  input: ConfigInput,
): ConfigOutcome<z.output<Schema>> {
  const keys = configKeys(spec.schema);
  const flags = readFlags(input.argv, keys);
  if (flags.help) return { kind: 'shown', text: helpText(spec, keys) };
  if (flags.version) return { kind: 'shown', text: `${spec.service} ${spec.version}\n` };
  const environment = readEnvironment(input.env, keys, [CONFIG_VARIABLE]);
  const path = flags.config ?? input.env[CONFIG_VARIABLE];
  const file = readFile(path, input.readFile ?? readText, keys);

  const layer: Layer = new Map([...file.layer, ...environment.layer, ...flags.layer]);
  const parsed = spec.schema.safeParse(nest(layer, keys));
  const problems = [...file.problems, ...environment.problems, ...flags.problems];
  if (!parsed.success) {
    // All keys of a file that could not be read are missing: saying so would hide the one line that matters.
    const unread = problems.some(({ key }) => key === path || key === CONFIG_FLAG);
    const found = parsed.error.issues.flatMap((issue) => fromIssue(issue, layer, keys));
    problems.push(...found.filter(({ source }) => !unread || source !== ''));
  }
  if (parsed.success && problems.length === 0) {
    return { kind: 'loaded', config: parsed.data, exitOnStdinEnd: flags.exitOnStdinEnd };
  }
  return { kind: 'invalid', text: formatProblems(spec.service, problems), problems };
}

function readText(path: string): string {
  return readFileSync(path, 'utf8');
}

function readFile(path: string | undefined, read: (path: string) => string, keys: readonly ConfigKey[]): Reading {
  if (path === undefined) return { layer: new Map(), problems: [] };
  let text: string;
  try {
    text = read(path);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    const why =
      code === 'ENOENT' ? 'does not exist' : code === 'EACCES' ? 'cannot be read by this user' : 'cannot be read';
    return { layer: new Map(), problems: [{ key: path, source: CONFIG_FLAG, detail: `${why}; check the path` }] };
  }
  return readYaml(text, path, keys);
}

/** Nested objects again. Sections with required keys exist even when empty, so that each missing key is named. */
function nest(layer: Layer, keys: readonly ConfigKey[]): unknown {
  const root: Record<string, unknown> = {};
  for (const key of keys) {
    const entry = layer.get(key.name);
    if (entry === undefined && !key.required) continue;
    let section = root;
    for (const part of key.path.slice(0, -1)) section = subsection(section, part);
    if (entry !== undefined) section[key.path.at(-1) ?? ''] = entry.value;
  }
  return root;
}

function subsection(section: Record<string, unknown>, part: string): Record<string, unknown> {
  const known = section[part];
  if (isRecord(known)) return known;
  const made: Record<string, unknown> = {};
  section[part] = made;
  return made;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Of a whole section that is missing, what it begins with is enough of a hint. */
const KEYS_SHOWN = 2;

function fromIssue(issue: z.core.$ZodIssue, layer: Layer, keys: readonly ConfigKey[]): ConfigProblem[] {
  const path = issue.path.map(String);
  const key = keys.find((candidate) => candidate.path.every((part, index) => part === path[index]));
  const name = pathName(issue.path);
  const source = key === undefined ? '' : (layer.get(key.name)?.source ?? '');
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((unknown) => ({ key: `${name}.${unknown}`, source, detail: 'is not known; remove it' }));
  }
  const value = key === undefined ? undefined : valueAt(layer.get(key.name)?.value, issue.path.slice(key.path.length));
  if (value === undefined && issue.code !== 'custom') return [{ key: name, source, detail: missing(key, name, keys) }];
  return [{ key: name, source, detail: describeIssue(issue, value) }];
}

function missing(key: ConfigKey | undefined, name: string, keys: readonly ConfigKey[]): string {
  if (key === undefined || key.name !== name) {
    const below = keys.filter((candidate) => candidate.name.startsWith(`${name}.`)).slice(0, KEYS_SHOWN);
    return below.length === 0 ? 'is missing' : `is missing; set ${below.map((candidate) => candidate.name).join(', ')}`;
  }
  return `is missing; set ${key.name} in the file, ${key.variable} or --${key.flag}`;
}

function describeIssue(issue: z.core.$ZodIssue, value: unknown): string {
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${article(issue.expected)}, not ${quoted(value)}`;
    case 'invalid_value':
      return `must be ${issue.values.length === 1 ? '' : 'one of '}${issue.values.map(String).join(', ')}, not ${quoted(value)}`;
    case 'too_small':
      return `must be at least ${issue.minimum}${unitOf(issue.origin)}, not ${quoted(value)}`;
    case 'too_big':
      return `must be at most ${issue.maximum}${unitOf(issue.origin)}, not ${quoted(value)}`;
    case 'invalid_union': {
      // zod lists the values in its message only; a default counts as 'undefined' there.
      const known = [...issue.message.matchAll(/'([^']+)'/g)].map(([, option = '']) => option);
      const options = known.filter((option) => option !== 'undefined').join(', ');
      return options === '' ? issue.message : `must be one of ${options}, not ${quoted(value)}`;
    }
    default:
      return issue.message;
  }
}

function unitOf(origin: string): string {
  return origin === 'array' ? ' entries' : origin === 'string' ? ' characters' : '';
}

function article(expected: string): string {
  const word =
    expected === 'array' ? 'list' : expected === 'int' ? 'whole number' : expected === 'object' ? 'mapping' : expected;
  return `a ${word}`;
}

/** `nodes[0].ports[1].port` */
function pathName(path: readonly PropertyKey[]): string {
  return path
    .map((part, index) => (typeof part === 'number' ? `[${part}]` : `${index === 0 ? '' : '.'}${String(part)}`))
    .join('');
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let current = value;
  for (const part of path) {
    if (Array.isArray(current) && typeof part === 'number') current = current[part];
    else if (isRecord(current) && typeof part === 'string') current = current[part];
    else return undefined;
  }
  return current;
}

/** A value for a message: short, and never a key that somebody pasted where a path belongs. */
function quoted(value: unknown): string {
  const text = JSON.stringify(value) ?? 'nothing';
  if (text.includes('-----BEGIN')) return '[redacted]';
  return text.length > QUOTED_LENGTH_MAX ? `${text.slice(0, QUOTED_LENGTH_MAX)}...` : text;
}
