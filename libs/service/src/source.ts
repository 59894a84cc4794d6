import { parseArgs } from 'node:util';
import { LineCounter, isMap, isScalar, parse, parseDocument } from 'yaml';
import type { YAMLMap } from 'yaml';
import type { ConfigKey } from './key.ts';
import { nearest, printable } from './problem.ts';
import type { ConfigProblem } from './problem.ts';

/** Values by key name, each with where it came from. */
export type Layer = Map<string, { readonly value: unknown; readonly source: string }>;

export interface Reading {
  readonly layer: Layer;
  readonly problems: ConfigProblem[];
}

/** Variables that Kubernetes injects for a Service called `xylem-*`; they are nobody's mistake. */
const SERVICE_LINK = /^XYLEM_\w*(?:_SERVICE_(?:HOST|PORT(?:_\w+)?)|_PORT(?:_\d+_(?:TCP|UDP)(?:_\w+)?)?)$/;

/** Reads nested YAML. Unknown keys and duplicate keys are problems, each with its line. */
export function readYaml(text: string, file: string, keys: readonly ConfigKey[]): Reading {
  const reading: Reading = { layer: new Map(), problems: [] };
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  for (const error of document.errors) {
    const { line, col } = lines.linePos(error.pos[0]);
    reading.problems.push({
      key: file,
      source: `${file}:${line}:${col}`,
      detail: `is not valid YAML: ${error.message}`,
    });
  }
  if (document.errors.length > 0 || document.contents === null) return reading;
  if (isMap(document.contents)) walk(document.contents, [], { reading, keys, file, lines });
  else
    reading.problems.push({
      key: file,
      source: `${file}:1`,
      detail: 'must hold keys and values, such as `domain: xylem.internal`',
    });
  return reading;
}

interface Walk {
  readonly reading: Reading;
  readonly keys: readonly ConfigKey[];
  readonly file: string;
  readonly lines: LineCounter;
}

function walk(map: YAMLMap, path: readonly string[], context: Walk): void {
  for (const pair of map.items) {
    const label = isScalar(pair.key) ? String(pair.key.value) : '?';
    const offset = isScalar(pair.key) ? (pair.key.range?.[0] ?? 0) : 0;
    const source = `${context.file}:${context.lines.linePos(offset).line}`;
    const name = [...path, label].join('.');
    if (context.keys.some((key) => key.name === name)) {
      const value: unknown = isNode(pair.value) ? pair.value.toJSON() : pair.value;
      if (value !== null && value !== undefined) context.reading.layer.set(name, { value, source });
    } else if (context.keys.some((key) => key.name.startsWith(`${name}.`))) {
      if (isMap(pair.value)) walk(pair.value, [...path, label], context);
      else if (!isScalar(pair.value) || pair.value.value !== null) {
        context.reading.problems.push({
          key: name,
          source,
          detail: `holds keys, such as ${example(name, context.keys)}`,
        });
      }
    } else {
      context.reading.problems.push(
        unknownName(
          name,
          source,
          context.keys.map((key) => key.name),
        ),
      );
    }
  }
}

function isNode(value: unknown): value is { toJSON(): unknown } {
  return typeof value === 'object' && value !== null && 'toJSON' in value && typeof value.toJSON === 'function';
}

function example(prefix: string, keys: readonly ConfigKey[]): string {
  return keys.find((key) => key.name.startsWith(`${prefix}.`))?.name ?? prefix;
}

/** Reads `XYLEM_*`. `reserved` are variables of that prefix with another meaning. */
export function readEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  keys: readonly ConfigKey[],
  reserved: readonly string[],
): Reading {
  const reading: Reading = { layer: new Map(), problems: [] };
  for (const variable of Object.keys(env).toSorted()) {
    const text = env[variable];
    if (!variable.startsWith('XYLEM_') || text === undefined || reserved.includes(variable)) continue;
    const key = keys.find((candidate) => candidate.variable === variable);
    if (key !== undefined) {
      reading.layer.set(key.name, { value: fromText(key, [text]), source: variable });
    } else if (!SERVICE_LINK.test(variable)) {
      reading.problems.push(
        unknownName(
          variable,
          'environment',
          keys.map((candidate) => candidate.variable),
        ),
      );
    }
  }
  return reading;
}

