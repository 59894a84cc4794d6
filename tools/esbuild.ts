/** `npm run bundle [-- <app>...]`: one file per app, dist/<app>/main.mjs, for images. Without a name, all apps. */
import { dirname, relative } from 'node:path';

import { bundleApp, listApps } from './shipping/bundle.ts';

const root = dirname(import.meta.dirname);
const named = process.argv.slice(2);
try {
  for (const app of named.length > 0 ? named : listApps(root)) {
    const { file, bytes, external } = await bundleApp(root, app);
    const beside = external.length > 0 ? `, needs ${external.join(', ')} beside it` : '';
    console.log(`${relative(root, file)}  ${(bytes / 1000).toFixed(0)} kB${beside}`);
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
