/** `npm run soak -- <renewals | load>`: what takes too long for CI, at full length, on real processes. Exit 0: it held. */
import { parseArgs } from 'node:util';
import { soakLoad } from './mixed-load.ts';
import { soakRenewals } from './renewals.ts';

const USAGE = `Usage: npm run soak -- <name> [options]
  renewals [--ttl 60s] [--count 30]   certificates of that life, each renewed that often under load; no connection is lost
  load [--for 10m]                    mixed load; no error, memory and open files stay level
Prints one JSON line with the figures.`;

const UNIT_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 };

class WrongUsage extends Error {}

/** `60s`, `10m`, `1h`. */
function durationMs(name: string, text: string): number {
  const [, amount = '', unit = ''] = /^([1-9]\d{0,5})([smh])$/.exec(text) ?? [];
  const unitMs = UNIT_MS[unit];
  if (unitMs === undefined) throw new WrongUsage(`--${name} ${text}: give a number and s, m or h, such as 60s.`);
  return Number(amount) * unitMs;
}

function wholeNumber(name: string, text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new WrongUsage(`--${name} ${text}: give a whole number from 1 to 99999.`);
  return Number(text);
}

function soak(): Promise<object> {
  const { values, positionals } = parseArgs({
    options: {
      ttl: { type: 'string', default: '60s' },
      count: { type: 'string', default: '30' },
      for: { type: 'string', default: '10m' },
    },
    allowPositionals: true,
  });
  const [name, ...rest] = positionals;
  if (rest.length > 0 || name === undefined) throw new WrongUsage('Name one soak.');
  if (name === 'renewals') return soakRenewals(durationMs('ttl', values.ttl), wholeNumber('count', values.count));
  if (name === 'load') return soakLoad(durationMs('for', values.for));
  throw new WrongUsage(`There is no soak "${name}".`);
}

try {
  console.log(JSON.stringify(await soak()));
} catch (error) {
  const misused = error instanceof WrongUsage || (error instanceof TypeError && 'code' in error);
  console.error(misused ? `${error.message}\n${USAGE}` : error);
  process.exitCode = misused ? 2 : 1;
}
