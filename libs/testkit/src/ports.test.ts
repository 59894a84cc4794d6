import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { freePorts } from './ports.ts';

const COUNT = 120;
const SOURCE = `
  import { freePorts } from ${JSON.stringify(new URL('./ports.ts', import.meta.url).href)};
  console.log(JSON.stringify(await freePorts(${COUNT})));
  process.stdin.on('end', () => process.exit()).resume();
`;

test('no two processes that live at the same time are given the same port, nor one of them twice', async () => {
  const others = Array.from({ length: 3 }, () =>
    spawn(process.execPath, ['--input-type=module', '-e', SOURCE], { stdio: ['pipe', 'pipe', 'inherit'] }),
  );
  const printed = others.map(async ({ stdout }) => {
    const [line]: unknown[] = await once(stdout.setEncoding('utf8'), 'data');
    return JSON.parse(String(line)) as readonly number[];
  });
  const given = (await Promise.all([freePorts(COUNT), freePorts(COUNT), ...printed])).flat();
  for (const { stdin } of others) stdin.end();
  await Promise.all(others.map(({ stdout }) => text(stdout)));
  assert.equal(new Set(given).size, 5 * COUNT);
  assert.ok(given.every((port) => port >= 20_000 && port < 32_000));
});

test('a port that somebody listens on is passed over', async () => {
  const [next = 0] = await freePorts(1);
  const server = createServer().listen(next + 1, '127.0.0.1');
  await once(server, 'listening');
  assert.ok(!(await freePorts(10)).includes(next + 1));
  server.close();
});
