import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { runScenario } from './scenario.ts';

const FOLDER = join(import.meta.dirname, '../../scenarios');

for (const file of readdirSync(FOLDER).sort()) {
  test(`scenario ${file.replace('.txt', '').replaceAll('-', ' ')}`, () => {
    const path = join(FOLDER, file);
    const golden = readFileSync(path, 'utf8');
    const actual = runScenario(golden);
    if (process.env['UPDATE'] === '1') writeFileSync(path, actual);
    else assert.equal(actual, golden, `run with UPDATE=1 and read the diff of ${file}`);
  });
}
