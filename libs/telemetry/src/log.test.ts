import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { createLog } from './log.ts';
import type { Log } from './log.ts';
import { EVENT } from './names.ts';

function capture(level: 'debug' | 'info' = 'info'): { readonly log: Log; readonly lines: string[] } {
  const lines: string[] = [];
  const log = createLog({
    service: 'registry',
    instance: 'r1',
    level,
    destination: { write: (line) => void lines.push(line) },
    traceFields: () => undefined,
  });
  return { log, lines };
}

describe('log', () => {
  it('writes one JSON line with time, level, service, instance, event and fields', () => {
    const { log, lines } = capture();
    log
      .child({ proxy: 'p1' })
      .warn(EVENT.claimLost, { fencing_token: 12n, error: new Error('no', { cause: new Error('why') }) });
    log.debug(EVENT.gossipSent);
    assert.equal(lines.length, 1);
    const { time, ...rest }: Record<string, unknown> = JSON.parse(lines[0] ?? '');
    assert.ok(Math.abs(Date.parse(String(time)) - Date.now()) < 60_000);
    assert.deepEqual(rest, {
      level: 'warn',
      service: 'registry',
      instance: 'r1',
      proxy: 'p1',
      event: 'claim.lost',
      fencing_token: 12,
      error: { message: 'no', cause: { message: 'why' } },
    });
  });

  it('A24: stays one line of harmless text whatever a field holds', () => {
    const { log, lines } = capture();
    const nasty = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom('\n{"level":"error"}', '\u001b]52;c;AA\u0007', '\u202Eabc', '\u009b2J', '\u2028'),
    );
    fc.assert(
      fc.property(nasty, nasty, (name, value) => {
        lines.length = 0;
        log.info(EVENT.requestRejected, { [`x${name}`]: value, list: [value], deep: { value } });
        assert.equal(lines.length, 1);
        const [line] = lines;
        assert.match(line ?? '', /^[^\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]*\n$/u);
        assert.equal(JSON.parse(line ?? '').list[0], value);
      }),
    );
  });

  it('A25: redacts secrets by name and private keys by content', () => {
    const { log, lines } = capture();
    log.info(EVENT.tlsReloaded, {
      key: 'canary-1',
      tls: { key: 'canary-2' },
      authorization: 'Bearer canary-3',
      text: '-----BEGIN EC PRIVATE KEY-----\ncanary-4\n-----END EC PRIVATE KEY----- rest',
      cut: '-----BEGIN PRIVATE KEY-----\ncanary-5',
      fencing_token: 7,
    });
    assert.doesNotMatch(lines.join(), /canary/);
    const line: Record<string, unknown> = JSON.parse(lines[0] ?? '');
    assert.deepEqual([line['key'], line['text'], line['fencing_token']], ['[redacted]', '[redacted] rest', 7]);
  });

  it('bounds long texts', () => {
    const { log, lines } = capture();
    log.info(EVENT.requestRejected, { name: 'x'.repeat(1_000_000) });
    assert.ok((lines[0]?.length ?? 0) < 5_000);
  });
});
