/** Address of a node as people write it. */
export interface Authority {
  readonly node: string;
  readonly leaf: string;
  /** 1 to 65535; 0 when the text names none, which stands for the node's only port. */
  readonly port: number;
}

export type AuthorityResult =
  | { readonly ok: true; readonly authority: Authority }
  /** One line that quotes the offending part with control characters escaped. */
  | { readonly ok: false; readonly problem: string };

/** Two DNS labels and a port; anything longer cannot be valid. */
const MAX_LENGTH = 63 + 1 + 63 + 1 + 5;
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const PORT = /^[1-9][0-9]{0,4}$/;

/**
 * Reads `<node>.<leaf>:<port>` or `<node>.<leaf>`, and nothing else: no scheme, user, path, whitespace, control
 * character, address literal, trailing dot or leading zero. Upper case is folded, as in DNS.
 *
 * @param port `required` where the text comes from HTTP CONNECT (RFC 9110, 9.3.6), `optional` where a person types it.
 */
export function parseAuthority(text: string, port: 'required' | 'optional' = 'optional'): AuthorityResult {
  const problem = (what: string): AuthorityResult => ({ ok: false, problem: `${what}; write <node>.<leaf>:<port>` });
  if (text.length === 0) return problem('the address is empty');
  if (text.length > MAX_LENGTH)
    return problem(`the address is ${text.length} characters long, at most ${MAX_LENGTH} can be valid`);
  const stray = /[^A-Za-z0-9.:-]/.exec(text);
  if (stray !== null)
    return problem(`the address holds ${JSON.stringify(stray[0])}, which no node name or port contains`);
  const colon = text.indexOf(':');
  if (colon !== text.lastIndexOf(':'))
    return problem('the address holds more than one ":", and address literals are not accepted');
  if (colon === -1 && port === 'required') return problem('the address names no port');
  const labels = (colon === -1 ? text : text.slice(0, colon)).toLowerCase().split('.');
  const [node, leaf] = labels;
  if (node === undefined || leaf === undefined || labels.length !== 2) {
    return problem(
      `the name has ${labels.length} ${labels.length === 1 ? 'part' : 'parts'} between dots, it must have two`,
    );
  }
  for (const [what, label] of [
    ['node', node],
    ['leaf cluster', leaf],
  ] as const) {
    if (!LABEL.test(label)) {
      return problem(
        `${JSON.stringify(label)} cannot name a ${what}: 1 to 63 of a-z, 0-9 and "-", not starting or ending with "-"`,
      );
    }
  }
  if (colon === -1) return { ok: true, authority: { node, leaf, port: 0 } };
  const digits = text.slice(colon + 1);
  if (!PORT.test(digits) || Number(digits) > 65_535) {
    return problem(`${JSON.stringify(digits)} is not a port: 1 to 65535 in plain digits`);
  }
  return { ok: true, authority: { node, leaf, port: Number(digits) } };
}
