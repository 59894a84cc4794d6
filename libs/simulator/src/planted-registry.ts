import type { KeyValue, RegistryEffect, RegistryEvent, TxnOperation } from '@xylem/membership';
import { PRODUCTION, tapRegistry } from './cores.ts';
import type { Tap } from './cores.ts';
import type { PlantedBug } from './planted-tap.ts';

function registry(name: string, tap: () => Tap<RegistryEvent, RegistryEffect>): PlantedBug {
  return {
    name,
    overrides: { cores: { registry: (config, host) => tapRegistry(PRODUCTION.registry(config, host), tap()) } },
  };
}

/** Changes the transactions that a registry sends. */
function rewriteTxn(rewrite: (txn: TxnOperation) => TxnOperation): Tap<RegistryEvent, RegistryEffect> {
  return {
    effect: (effect) =>
      effect.type === 'request' && effect.request.type === 'txn'
        ? [{ ...effect, request: rewrite(effect.request) }]
        : [effect],
  };
}

function touches(txn: TxnOperation, type: 'put' | 'delete', area: string): boolean {
  return txn.success.some((step) => step.type === type && step.key.includes(`/${area}/`));
}

/** Mistakes of a registry; most of them have been made around etcd elsewhere. */
export const REGISTRY_BUGS: readonly PlantedBug[] = [
  registry('a release is not guarded by its token', () =>
    rewriteTxn((txn) => (touches(txn, 'delete', 'claims') ? { ...txn, compares: [] } : txn)),
  ),
  registry('a claim is written without any guard', () =>
    rewriteTxn((txn) =>
      touches(txn, 'put', 'claims')
        ? {
            ...txn,
            compares: [],
            success: txn.success.map((step) => (step.type === 'put' ? { ...step, lease: 0n } : step)),
          }
        : txn,
    ),
  ),
  registry('claims hang on no lease', () =>
    rewriteTxn((txn) =>
      touches(txn, 'put', 'claims')
        ? { ...txn, success: txn.success.map((step) => (step.type === 'put' ? { ...step, lease: 0n } : step)) }
        : txn,
    ),
  ),
  registry('the session key is not deleted', () =>
    rewriteTxn((txn) => ({
      ...txn,
      success: txn.success.filter((step) => !(step.type === 'delete' && step.key.includes('/sessions/'))),
    })),
  ),
  registry('a lost watch is resumed from now, not from where it was lost', () => {
    let opened = false;
    return {
      effect: (effect) => {
        if (effect.type !== 'openWatch') return [effect];
        const first = !opened;
        opened = true;
        return [first ? effect : { ...effect, fromRevision: 0n }];
      },
    };
  }),
  registry('compaction of a watch goes unnoticed', () => ({
    event: (event) => (event.type === 'watchCompacted' ? [] : [event]),
  })),
  {
    ...registry('a keepalive that names no lease is taken for success', () => ({
      event: (event) =>
        event.type === 'leaseKeptAlive' && event.ttlMs === 0 ? [{ ...event, ttlMs: 10_000 }] : [event],
    })),
    // The store goes silent for as long as a lease lives, and the news of the lapse comes late.
    shownBy: {
      seed: 4,
      faults: [
        { kind: 'store-watch-lag', at: 10_000, forMs: 25_000, victim: 0.99, other: 0 },
        { kind: 'store-down', at: 12_000, forMs: 10_000, victim: 0, other: 0 },
      ],
    },
  },
  registry('leases are never kept alive', () => ({
    effect: (effect) => (effect.type === 'keepAlive' ? [] : [effect]),
  })),
  registry('lease deadlines count from the receipt of the answer', () => ({
    event: (event, now) =>
      event.type === 'leaseKeptAlive'
        ? [{ ...event, sentAt: now, ttlMs: event.ttlMs === 0 ? 0 : event.ttlMs + 2_000 }]
        : [event],
  })),
  {
    ...registry('keys of one revision are taken for the same in every history', () => {
      const known = new Map<string, string>();
      const version = ({ key, modRevision }: KeyValue): string => `${key}@${String(modRevision)}`;
      const asKnown = (kv: KeyValue): KeyValue => ({ ...kv, value: known.get(version(kv)) ?? kv.value });
      return {
        event: (event) => {
          if (event.type === 'watchAdvanced') {
            for (const told of event.events) if (told.type === 'put') known.set(version(told.kv), told.kv.value);
          }
          if (event.type !== 'storeReplied' || event.outcome.status !== 'done') return [event];
          const { result } = event.outcome;
          if (result.type !== 'range') return [event];
          return [{ ...event, outcome: { ...event.outcome, result: { ...result, kvs: result.kvs.map(asKnown) } } }];
        },
      };
    }),
    // Restored to before the first epoch was written, then to after it: both histories wrote one key at one revision.
    shownBy: {
      seed: 3622,
      faults: [
        { kind: 'proxy-vanish', at: 22306, forMs: 92, victim: 0.089, other: 0.439 },
        { kind: 'proxy-vanish', at: 28235, forMs: 53, victim: 0.946, other: 0.805 },
        { kind: 'store-restore', at: 38662, forMs: 61, victim: 0.061, other: 0.206 },
        { kind: 'store-restore', at: 46489, forMs: 53, victim: 0.288, other: 0.873 },
      ],
    },
  },
];
