import { readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { join } from 'node:path';

import { outcomeOf, type Check, type CheckOutcome, type Problem } from './check.ts';
import { findCycles, importsOf, packageOf, type Import } from './imports.ts';
import { PLANES, type Plane } from './planes.ts';
import { readProjectGraph, type ProjectGraph } from './project-graph.ts';
import { isCode, isTestCode, listFiles, readWorkspace, type Project, type Workspace } from './workspace.ts';

/** Every import is allowed by the table of planes, declared, inside its package, and no files load each other in a circle. */
export const boundaries: Check = {
  name: 'boundaries',
  purpose: 'imports keep to the planes of docs/ARCHITECTURE.md',
  run: checkBoundaries,
};

async function checkBoundaries(root: string): Promise<CheckOutcome> {
  const workspace = readWorkspace(root);
  let graph: ProjectGraph;
  try {
    graph = await readProjectGraph(root);
  } catch (error) {
    return { kind: 'failed', output: error instanceof Error ? error.message : String(error) };
  }
  return outcomeOf([
    ...tagProblems(workspace),
    ...tableProblems(workspace),
    ...graphProblems(workspace, graph),
    ...sourceProblems(workspace),
  ]);
}

function tagProblems({ projects }: Workspace): readonly Problem[] {
  return projects
    .filter(({ kind }) => kind === undefined || !PLANES.has(kind))
    .map(({ folder }) => ({
      file: `${folder}/package.json`,
      message: `nx.tags needs exactly one of ${[...PLANES.keys()].map((kind) => `"kind:${kind}"`).join(', ')}`,
    }));
}

/** The table in the docs names every library and app under its kind. */
function tableProblems({ root, projects }: Workspace): readonly Problem[] {
  const file = 'docs/ARCHITECTURE.md';
  const rows = readFileSync(join(root, file), 'utf8').split('\n');
  const listed = new Map<string, string>();
  for (const row of rows.slice(rows.indexOf('## Planes') + 1)) {
    if (row.startsWith('## ')) break;
    const [, kind, names] = row.split('|').map((cell) => cell.trim());
    if (kind === undefined || !PLANES.has(kind)) continue;
    for (const name of (names ?? '').split(',')) listed.set(name.trim(), kind);
  }
  return projects
    .filter(({ folder, kind }) => kind !== 'tool' && listed.get(folder.split('/').at(-1) ?? folder) !== kind)
    .map(({ folder, kind }) => ({ file, message: `the table "Planes" has to list ${folder} as ${kind}` }));
}

function graphProblems({ projects }: Workspace, graph: ProjectGraph): readonly Problem[] {
  const byName = new Map(projects.map((project) => [project.name, project]));
  const missing = projects
    .filter(({ name }) => !graph.projects.includes(name))
    .map(({ folder }) => ({ file: `${folder}/package.json`, message: 'is missing in `nx graph`' }));
  const edges = graph.edges.flatMap(({ source, target }) => {
    const from = byName.get(source);
    const to = byName.get(target);
    if (from === undefined || to === undefined) return [];
    return edgeProblem(from, to);
  });
  return [...missing, ...edges];
}

function edgeProblem(from: Project, to: Project): readonly Problem[] {
  const file = `${from.folder}/package.json`;
  const onlyTests = !from.dependencies.has(to.name);
  if (onlyTests && !from.devDependencies.has(to.name)) {
    return [{ file, message: `imports ${to.name} without declaring it` }];
  }
  const plane = from.kind === undefined ? undefined : PLANES.get(from.kind);
  if (plane === undefined || to.kind === undefined) return [];
  const allowed = onlyTests ? [...plane.mayImport, ...plane.testsMayImport] : plane.mayImport;
  if (allowed.includes(to.kind)) return [];
  return [{ file, message: `${article(from.kind)} may not depend on ${to.name}, ${article(to.kind)}` }];
}

function sourceProblems(workspace: Workspace): readonly Problem[] {
  const edges = new Map<string, readonly string[]>();
  const problems: Problem[] = [];
  for (const file of listFiles(workspace.root).filter(isCode)) {
    const project = workspace.projects.find(({ folder }) => file.startsWith(`${folder}/`));
    if (project === undefined) continue;
    const imports = importsOf(workspace.root, file);
    edges.set(
      file,
      imports.flatMap(({ target, typeOnly }) => (target === undefined || typeOnly ? [] : target)),
    );
    problems.push(...imports.flatMap((entry) => importProblem(workspace, project, file, entry)));
  }
  const cycles = findCycles(edges).map((files) => ({
    file: files[0] ?? '',
    message: `files load each other in a circle: ${files.join(', ')}`,
  }));
  return [...problems, ...cycles];
}

function importProblem(workspace: Workspace, project: Project, file: string, entry: Import): readonly Problem[] {
  const message = whyForbidden(workspace, project, file, entry);
  return message === undefined ? [] : [{ file, line: entry.line, message }];
}

function whyForbidden(workspace: Workspace, project: Project, file: string, entry: Import): string | undefined {
  const { specifier, target } = entry;
  if (target !== undefined) {
    return target.startsWith(`${project.folder}/`) ? undefined : `${specifier} leaves the package; import it by name`;
  }
  const inTest = isTestCode(file);
  const plane = project.kind === undefined ? undefined : PLANES.get(project.kind);
  if (isBuiltin(specifier)) return whyBuiltinForbidden(specifier, project, plane, inTest);
  const name = packageOf(specifier);
  const own = workspace.projects.find((candidate) => candidate.name === name);
  if (own === undefined && plane?.external === false && !inTest) {
    return `${article(project.kind)} imports no npm package, but this imports ${name}`;
  }
  if (own === project) return 'a package does not import itself by name';
  if (own !== undefined && specifier !== name && !own.entries.has(specifier))
    return `${specifier} reaches inside ${name}; import what its index.ts exports`;
  return isDeclared(workspace, project, name, inTest)
    ? undefined
    : `${name} is not declared in ${project.folder}/package.json`;
}

function whyBuiltinForbidden(
  specifier: string,
  { kind }: Project,
  plane: Plane | undefined,
  inTest: boolean,
): string | undefined {
  if (!specifier.startsWith('node:')) return `write node:${specifier}`;
  return plane?.external === false && !inTest
    ? `${article(kind)} performs no I/O, but this imports ${specifier}`
    : undefined;
}

/** Tests, and the tools, also use what the root package.json has for everybody. */
function isDeclared(workspace: Workspace, project: Project, name: string, inTest: boolean): boolean {
  if (project.dependencies.has(name)) return true;
  const forTests = project.devDependencies.has(name) || workspace.rootDevDependencies.has(name);
  return forTests && (inTest || project.kind === 'tool');
}

function article(kind: string | undefined): string {
  return /^[aeiou]/.test(kind ?? '') ? `an ${kind}` : `a ${kind}`;
}
