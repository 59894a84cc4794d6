import type { RootEvent } from '@xylem/discovery';
import type { SessionReply, StoreOperation } from '@xylem/membership';
import { linkEvent } from '../registry-messages.ts';

/** What a view tells the claim core, as RegistryLink puts it; undefined when it says nothing of claims. */
export function viewedClaims(reply: SessionReply): RootEvent | undefined {
  const event = linkEvent(0, reply);
  if (event?.type === 'viewReceived') {
    const { stamp, claims } = event.view;
    return { type: 'claimsObserved', stamp, claims, removed: [], complete: true };
  }
  if (event?.type !== 'viewDeltaReceived') return undefined;
  const { to, claims, removedClaims: removed } = event.delta;
  if (claims.length + removed.length === 0) return undefined;
  return { type: 'claimsObserved', stamp: to, claims, removed, complete: false };
}

/** A store operation for a person. */
export function describeOperation(operation: StoreOperation): string {
  if (operation.type === 'leaseGrant') return 'grant a lease';
  if (operation.type === 'leaseRevoke') return `revoke lease ${String(operation.lease)}`;
  if (operation.type === 'range') return 'list everything';
  const [step] = operation.success;
  if (step === undefined) return 'nothing';
  const guards = operation.compares.map(
    ({ key, target, equals }) => `${target}(${short(key)})==${short(String(equals))}`,
  );
  const under = step.type === 'put' && step.lease !== 0n ? ` under lease ${String(step.lease)}` : '';
  return `${step.type} ${short(step.key)}${under}${guards.length === 0 ? '' : ` if ${guards.join(', ')}`}`;
}

function short(text: string): string {
  return text.replace('/xylem/v1/', '');
}
