import type { ConfigKey } from './key.ts';

interface HelpSubject {
  readonly service: string;
  readonly version: string;
  readonly summary: string;
}

const BUILT_IN = [
  ['-c, --config FILE', 'YAML file with any of the keys below (XYLEM_CONFIG)'],
  ['    --exit-on-stdin-end', 'stop in order when standard input ends, for a process started by another'],
  ['    --version', 'print the version'],
  ['-h, --help', 'print this'],
] as const;

/** The --help of a service, made from its keys. */
export function helpText(subject: HelpSubject, keys: readonly ConfigKey[]): string {
  const rows = keys.map((key) => [`    --${key.flag} ${placeholder(key)}`.trimEnd(), describe(key)] as const);
  const width = Math.max(...[...BUILT_IN, ...rows].map(([left]) => left.length));
  const table = (lines: readonly (readonly [string, string])[]): string[] => {
    return lines.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`.trimEnd());
  };
  const [first] = keys.filter((key) => key.path.length > 1);
  return [
    `${subject.service} ${subject.version}: ${subject.summary}`,
    '',
    `Usage: ${subject.service} [--config FILE] [--KEY VALUE]...`,
    '',
    'Options',
    ...table(BUILT_IN),
    '',
    'Configuration',
    ...table(rows),
    '',
    ...(first === undefined
      ? []
      : [
          `In the file a key is ${first.name}, in the environment ${first.variable}, as flag --${first.flag}; the later wins.`,
        ]),
    'Lists: comma-separated, or the flag repeated. Secrets come from files only.',
    'Exit status: 0 stopped in order, 1 could not run, 2 configuration, 70 internal error.',
    '',
  ].join('\n');
}

function placeholder(key: ConfigKey): string {
  if (key.choices.length > 0) return key.choices.join('|');
  switch (key.type) {
    case 'boolean':
      return '';
    case 'number':
      return 'NUMBER';
    case 'list':
      return 'A,B,...';
    case 'structure':
      return 'YAML';
    case 'string':
      return 'VALUE';
  }
}

function describe(key: ConfigKey): string {
  const note = key.required ? '(required)' : key.fallback === undefined ? '' : `(default ${key.fallback})`;
  return [key.description, note].filter((text) => text !== '').join(' ');
}
