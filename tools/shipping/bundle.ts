import { build } from 'esbuild';
import { existsSync, globSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** Loads its .proto files from beside itself at run time, so it has to be installed next to the bundle. */
const EXTERNAL = ['etcd3'];
/** grpc-js loads it only for channelz and ORCA, which nobody here serves; it would bring protobufjs along. */
const NEVER_LOADED = ['@grpc/proto-loader'];
/** Bundled CommonJS packages ask for Node's own modules with require(), which an ES module has to make itself. */
const REQUIRE = "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);";

export interface Bundle {
  readonly app: string;
  /** dist/<app>/main.mjs */
  readonly file: string;
  readonly bytes: number;
  /** Packages that have to be installed beside the bundle. */
  readonly external: readonly string[];
}

/** The apps of the repository that have a main(), sorted. */
export function listApps(root: string): readonly string[] {
  return globSync('apps/*/src/main.ts', { cwd: root })
    .map((file) => file.split('/')[1] ?? '')
    .sort();
}

/** Makes dist/<app>/main.mjs and its source map: everything that the app runs on except Node and `external`. */
export async function bundleApp(root: string, app: string, outFolder = join(root, 'dist', app)): Promise<Bundle> {
  const entry = join(root, 'apps', app, 'src', 'main.ts');
  if (!existsSync(entry)) throw new Error(`There is no app "${app}"; these are: ${listApps(root).join(', ')}.`);
  rmSync(outFolder, { recursive: true, force: true });
  const file = join(outFolder, 'main.mjs');
  const { metafile } = await build({
    entryPoints: [entry],
    outfile: file,
    bundle: true,
    platform: 'node',
    target: 'node24',
    format: 'esm',
    external: [...EXTERNAL, ...NEVER_LOADED],
    banner: { js: REQUIRE },
    minify: true,
    // Names stay, for stack traces and for errors that carry their class's name.
    keepNames: true,
    sourcemap: 'linked',
    sourcesContent: false,
    legalComments: 'linked',
    metafile: true,
    logLevel: 'silent',
  });
  const outputs = Object.values(metafile.outputs).find((output) => output.entryPoint !== undefined);
  const imported = new Set((outputs?.imports ?? []).flatMap(({ external, path }) => (external ? path : [])));
  return { app, file, bytes: outputs?.bytes ?? 0, external: EXTERNAL.filter((name) => imported.has(name)) };
}
