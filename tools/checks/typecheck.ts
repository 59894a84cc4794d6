import { globSync } from 'node:fs';
import { join, posix, relative } from 'node:path';
import ts from 'typescript';

import { outcomeOf, type Check, type CheckOutcome, type Problem } from './check.ts';
import { runCommand } from './command.ts';
import { PLANES } from './planes.ts';
import { listFiles, readWorkspace, type Project } from './workspace.ts';

/** Every file is compiled by a tsconfig of its project, cores without any environment, and all of that compiles. */
export const typecheck: Check = {
  name: 'typecheck',
  purpose: 'every file compiles, cores without any environment',
  run: checkTypes,
};

async function checkTypes(root: string): Promise<CheckOutcome> {
  const { ok, output } = await runCommand(root, 'nx', ['run-many', '-t', 'typecheck', '--output-style=static']);
  const errors = ok ? [] : compilerErrors(root, output);
  const outcome = outcomeOf([...coverageProblems(root), ...errors]);
  return ok || errors.length > 0 ? outcome : { kind: 'failed', output };
}

/** Projects compile the sources of their libraries as well, so each error is there several times, under other paths. */
function compilerErrors(root: string, output: string): readonly Problem[] {
  const folders = new Map(readWorkspace(root).projects.map(({ name, folder }) => [name, folder]));
  const problems: Problem[] = [];
  let folder = '';
  for (const line of output.split('\n')) {
    const project = /^> nx run (\S+):typecheck/.exec(line)?.[1];
    if (project !== undefined) folder = folders.get(project) ?? '';
    const [, file, at, message] = /^([^\s(]+)\((\d+),\d+\): (error .*)$/.exec(line) ?? [];
    if (file !== undefined && message !== undefined) {
      problems.push({ file: posix.join(folder, file), line: Number(at), message });
    }
  }
  return problems;
}

/** What the compiler would not see. */
function coverageProblems(root: string): readonly Problem[] {
  const files = listFiles(root).filter((file) => file.endsWith('.ts'));
  return readWorkspace(root).projects.flatMap((project) => {
    const configs = globSync('tsconfig*.json', { cwd: join(root, project.folder) }).sort();
    const parsed = configs.map((name) => parse(root, `${project.folder}/${name}`));
    const compiled = new Set(parsed.flatMap(({ fileNames }) => fileNames.map((file) => relative(root, file))));
    const missing = files
      .filter((file) => file.startsWith(`${project.folder}/`) && !compiled.has(file))
      .map((file) => ({ file, message: `no tsconfig of ${project.folder} includes it` }));
    return [...missing, ...environmentProblems(project, parsed[0])];
  });
}

function parse(root: string, file: string): ts.ParsedCommandLine {
  const { config } = ts.readConfigFile(join(root, file), (path) => ts.sys.readFile(path)) as { config: unknown };
  return ts.parseJsonConfigFileContent(config, ts.sys, join(root, file, '..'));
}

/** A core's timers, console, process and node:* do not compile. */
function environmentProblems({ folder, kind }: Project, main: ts.ParsedCommandLine | undefined): readonly Problem[] {
  if (kind === undefined || PLANES.get(kind)?.external !== false) return [];
  const file = `${folder}/tsconfig.json`;
  const { types, lib } = main?.options ?? {};
  const pure = types?.length === 0 && lib?.length === 1 && /^lib\.es20\d\d\.d\.ts$/.test(lib[0] ?? '');
  return pure ? [] : [{ file, message: `a ${kind} compiles with "types": [] and "lib": ["ES2022"]` }];
}
