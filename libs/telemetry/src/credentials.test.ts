import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { credentialHooks } from './credentials.ts';
import { startTelemetry } from './telemetry.ts';

describe('telemetry of credentials', () => {
  it('says a refused renewal and an alarm as errors with the remedy, and counts them', async () => {
    const lines: string[] = [];
    const telemetry = startTelemetry({
      service: 'test',
      instance: 't1',
      version: '1',
      logLevel: 'info',
      logDestination: { write: (line) => void lines.push(line) },
    });
    const hooks = credentialHooks(telemetry);
    let alarmed = false;
    hooks.observe({ notAfterMs: () => Date.now() + 5_000, renewal: () => ({ generation: 7, status: { alarmed } }) });
    hooks.onNews({ kind: 'renewed', facts: { identity: 'proxy/p1', generation: 7, notAfterMs: 0 } });
    hooks.onNews({ kind: 'renewal-refused', detail: 'locked; xylem identities unlock' });
    hooks.onNews({ kind: 'alarm-raised', remainingMs: 20_000.4, detail: 'locked' });
    alarmed = true;
    const shown = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    assert.deepEqual(
      shown.map(({ level, event }) => `${String(level)} ${String(event)}`),
      ['info identity.renewed', 'error identity.renewal_refused', 'error identity.alarm_raised'],
    );
    assert.deepEqual([shown[0]?.['notAfter'], shown[2]?.['remainingMs']], ['1970-01-01T00:00:00.000Z', 20_000]);
    const rendered = await telemetry.metrics.render();
    assert.match(rendered, /^xylem_identity_alarm 1$/m);
    assert.match(rendered, /^xylem_identity_generation 7$/m);
    assert.match(rendered, /^xylem_identity_renewals_total\{result="refused"\} 1$/m);
    assert.match(rendered, /^xylem_certificate_expiry_seconds [45]/m);
    await telemetry.shutdown();
  });
});
