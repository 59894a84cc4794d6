import type { Pattern, Subject, TargetPattern } from '@xylem/policy';
import { isUserName } from '../identity.ts';

/** What a text means, or what is wrong with it: one line with the remedy. */
export type Parsed<Value> = { readonly ok: true; readonly value: Value } | { readonly ok: false; readonly why: string };

/** Ports that one target may list. */
const MAX_PORTS = 256;
const MAX_GROUP_LENGTH = 128;
const MAX_PATTERN_LENGTH = 63;
const GROUP_CHARACTERS = /^[A-Za-z0-9._@/+: -]+$/;
const RULE_NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/;
const PORT = /^[1-9][0-9]{0,4}$/;
const SHOWN = 60;
/** `user:anonymous` would look like what it is not. */
const RESERVED: ReadonlySet<string> = new Set(['anonymous', 'everyone']);

/** Names of groups come from directories as well: letters, digits and `. _ @ / + : - space` inside, up to 128. */
export function isGroupName(text: string): boolean {
  return (
    text.length <= MAX_GROUP_LENGTH && GROUP_CHARACTERS.test(text) && text.trim() === text && !text.startsWith('__')
  );
}

export function parseGroupName(text: string): Parsed<string> {
  return isGroupName(text)
    ? good(text)
    : bad(`${quoted(text)} is no name of a group; use 1 to 128 of A-Z a-z 0-9 . _ @ / + : - and spaces inside`);
}

export function parseUserName(text: string): Parsed<string> {
  if (text.startsWith('user:')) return bad(`write ${quoted(text.slice('user:'.length))}: members are users already`);
  if (text.startsWith('group:')) return bad('groups do not nest; list the users');
  if (RESERVED.has(text)) return bad(`${text} is no user: it has a meaning of its own in rules`);
  return isUserName(text)
    ? good(text)
    : bad(`${quoted(text)} is no name of a user; use 1 to 128 of a-z 0-9 . _ @ - in lower case`);
}

export function parseRuleName(text: string): Parsed<string> {
  return RULE_NAME.test(text)
    ? good(text)
    : bad(`${quoted(text)} is no name of a rule; use 1 to 63 of A-Z a-z 0-9 . _ -`);
}

/** `user:alice` or `alice`, `group:dba`, `everyone`, `anonymous`. */
export function parseSubject(text: string): Parsed<Subject> {
  if (text === 'everyone' || text === 'anonymous') return good({ kind: text });
  if (text.startsWith('group:')) {
    const group = parseGroupName(text.slice('group:'.length));
    return group.ok ? good({ kind: 'group', group: group.value }) : group;
  }
  const user = text.startsWith('user:') ? text.slice('user:'.length) : text;
  return isUserName(user) && !RESERVED.has(user)
    ? good({ kind: 'user', user })
    : bad(`${quoted(text)} is nobody; write user:NAME, group:NAME, everyone or anonymous`);
}

/** As `parseSubject`, without `everyone` and `anonymous`. */
export function parseAdmin(text: string): Parsed<Subject> {
  const subject = parseSubject(text);
  if (!subject.ok || subject.value.kind === 'user' || subject.value.kind === 'group') return subject;
  return bad(`${text} cannot administer; list users and groups`);
}

/** A name of a leaf cluster or node with `*` in it, or without. */
export function parsePattern(text: string): Parsed<Pattern> {
  if (text.length > MAX_PATTERN_LENGTH || !/^[a-z0-9*-]+$/.test(text)) {
    return bad(`${quoted(text)} fits no name; use 1 to 63 of a-z 0-9 - and * for any run of characters`);
  }
  if (text.startsWith('-') || text.endsWith('-')) {
    return bad(`${quoted(text)} fits no name: names neither begin nor end with -`);
  }
  return good(text);
}

/** `db-*:5432`, `web:80,443`, `bastion` for every port. */
export function parseTarget(text: string): Parsed<TargetPattern> {
  const [node = '', list, ...more] = text.split(':');
  if (more.length > 0) return bad(`${quoted(text)} has more than one colon; write NODE or NODE:PORT,PORT`);
  if (node.includes('.')) return bad(`${quoted(text)} names a leaf cluster; those are listed under leaves`);
  const pattern = parsePattern(node);
  if (!pattern.ok) return pattern;
  if (list === undefined) return good({ node, ports: undefined });
  const texts = list.split(',').map((port) => port.trim());
  if (texts.length > MAX_PORTS) return bad(`${quoted(text)} lists ${texts.length} ports; at most ${MAX_PORTS}`);
  const wrong = texts.find((port) => !PORT.test(port) || Number(port) > 65_535);
  if (wrong !== undefined) {
    return bad(`${quoted(wrong)} is no port; write numbers from 1 to 65535 with commas, or no colon for every port`);
  }
  return good({ node, ports: [...new Set(texts.map(Number))].sort((a, b) => a - b) });
}

/** The opposite of `parseSubject`. */
export function subjectText(subject: Subject): string {
  switch (subject.kind) {
    case 'user':
      return `user:${subject.user}`;
    case 'group':
      return `group:${subject.group}`;
    case 'everyone':
    case 'anonymous':
      return subject.kind;
  }
}

/** The opposite of `parseTarget`. */
export function targetText({ node, ports }: TargetPattern): string {
  return ports === undefined ? node : `${node}:${ports.join(',')}`;
}

/** Foreign text in messages: short, and only printable ASCII. */
export function quoted(text: string): string {
  const shown = text.length > SHOWN ? `${text.slice(0, SHOWN)}...` : text;
  return JSON.stringify(shown).replace(
    /[^\x20-\x7e]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

function good<Value>(value: Value): Parsed<Value> {
  return { ok: true, value };
}

function bad(why: string): { readonly ok: false; readonly why: string } {
  return { ok: false, why };
}
