import { duration } from '@xylem/matrix';
import type { HostTools } from '../config.ts';
import type { Deployment, ProxyPart } from '../deployment.ts';
import { DOMAIN } from '../layout.ts';
import { Observer } from '../observer.ts';
import { ServiceFailure, describeExit } from '../processes/service.ts';
import type { Service } from '../processes/service.ts';
import { STEPS } from './steps.ts';

/** From the moment the processes are up. */
const DEADLINE_MS = 60_000;
const STEP_DEADLINE_MS = 30_000;

/** Puts real traffic and faults through the deployment. Resolves with whether everything worked; says what it found. */
export async function runCheck(
  deployment: Deployment,
  tools: HostTools,
  say: (line: string) => void,
): Promise<boolean> {
  const started = performance.now();
  await deployment.start();
  const up = performance.now();
  const services = deployment.services();
  say(line('ok', 'deployment up', `${services.length} processes, ${duration(up - started)}`));

  const observer = new Observer(deployment.user, deployment.doors.access, DOMAIN);
  const ended = new Set<Service>();
  const expectEnd = (part: ProxyPart): void => void ended.add(part.service);
  for (const { name, run } of STEPS) {
    const left = Math.min(STEP_DEADLINE_MS, DEADLINE_MS - (performance.now() - up));
    try {
      const figures = await within(left, run({ deployment, observer, tools, expectEnd }), () =>
        surprise(deployment, ended),
      );
      say(line(figures.startsWith('skipped') ? 'skip' : 'ok', name, figures));
    } catch (error) {
      say(line('FAIL', name, error instanceof Error ? error.message : String(error)));
      if (!(error instanceof ServiceFailure)) for (const text of troubled(deployment, ended)) say(text);
      return false;
    }
  }
  const stopping = performance.now();
  const killed = await deployment.stop();
  if (killed.length > 0) {
    say(line('FAIL', 'everything stopped', `${killed.join(', ')} had to be killed`));
    return false;
  }
  say(line('ok', 'everything stopped', `in order, ${duration(performance.now() - stopping)}`));
  say('');
  say(`All ${STEPS.length + 2} checks passed, ${duration(performance.now() - up)} after the processes were up.`);
  return true;
}

const STATE_WIDTH = 4;
const NAME_WIDTH = 30;

function line(state: 'ok' | 'skip' | 'FAIL', name: string, figures: string): string {
  return `  ${state.padEnd(STATE_WIDTH)}  ${name.padEnd(NAME_WIDTH)}  ${figures}`;
}

/** The step's result, unless it takes too long or a process ends that should not. */
async function within(deadlineMs: number, step: Promise<string>, watch: () => Promise<never>): Promise<string> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`took longer than ${duration(deadlineMs)}`)), deadlineMs);
  try {
    return await Promise.race([step, late.promise, watch()]);
  } finally {
    clearTimeout(timer);
  }
}

/** Rejects when a process ends by itself. */
function surprise(deployment: Deployment, expected: ReadonlySet<Service>): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  for (const service of deployment.services()) {
    void service.exited.then((exit) => {
      if (!expected.has(service) && !deployment.stopping) reject(service.failure(`${describeExit(exit)}:`));
    });
  }
  return promise;
}

/** The last warnings and errors of everything that still runs. */
function troubled(deployment: Deployment, ended: ReadonlySet<Service>): string[] {
  const running = deployment.services().filter((service) => !ended.has(service));
  return running.map((service) => service.troubles()).filter((text) => text !== '');
}
