import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { EXIT } from '@xylem/service';
import { runCheck } from './check/run.ts';
import { findTools } from './config.ts';
import type { DemoConfig } from './config.ts';
import { Deployment } from './deployment.ts';
import { LiveView } from './live.ts';
import { lockDirectory } from './lock.ts';
import { REPOSITORY } from './paths.ts';
import type { LogLine } from './processes/service.ts';

const say = (line: string): void => void process.stdout.write(`${line}\n`);

/** Starts a deployment, shows or checks it, and ends it. Resolves with the exit status. */
export async function demo(config: DemoConfig): Promise<number> {
  const temporary = config.check && config.dir === undefined;
  const directory = temporary
    ? mkdtempSync(join(tmpdir(), 'xylem-check-'))
    : resolve(config.dir ?? join(REPOSITORY, '.xylem', 'demo'));
  const unlock = lockDirectory(directory);
  let onLine: (line: LogLine) => void = () => {};
  let onReady: (name: string) => void = () => {};
  const tools = findTools();
  const deployment = await Deployment.prepare({
    directory,
    preferDefaults: !config.check,
    tools,
    onLine: (line) => {
      if (config.verbose)
        say(`${line.service} ${JSON.stringify({ event: line.event, level: line.level, ...line.fields })}`);
      else onLine(line);
    },
    onReady: (name) => onReady(name),
  });
  const stopped = trapSignals(deployment);
  let keep = true;
  try {
    if (config.check) {
      say('Checking a whole deployment on this machine');
      const passed = await Promise.race([runCheck(deployment, tools, say), stopped]);
      if (passed === 'interrupted') say('Interrupted; ending everything');
      keep = passed === false || !temporary;
      if (keep) say(`  Everything that was logged is in ${directory}`);
      return passed === true ? EXIT.ok : EXIT.operating;
    }
    const view = new LiveView(deployment, process.cwd());
    onLine = (line) => view.line(line);
    say(`A root cluster behind a load balancer, and two leaf clusters behind their firewalls: berlin and tokyo.`);
    say(`State and logs: ${relative(process.cwd(), directory)}`);
    process.stdout.write('Ready:');
    onReady = (name) => process.stdout.write(` ${name}`);
    const started = deployment.start().finally(() => {
      onReady = () => {};
      say('\n');
    });
    await Promise.race([started.then(() => view.run()), stopped]);
    say('Ending everything');
    return EXIT.ok;
  } finally {
    await deployment.stop();
    unlock();
    if (!keep) rmSync(directory, { recursive: true, force: true });
  }
}

/** Resolves at the first signal; the second ends this process, and thereby all others. */
function trapSignals(deployment: Deployment): Promise<'interrupted'> {
  const { promise, resolve: stop } = Promise.withResolvers<'interrupted'>();
  let signals = 0;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      signals += 1;
      if (signals > 1) for (const service of deployment.services()) service.kill('SIGKILL');
      if (signals > 1) process.exit(EXIT.operating);
      stop('interrupted');
    });
  }
  return promise;
}
