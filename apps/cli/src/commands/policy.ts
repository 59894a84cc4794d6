import { parseAuthority } from '@xylem/tunnel';
import { printable, table } from '@xylem/matrix';
import { AdminService } from '@xylem/wire';
import type { Registry } from '../admin-client.ts';
import { CommandError, STATUS } from '../exit.ts';
import { lineDiff } from '../line-diff.ts';

/** A policy as `xylem policy get` prints it knows which version it replaces. */
const HEADER = /^# xylem policy version ([0-9]{1,15})\b.*(?:\r?\n|$)/;

/** What acts on a terminal or turns text round: YAML allows no such character as it is (1.2, 5.1), and a registry may lie. */
const ACTING = /\r(?!\n)|[^\P{Cc}\r\n\t]|[\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;

/** The text of `xylem policy get`. */
export async function getPolicy({ channel, deadlineMs }: Registry, version: number): Promise<string> {
  const policy = await channel.unary(AdminService.getPolicy, { version: BigInt(version) }, deadlineMs);
  if (policy.version === 0n) return '# no policy was set yet: every dial is denied; see docs/OPERATIONS.md, "Policy"\n';
  const yaml = policy.yaml.replaceAll(ACTING, printable);
  const end = yaml.endsWith('\n') ? '' : '\n';
  return `# xylem policy version ${policy.version}: \`xylem policy set\` replaces no other one\n${yaml}${end}`;
}

export interface SetPolicyOptions {
  /** The file's content. */
  readonly text: string;
  /** Version that must be in force; undefined: the one the text names, else whatever is in force. */
  readonly expected: number | undefined;
  readonly checkOnly: boolean;
}

/** The text of `xylem policy set`; problems of the policy reject with a CommandError that lists them all. */
export async function setPolicy({ channel, deadlineMs }: Registry, options: SetPolicyOptions): Promise<string> {
  const [header = '', named] = HEADER.exec(options.text) ?? [];
  const yaml = options.text.slice(header.length);
  const expected = options.expected ?? (named === undefined ? undefined : Number(named));
  const expectedVersion = expected === undefined ? await versionInForce({ channel, deadlineMs }) : BigInt(expected);
  const request = { yaml, expectedVersion, checkOnly: options.checkOnly };
  const { version, warnings, problems } = await channel.unary(AdminService.setPolicy, request, deadlineMs);
  const listed = (lines: readonly string[], prefix: string): string =>
    lines.map((line) => `${prefix}${printable(line)}\n`).join('');
  if (problems.length > 0) {
    const offset = header === '' ? '' : ' (lines count from the one behind the version)';
    throw new CommandError(STATUS.usage, `the policy is not valid${offset}\n${listed(problems, '  ').trimEnd()}`);
  }
  const done = options.checkOnly ? 'the policy is valid' : `version ${version} of the policy is in force`;
  return `${listed(warnings, 'warning: ')}${done}\n`;
}

async function versionInForce({ channel, deadlineMs }: Registry): Promise<bigint> {
  return (await channel.unary(AdminService.getPolicy, { version: 0n }, deadlineMs)).version;
}

export interface CheckPolicyOptions {
  /** A user, or `anonymous`. */
  readonly user: string;
  /** `<node>.<leaf>[:port]`; port 22 where none is given. */
  readonly target: string;
  readonly groups: readonly string[];
  readonly json: boolean;
}

/** What `xylem policy check` prints, and whether the dial is allowed. */
export interface CheckedPolicy {
  readonly text: string;
  readonly allowed: boolean;
}

const DEFAULT_PORT = 22;

export async function checkPolicy(
  { channel, deadlineMs }: Registry,
  options: CheckPolicyOptions,
): Promise<CheckedPolicy> {
  const parsed = parseAuthority(options.target, 'optional');
  if (!parsed.ok) throw new CommandError(STATUS.usage, parsed.problem);
  const { node, leaf } = parsed.authority;
  const port = parsed.authority.port === 0 ? DEFAULT_PORT : parsed.authority.port;
  const { user, groups, json } = options;
  const request = { user, leaf, node, port, groups: [...groups] };
  const answer = await channel.unary(AdminService.checkPolicy, request, deadlineMs);
  const { allowed, rule, reason } = answer;
  const version = Number(answer.version);
  if (json) {
    return {
      allowed,
      text: `${JSON.stringify({ user, node, leaf, port, allowed, rule, reason, version }, null, 2)}\n`,
    };
  }
  const state = allowed ? 'allowed' : 'denied';
  return { allowed, text: `${state}: ${printable(reason)} (policy version ${version})\n` };
}

/** The text of `xylem policy history`. */
export async function policyHistory({ channel, deadlineMs }: Registry, json: boolean): Promise<string> {
  const { versions } = await channel.unary(AdminService.listPolicies, {}, deadlineMs);
  const shown = versions.map(({ version, setBy, setAtMs }) => ({
    version: Number(version),
    setBy,
    setAt: new Date(Number(setAtMs)).toISOString(),
  }));
  if (json) return `${JSON.stringify({ versions: shown }, null, 2)}\n`;
  if (shown.length === 0) return 'no policy was set yet: every dial is denied\n';
  const rows = shown.map(({ version, setBy, setAt }, index) =>
    [String(version), setAt, setBy, index === 0 ? 'in force' : ''].map(printable),
  );
  return `${table([['VERSION', 'SET AT', 'BY', ''], ...rows]).join('\n')}\n`;
}

/** What `xylem policy diff` prints; empty when the file says what is in force. */
export async function diffPolicy({ channel, deadlineMs }: Registry, text: string): Promise<string> {
  const { version, yaml } = await channel.unary(AdminService.getPolicy, { version: 0n }, deadlineMs);
  const lines = lineDiff(yaml, text.replace(HEADER, ''));
  if (lines.length === 0) return '';
  return `--- version ${version}, in force\n+++ file\n${lines.map((line) => `${printable(line)}\n`).join('')}`;
}
