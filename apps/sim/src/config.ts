import { STRATEGIES } from '@xylem/discovery/strategies';
import { loadConfig } from '@xylem/service';
import type { ConfigInput, ConfigOutcome } from '@xylem/service';
import { BALANCER_POLICIES, GUARD_NAMES } from '@xylem/simulator';
import * as z from 'zod';

const schema = z.strictObject({
  seed: z.coerce
    .number()
    .int()
    .min(0)
    .max(0xffff_ffff)
    .default(1)
    .describe('the seed to run, or the first of --seeds; hexadecimal with 0x'),
  seeds: z.coerce.number().int().min(1).max(10_000_000).default(1).describe('how many seeds, from --seed on'),
  trace: z.boolean().default(false).describe('print what every process did, in columns'),
  json: z.boolean().default(false).describe('print the summary as one line of JSON'),
  planted: z
    .boolean()
    .default(false)
    .describe('plant one bug after the other, and show which promise catches it at which seed (--seeds each at most)'),
  compare: z
    .boolean()
    .default(false)
    .describe('run every strategy behind every balancer, and write the table into docs/SIMULATION.md'),
  shrink: z
    .boolean()
    .default(false)
    .describe('reduce the failure of --seed to the faults that cause it, and keep it as a regression'),
  explore: z
    .boolean()
    .default(false)
    .describe(
      'visit every state of a small deployment of the claim cores, and write the table into docs/SIMULATION.md',
    ),
  without: z
    .enum(GUARD_NAMES)
    .optional()
    .describe('with --explore: leave this guard out, and show the shortest way to what breaks'),
  states: z.coerce
    .number()
    .int()
    .min(1)
    .max(5_000_000)
    .default(250_000)
    .describe('with --explore: states to visit, at most (4 KB of memory each)'),
  scale: z
    .boolean()
    .default(false)
    .describe(
      'very many agents: cold start, one root proxy drained, one killed; write the table into docs/SIMULATION.md',
    ),
  agents: z.coerce
    .number()
    .int()
    .min(1)
    .max(50_000)
    .default(10_000)
    .describe('with --scale: leaf clusters of one agent each'),
  proxies: z.coerce.number().int().min(2).max(100).default(20).describe('with --scale: root proxies'),
  rate: z.coerce
    .number()
    .int()
    .min(1)
    .max(100_000)
    .optional()
    .describe(
      'with --scale: handshakes a second that a root proxy begins (default: once without a limit, once with 500)',
    ),
  html: z
    .string()
    .min(1)
    .optional()
    .describe('draw the run of --seed as a timeline into this file; with --article, a folder'),
  article: z
    .boolean()
    .default(false)
    .describe("draw the article's three timetables as timelines into the folder of --html"),
  strategy: z
    .enum(STRATEGIES)
    .default('stamped')
    .describe('the protocol that agents follow; all but stamped are there to be compared with'),
  balancer: z.enum(BALANCER_POLICIES).optional().describe('how connections are spread (default: drawn from the seed)'),
});

const checked = schema.refine(({ article, html }) => !article || html !== undefined, {
  path: ['html'],
  message: '--article needs a folder to draw into',
});

export type SimConfig = z.output<typeof schema>;

export function readConfig(input: ConfigInput): ConfigOutcome<SimConfig> {
  const summary = 'Runs whole deployments in virtual time, with faults, and checks every promise after every step.';
  return loadConfig({ service: 'npm run sim --', version: '0.1.0', summary, schema: checked }, input);
}
