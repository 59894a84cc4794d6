import { globSync, readFileSync } from 'node:fs';
import { basename, join, sep } from 'node:path';

/** One npm workspace. */
export interface Project {
  readonly name: string;
  /** Relative to the repository's root, with `/`. */
  readonly folder: string;
  /** The value of its `kind:` tag; undefined where it has none, or several. */
  readonly kind: string | undefined;
  readonly dependencies: ReadonlySet<string>;
  readonly devDependencies: ReadonlySet<string>;
  /** Every specifier by which others may import it, e.g. `@xylem/pool` and `@xylem/pool/extras`. */
  readonly entries: ReadonlySet<string>;
}

/** The repository as its package.json files describe it. */
export interface Workspace {
  readonly root: string;
  readonly projects: readonly Project[];
  readonly rootDevDependencies: ReadonlySet<string>;
}

/** The part of a package.json that checks look at. */
interface PackageJson {
  readonly name?: string;
  readonly workspaces?: readonly string[];
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly exports?: Readonly<Record<string, string>>;
  readonly nx?: { readonly tags?: readonly string[] };
}

const NEVER_OURS = ['**/node_modules/**', '.git/**', '.nx/**', '.xylem/**', '**/dist/**', 'coverage/**'];
const GENERATED = 'libs/wire/src/gen/';
const TEST_FOLDER = /\/(?:src\/testing|e2e|bench)\//;

export function readWorkspace(root: string): Workspace {
  const main = readPackage(root, '');
  const folders = globSync([...(main.workspaces ?? [])], { cwd: root })
    .map(withSlashes)
    .sort();
  return {
    root,
    projects: folders.filter((folder) => hasPackage(root, folder)).map((folder) => readProject(root, folder)),
    rootDevDependencies: new Set(Object.keys(main.devDependencies ?? {})),
  };
}

function readProject(root: string, folder: string): Project {
  const { name, nx, dependencies, devDependencies, exports } = readPackage(root, folder);
  const kinds = (nx?.tags ?? []).filter((tag) => tag.startsWith('kind:')).map((tag) => tag.slice('kind:'.length));
  return {
    name: name ?? folder,
    folder,
    kind: kinds.length === 1 ? kinds[0] : undefined,
    dependencies: new Set(Object.keys(dependencies ?? {})),
    devDependencies: new Set(Object.keys(devDependencies ?? {})),
    entries: new Set(Object.keys(exports ?? {}).map((path) => `${name ?? folder}${path.slice(1)}`)),
  };
}

function hasPackage(root: string, folder: string): boolean {
  return globSync('package.json', { cwd: join(root, folder) }).length === 1;
}

function readPackage(root: string, folder: string): PackageJson {
  return JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8')) as PackageJson;
}

/** Every file of the repository that somebody wrote, relative to its root, sorted. */
export function listFiles(root: string): readonly string[] {
  const files = globSync('**/*', { cwd: root, exclude: NEVER_OURS, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => withSlashes(join(entry.parentPath, entry.name).slice(root.length + 1)));
  return files.filter((file) => file !== 'package-lock.json' && !file.startsWith(GENERATED)).sort();
}

export function isCode(file: string): boolean {
  return /\.(?:ts|mts|mjs|js)$/.test(file);
}

/** Code that never ships: tests, what tests share, benches. */
export function isTestCode(file: string): boolean {
  return file.endsWith('.test.ts') || TEST_FOLDER.test(file);
}

export function fileName(file: string): string {
  return basename(file);
}

function withSlashes(path: string): string {
  return path.split(sep).join('/');
}
