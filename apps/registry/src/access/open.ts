import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AuditLog } from '@xylem/audit';
import { problemText, readPolicy } from '@xylem/identity';
import { OperatingError } from '@xylem/service';
import { EVENT } from '@xylem/telemetry';
import type { Telemetry } from '@xylem/telemetry';
import type { AuthorityStore } from '../authority/store.ts';
import type { RegistrySettings } from '../config.ts';
import { PolicyInForce } from './in-force.ts';
import { Passwords } from './passwords.ts';
import type { PasswordCost } from './passwords.ts';
import { Policies } from './policies.ts';
import { Users } from './users.ts';

/** Who may do what: users, the policy, and both as they are in force. */
export interface Access {
  readonly users: Users;
  readonly passwords: Passwords;
  readonly policies: Policies;
  readonly inForce: PolicyInForce;
  /** Sets the first policy, as soon as the store answers. Idempotent. */
  start(): void;
  close(): void;
}

export interface AccessOptions {
  readonly settings: Pick<RegistrySettings, 'policy' | 'authority'>;
  readonly records: AuthorityStore;
  readonly audit: AuditLog;
  readonly telemetry: Telemetry;
  /** Cheaper in tests. */
  readonly passwordCost?: PasswordCost | undefined;
}

const RETRY_MS = 1_000;

/** Throws an OperatingError when `policy.file` holds no policy; every problem is listed with its place. */
export function openAccess({ settings, records, audit, telemetry, passwordCost }: AccessOptions): Access {
  const first = settings.policy?.file === undefined ? undefined : readFirstPolicy(settings.policy.file);
  const now = (): number => Date.now();
  const passwords = new Passwords(passwordCost);
  const policies = new Policies({ store: records, audit, now });
  const inForce = new PolicyInForce(records.mirror, {
    now,
    onUnreadable: (detail) => telemetry.log.error(EVENT.policyUnreadable, { detail }),
  });
  const closed = new AbortController();
  return {
    users: new Users({ store: records, passwords, audit, now, userTtlMs: settings.authority.userTtlMs }),
    passwords,
    policies,
    inForce,
    start() {
      if (first !== undefined) void setFirst(policies, first, telemetry, closed.signal);
    },
    close() {
      closed.abort();
      inForce.close();
    },
  };
}

function readFirstPolicy(file: string): string {
  const yaml = readFileSync(file, 'utf8');
  const outcome = readPolicy(yaml);
  if (outcome.ok) return yaml;
  throw new OperatingError(`policy.file ${file}: ${outcome.problems.map(problemText).join('; ')}`);
}

async function setFirst(policies: Policies, yaml: string, { log }: Telemetry, closed: AbortSignal): Promise<void> {
  for (let told = false; !closed.aborted; told = true) {
    try {
      if (await policies.initialise(yaml, 'policy.file')) log.info(EVENT.policySet, { version: 1, by: 'policy.file' });
      return;
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      if (!told && !closed.aborted) log.warn(EVENT.policyDelayed, { detail });
    }
    await sleep(RETRY_MS, undefined, { signal: closed }).catch(() => undefined);
  }
}