export interface FlagReading extends Reading {
  readonly config: string | undefined;
  readonly help: boolean;
  readonly version: boolean;
  readonly exitOnStdinEnd: boolean;
}

const BUILT_IN_FLAGS = ['config', 'help', 'version', 'exit-on-stdin-end'] as const;

/** Reads flags. A flag that is given twice counts once more for lists; otherwise the last one wins. */
export function readFlags(argv: readonly string[], keys: readonly ConfigKey[]): FlagReading {
  const layer: Layer = new Map();
  const problems: ConfigProblem[] = [];
  const switches = new Set<string>();
  const texts = new Map<string, string[]>();
  const booleans = new Set(['help', 'version', 'exit-on-stdin-end', ...keys.filter(isBoolean).map((key) => key.flag)]);
  const known = [...BUILT_IN_FLAGS, ...keys.map((key) => key.flag)];
  const { tokens } = parseArgs({
    args: [...argv],
    options: Object.fromEntries(
      known.map((flag) => [flag, { type: booleans.has(flag) ? 'boolean' : 'string', ...short(flag) }]),
    ),
    allowNegative: true,
    allowPositionals: true,
    strict: false,
    tokens: true,
  });
  let unknownAt = -2;
  for (const token of tokens) {
    if (token.kind === 'positional') {
      // The value of an unknown flag is no second mistake.
      if (token.index !== unknownAt + 1)
        problems.push({
          key: token.value,
          source: 'command line',
          detail: 'is not expected; every value belongs to a flag',
        });
      continue;
    }
    if (token.kind !== 'option') continue;
    const flag = `--${token.name}`;
    if (!known.includes(token.name)) {
      unknownAt = token.index;
      problems.push(
        unknownName(
          token.rawName,
          'command line',
          known.map((name) => `--${name}`),
        ),
      );
    } else if (booleans.has(token.name)) {
      switches.add(token.name);
      const negated = token.rawName.startsWith('--no-');
      texts.set(token.name, [token.value ?? (negated ? 'false' : 'true')]);
    } else if (token.value === undefined || (!token.inlineValue && token.value.startsWith('--'))) {
      problems.push({ key: flag, source: 'command line', detail: `needs a value: ${flag} VALUE` });
    } else {
      texts.set(token.name, [...(texts.get(token.name) ?? []), token.value]);
    }
  }
  for (const key of keys) {
    const given = texts.get(key.flag);
    if (given !== undefined) layer.set(key.name, { value: fromText(key, given), source: `--${key.flag}` });
  }
  return {
    layer,
    problems,
    config: texts.get('config')?.at(-1),
    help: switches.has('help'),
    version: switches.has('version'),
    exitOnStdinEnd: switches.has('exit-on-stdin-end'),
  };
}

function short(flag: string): { short?: string } {
  return flag === 'help' ? { short: 'h' } : flag === 'config' ? { short: 'c' } : {};
}

function isBoolean(key: ConfigKey): boolean {
  return key.type === 'boolean';
}

/** Text becomes what the key's type wants; text that does not fit stays text, for the schema to complain about. */
function fromText(key: ConfigKey, texts: readonly string[]): unknown {
  const last = texts.at(-1) ?? '';
  switch (key.type) {
    case 'number':
      return /^-?\d+(?:\.\d+)?$/.test(last.trim()) ? Number(last) : last;
    case 'boolean':
      return last === 'true' ? true : last === 'false' ? false : last;
    case 'list':
      return texts
        .flatMap((text) => text.split(','))
        .map((item) => item.trim())
        .filter((item) => item !== '');
    case 'structure':
      return fromYamlText(last);
    case 'string':
      return last;
  }
}

function fromYamlText(text: string): unknown {
  try {
    return parse(text);
  } catch {
    return text;
  }
}

function unknownName(name: string, source: string, candidates: readonly string[]): ConfigProblem {
  const meant = nearest(name, candidates);
  const remedy = meant === undefined ? 'remove it' : `did you mean ${meant}?`;
  return { key: printable(name), source, detail: `is not known; ${remedy}` };
}
