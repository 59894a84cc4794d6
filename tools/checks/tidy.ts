import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { outcomeOf, type Check, type Problem } from './check.ts';
import { codeProblems } from './code-rules.ts';
import { fileName, isCode, isTestCode, listFiles, readWorkspace } from './workspace.ts';

const MAX_LINES = 500;
const MAX_TEST_LINES = 900;
const MAX_MAIN_LINES = 60;
/** `leaf-pool`, `leaf-pool.property.test` */
const KEBAB_CASE = /^[a-z0-9]+(?:[-.][a-z0-9]+)*$/;
const EMPTY_NAMES = new Set(['util', 'utils', 'helper', 'helpers', 'manager', 'managers', 'misc']);
const UNFINISHED = /\b(?:TODO|FIXME)\b/;
const MACHINE_PATH = /(?<![\w.~-])\/(?:work|root|home\/[a-z][\w-]*)\//;
/** What is built into an image may name that image's folders. */
const IN_IMAGES = /^deploy\//;
/** The texts that state these rules. */
const STATES_THE_RULES = new Set(['tools/checks/tidy.ts', 'tools/checks/tidy.test.ts', 'docs/HACKING.md']);

/** Sizes, names and what must not be left behind. */
export const tidy: Check = {
  name: 'tidy',
  purpose: 'file sizes and names, nothing unfinished, pure cores, one index.ts per library',
  run: async (root) => outcomeOf(tidyProblems(root)),
};

function tidyProblems(root: string): readonly Problem[] {
  const { projects } = readWorkspace(root);
  const files = listFiles(root);
  const perFile = files.flatMap((file) => {
    const text = readText(join(root, file));
    if (text === undefined) return [];
    const project = projects.find(({ folder }) => file.startsWith(`${folder}/`));
    const inCode = isCode(file)
      ? [...nameProblems(file), ...sizeProblems(file, text), ...codeProblems(file, text, project)]
      : [];
    return [...inCode, ...textProblems(file, text)];
  });
  const indexes = projects
    .filter(({ folder }) => folder.startsWith('libs/') && !files.includes(`${folder}/src/index.ts`))
    .map(({ folder }) => ({ file: `${folder}/src/index.ts`, message: 'every library has one' }));
  return [...perFile, ...indexes];
}

function nameProblems(file: string): readonly Problem[] {
  const problems: Problem[] = [];
  for (const part of file.split('/')) {
    if (part.startsWith('.')) continue;
    const words = part.replace(/\.[a-z]+$/, '');
    if (!KEBAB_CASE.test(words)) problems.push({ file, message: `${part} is not kebab-case` });
    const empty = words.split(/[-.]/).find((word) => EMPTY_NAMES.has(word));
    if (empty !== undefined) problems.push({ file, message: `"${empty}" says nothing; name it after what it does` });
  }
  return problems;
}

function sizeProblems(file: string, text: string): readonly Problem[] {
  const lines = text.split('\n').length - 1;
  const limit = isTestCode(file) ? MAX_TEST_LINES : fileName(file) === 'main.ts' ? MAX_MAIN_LINES : MAX_LINES;
  return lines > limit ? [{ file, message: `has ${lines} lines, ${limit} is the end; split it` }] : [];
}

function textProblems(file: string, text: string): readonly Problem[] {
  if (STATES_THE_RULES.has(file)) return [];
  return text.split('\n').flatMap((content, index) => {
    const at = { file, line: index + 1 };
    const unfinished = UNFINISHED.exec(content);
    const path = IN_IMAGES.test(file) ? null : MACHINE_PATH.exec(content);
    return [
      ...(unfinished ? [{ ...at, message: `${unfinished[0]}: finish it or file an issue` }] : []),
      ...(path ? [{ ...at, message: `${path[0]} is a path of one machine` }] : []),
    ];
  });
}

/** undefined for what is not text. */
function readText(path: string): string | undefined {
  const bytes = readFileSync(path);
  return bytes.includes(0) ? undefined : bytes.toString('utf8');
}
