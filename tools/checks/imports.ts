import { readFileSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import ts from 'typescript';

const TYPE = ts.SyntaxKind.TypeKeyword;

/** One import, export-from or import() of a source file. */
export interface Import {
  /** As written. */
  readonly specifier: string;
  /** Erased before the file runs. */
  readonly typeOnly: boolean;
  readonly line: number;
  /** The file it means, relative to the repository's root; undefined for packages. */
  readonly target: string | undefined;
}

/** The imports of `file`, also those inside functions. */
export function importsOf(root: string, file: string): readonly Import[] {
  const source = ts.createSourceFile(file, readFileSync(join(root, file), 'utf8'), ts.ScriptTarget.ESNext);
  const imports: Import[] = [];
  const visit = (node: ts.Node): void => {
    const found = importIn(node);
    if (found !== undefined) {
      const line = source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1;
      const target = found.specifier.startsWith('.') ? posix.join(dirname(file), found.specifier) : undefined;
      imports.push({ ...found, line, target });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return imports;
}

function importIn(node: ts.Node): Pick<Import, 'specifier' | 'typeOnly'> | undefined {
  if (ts.isImportDeclaration(node)) return named(node.moduleSpecifier, node.importClause?.phaseModifier === TYPE);
  if (ts.isExportDeclaration(node)) return named(node.moduleSpecifier, node.isTypeOnly);
  if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) return named(node.argument.literal, true);
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
    return named(node.arguments[0], false);
  return undefined;
}

function named(specifier: ts.Node | undefined, typeOnly: boolean): Pick<Import, 'specifier' | 'typeOnly'> | undefined {
  return specifier !== undefined && ts.isStringLiteral(specifier) ? { specifier: specifier.text, typeOnly } : undefined;
}

/** `@xylem/grpc` of `@xylem/grpc/sub/path`. */
export function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}

/** Groups of files that import each other in a circle, each sorted; Tarjan's strongly connected components. */
export function findCycles(edges: ReadonlyMap<string, readonly string[]>): readonly (readonly string[])[] {
  const order = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const onStack = new Set<string>();
  const cycles: string[][] = [];
  const lowOf = (file: string): number => low.get(file) ?? Infinity;

  const visit = (file: string): void => {
    order.set(file, order.size);
    low.set(file, order.size - 1);
    stack.push(file);
    onStack.add(file);
    for (const next of edges.get(file) ?? []) {
      if (!order.has(next)) visit(next);
      if (onStack.has(next)) low.set(file, Math.min(lowOf(file), lowOf(next)));
    }
    if (low.get(file) !== order.get(file)) return;
    const group = stack.splice(stack.indexOf(file));
    for (const member of group) onStack.delete(member);
    if (group.length > 1 || edges.get(file)?.includes(file)) cycles.push(group.sort());
  };

  for (const file of [...edges.keys()].sort()) if (!order.has(file)) visit(file);
  return cycles;
}
