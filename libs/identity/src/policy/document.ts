import { Composer, Lexer, LineCounter, Parser, isAlias, isMap, isScalar, isSeq } from 'yaml';
import type { Document, Pair } from 'yaml';
import { quoted } from './grammar.ts';

/** What is wrong, and where; lines and columns count from 1. */
export interface PolicyProblem {
  readonly line: number;
  readonly column: number;
  /** One line with the remedy. */
  readonly message: string;
}

/** Plain values of a document: every scalar is a string, every mapping an object without prototype. */
export type Plain = string | readonly Plain[] | { readonly [key: string]: Plain };

export type PlainPath = readonly PropertyKey[];

/** Deeper than a policy ever nests. */
const MAX_DEPTH = 8;

/** Lexemes between two pauses: about a millisecond's work. */
const LEXEMES_PER_STEP = 1_000;

/** A YAML text as plain values, with the places they come from. Never throws for what the text holds. */
export class PolicyDocument {
  readonly #lines = new LineCounter();
  #root: unknown = null;
  /** What YAML itself has against the text, and what it could but a policy may not have. */
  readonly problems: PolicyProblem[] = [];

  private constructor() {}

  /** Parses in steps of a millisecond or two, and one of a tenth of a second at the end for the longest policy. */
  static *reading(text: string): Generator<void, PolicyDocument> {
    const document = new PolicyDocument();
    document.#root = yield* document.#parse(text);
    return document;
  }

  /** The document's values; an empty document is an empty mapping. */
  plain(): Plain {
    return this.#root === null ? noKeys() : this.#plainOf(this.#root, 0);
  }

  /** The place of a value, of a key for `isKey`, or of the nearest thing around it. */
  placeOf(path: PlainPath): { readonly line: number; readonly column: number } {
    let node = this.#root;
    for (const step of path) {
      const next = inside(node, step);
      if (next === undefined) break;
      node = next;
    }
    return this.#place(node);
  }

  /** Whether the document has something at this path. */
  has(path: PlainPath): boolean {
    let node = this.#root;
    for (const step of path) {
      node = inside(node, step);
      if (node === undefined) return false;
    }
    return true;
  }

  /** The place of a key itself. */
  placeOfKey(path: PlainPath, key: string): { readonly line: number; readonly column: number } {
    let node = this.#root;
    for (const step of path) node = inside(node, step);
    const pair = isMap(node) ? node.items.find((item) => keyText(item) === key) : undefined;
    return this.#place(pair?.key ?? node);
  }

  *#parse(text: string): Generator<void, unknown> {
    try {
      const [document, ...more] = yield* parseInSteps(text, this.#lines);
      if (document === undefined) return null;
      if (more.length > 0) this.#report(more[0]?.range[0] ?? 0, 'is a second document; a policy is one, without ---');
      for (const { pos, message } of [...document.errors, ...document.warnings]) {
        this.#report(pos[0], `is not YAML: ${message.split('\n')[0] ?? ''}`);
      }
      return document.contents;
    } catch (error) {
      // Thousands of brackets overflow the parser's stack.
      if (!(error instanceof RangeError)) throw error;
      this.#report(0, 'nests too deeply');
      return null;
    }
  }

  #plainOf(node: unknown, depth: number): Plain {
    if (depth > MAX_DEPTH) {
      this.#reportAt(node, `nests deeper than ${MAX_DEPTH} levels`);
      return '';
    }
    this.#refuseExtras(node);
    if (isScalar(node)) return typeof node.value === 'string' ? node.value : String(node.value);
    if (isSeq(node)) return node.items.map((item) => this.#plainOf(item, depth + 1));
    if (!isMap(node)) return '';
    const values: Record<string, Plain> = noKeys();
    for (const pair of node.items) {
      const key = keyText(pair);
      this.#refuseExtras(pair.key);
      if (key === undefined) this.#reportAt(pair.key, 'keys are single texts');
      else if (key === '<<') this.#reportAt(pair.key, 'merge keys are not taken; write it out');
      else if (Object.hasOwn(values, key)) this.#reportAt(pair.key, `${quoted(key)} stands here twice; join the two`);
      else values[key] = pair.value === null ? '' : this.#plainOf(pair.value, depth + 1);
    }
    return values;
  }

  /** Anchors, aliases and tags make a short text mean a long one; a policy says what it means. */
  #refuseExtras(node: unknown): void {
    if (isAlias(node)) this.#reportAt(node, `*${node.source} repeats something from elsewhere; write it out`);
    else if ((isScalar(node) || isSeq(node) || isMap(node)) && node.anchor !== undefined) {
      this.#reportAt(node, `&${node.anchor} names something for repeating; write it out instead`);
    } else if ((isScalar(node) || isSeq(node) || isMap(node)) && node.tag?.startsWith('!') === true) {
      this.#reportAt(node, 'tags (!) are not taken; leave it out');
    }
  }

  #reportAt(node: unknown, message: string): void {
    this.problems.push({ ...this.#place(node), message });
  }

  #report(offset: number, message: string): void {
    this.problems.push({ ...this.#lineOf(offset), message });
  }

  #place(node: unknown): { readonly line: number; readonly column: number } {
    const range = isScalar(node) || isSeq(node) || isMap(node) || isAlias(node) ? node.range : undefined;
    return this.#lineOf(range?.[0] ?? 0);
  }

  #lineOf(offset: number): { readonly line: number; readonly column: number } {
    const { line, col } = this.#lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  }
}

/** As `parseAllDocuments` of yaml, with pauses. */
function* parseInSteps(text: string, lines: LineCounter): Generator<void, readonly Document.Parsed[]> {
  const parser = new Parser(lines.addNewLine);
  const composer = new Composer({
    // Every scalar is text: a name that looks like a number or a truth value stays the name it is.
    schema: 'failsafe',
    merge: false,
    // Looked for by the document, in linear time.
    uniqueKeys: false,
    prettyErrors: false,
    logLevel: 'silent',
  });
  const documents: Document.Parsed[] = [];
  let lexemes = 0;
  lines.addNewLine(0);
  for (const lexeme of new Lexer().lex(text)) {
    for (const token of parser.next(lexeme)) documents.push(...composer.next(token));
    lexemes += 1;
    if (lexemes % LEXEMES_PER_STEP === 0) yield;
  }
  for (const token of parser.end()) documents.push(...composer.next(token));
  documents.push(...composer.end());
  return documents;
}

/** The pairs of a mapping in order, as the schema reads `groups`; anything else as it is. */
export function pairsOf(value: Plain): Plain {
  return typeof value === 'object' && !Array.isArray(value) ? Object.entries(value) : value;
}

/** A number leads into a list, or to a pair of a mapping; behind a pair, 0 is its key and 1 its value. */
function inside(node: unknown, step: PropertyKey): unknown {
  if (isSeq(node)) return typeof step === 'number' ? node.items[step] : undefined;
  if (isMap(node)) {
    if (typeof step === 'number') return node.items[step];
    return node.items.find((item) => keyText(item) === step)?.value ?? undefined;
  }
  return isPairLike(node) ? (step === 0 ? node.key : (node.value ?? undefined)) : undefined;
}

function isPairLike(node: unknown): node is Pair {
  return typeof node === 'object' && node !== null && 'key' in node && 'value' in node && !isScalar(node);
}

function keyText(pair: Pair): string | undefined {
  return isScalar(pair.key) ? String(pair.key.value) : undefined;
}

function noKeys(): Record<string, Plain> {
  const empty: Record<string, Plain> = {};
  Object.setPrototypeOf(empty, null);
  return empty;
}
