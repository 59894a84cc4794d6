import ts from 'typescript';

import type { Problem } from './check.ts';
import { fileName, isTestCode, type Project } from './workspace.ts';

/** Global names that bring time, chance, turns of the event loop or the machine's language into a core. */
const IMPURE = new Set([
  ...['Date', 'Promise', 'performance', 'crypto', 'globalThis', 'queueMicrotask'],
  ...['setTimeout', 'setInterval', 'setImmediate', 'localeCompare', 'toLocaleString'],
]);
/** They start other programs, which inherit the environment. */
const ENVIRONMENT_KINDS = new Set(['tool', 'testkit']);
const PURE_KINDS = new Set(['core', 'sim']);
const TEST_FUNCTIONS = new Set(['test', 'it', 'describe', 'suite', 't', 'context']);
const LEAVES_OUT = new Set(['only', 'skip', 'todo']);

/** A rule looks at one node and says what is wrong with it. */
type Rule = (node: ts.Node) => string | undefined;

/** Problems that take a syntax tree to see. `project` is undefined for files outside every package. */
export function codeProblems(file: string, text: string, project: Project | undefined): readonly Problem[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.ESNext, true);
  const rules = rulesFor(file, project);
  const problems: Problem[] = isInnerBarrel(source, file)
    ? [{ file, message: 'only re-exports; only src/index.ts does that' }]
    : [];
  const visit = (node: ts.Node): void => {
    for (const rule of rules) {
      const message = rule(node);
      const line = source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1;
      if (message !== undefined) problems.push({ file, line, message });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return problems;
}

function rulesFor(file: string, project: Project | undefined): readonly Rule[] {
  if (isTestCode(file)) return [leavesTestsOut];
  const rules: Rule[] = [castsTwice];
  if (PURE_KINDS.has(project?.kind ?? '')) rules.push(impure);
  if (!/^(?:config|main)\.ts$/.test(fileName(file)) && !ENVIRONMENT_KINDS.has(project?.kind ?? ''))
    rules.push(readsEnvironment);
  return rules;
}

function leavesTestsOut(node: ts.Node): string | undefined {
  if (ts.isPropertyAccessExpression(node) && LEAVES_OUT.has(node.name.text)) {
    const { expression } = node;
    if (ts.isIdentifier(expression) && TEST_FUNCTIONS.has(expression.text)) return `${node.getText()} leaves tests out`;
  }
  if (ts.isPropertyAssignment(node) && LEAVES_OUT.has(node.name.getText())) {
    const always = node.initializer.kind === ts.SyntaxKind.TrueKeyword || ts.isStringLiteral(node.initializer);
    if (always) return `${node.getText()} leaves tests out`;
  }
  return undefined;
}

function impure(node: ts.Node): string | undefined {
  if (node.kind === ts.SyntaxKind.AsyncKeyword || ts.isAwaitExpression(node)) return 'a core has no async code';
  if (ts.isPropertyAccessExpression(node) && node.getText() === 'Math.random') {
    return 'a core takes its randomness as an argument';
  }
  if (!ts.isIdentifier(node) || !IMPURE.has(node.text) || isOwnName(node)) return undefined;
  return `a core does not use ${node.text}`;
}

/** A property or member that merely has such a name; calls of `x.localeCompare()` do not count as that. */
function isOwnName(node: ts.Identifier): boolean {
  const { parent } = node;
  if (ts.isPropertyAccessExpression(parent) && parent.name === node)
    return !/^(?:localeCompare|toLocaleString)$/.test(node.text);
  return (
    (ts.isPropertyAssignment(parent) || ts.isPropertySignature(parent) || ts.isMethodDeclaration(parent)) &&
    parent.name === node
  );
}

function castsTwice(node: ts.Node): string | undefined {
  if (!ts.isAsExpression(node) || !ts.isAsExpression(node.expression)) return undefined;
  return `a cast by way of ${node.expression.type.getText()} goes round the type system`;
}

function readsEnvironment(node: ts.Node): string | undefined {
  if (!ts.isPropertyAccessExpression(node) || node.getText() !== 'process.env') return undefined;
  return 'process.env is read in config.ts, or handed over by main.ts';
}

function isInnerBarrel(source: ts.SourceFile, file: string): boolean {
  if (/^libs\/[^/]+\/src\/index\.ts$/.test(file)) return false;
  const [first, ...rest] = source.statements;
  if (first === undefined) return false;
  return [first, ...rest].every(
    (statement) => ts.isExportDeclaration(statement) && statement.moduleSpecifier !== undefined,
  );
}
