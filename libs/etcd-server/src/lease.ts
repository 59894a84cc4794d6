import type { ServerDuplexStream } from '@grpc/grpc-js';
import type { etcd } from '@xylem/wire';
import type { HeaderOf } from './convert.ts';
import { fromKey } from './convert.ts';
import { StorageError } from './engine.ts';
import type { Engine } from './engine.ts';
import { answer } from './kv.ts';
import { toServiceError } from './streams.ts';
import type { OpenStreams } from './streams.ts';

export function leaseHandlers(engine: Engine, headerOf: HeaderOf, streams: OpenStreams): etcd.LeaseServer {
  const header = (): etcd.ResponseHeader => headerOf(engine.store.revision);
  return {
    leaseGrant: ({ request: { ID, TTL } }, callback) => {
      answer(
        engine,
        callback,
        (store, now) => store.grantLease(ID, TTL, now),
        ({ id, ttlSeconds }) => ({ header: header(), ID: id, TTL: ttlSeconds, error: '' }),
      );
    },
    leaseRevoke: ({ request }, callback) => {
      answer(
        engine,
        callback,
        (store, now) => store.revokeLease(request.ID, now),
        (revision) => ({ header: headerOf(revision) }),
      );
    },
    leaseKeepAlive: (call) => {
      streams.add(call);
      keepAlive(engine, header, call);
    },
    leaseTimeToLive: ({ request: { ID, keys } }, callback) => {
      answer(
        engine,
        callback,
        (store, now) => ({ lease: store.leaseTimeToLive(ID, now) }),
        ({ lease }) => ({
          header: header(),
          ID,
          // Whole seconds, rounded down; -1: no such lease.
          TTL: lease === undefined ? -1n : BigInt(Math.floor(lease.remainingMs / 1_000)),
          grantedTTL: lease?.ttlSeconds ?? 0n,
          keys: keys ? (lease?.keys ?? []).map(fromKey) : [],
        }),
      );
    },
    leaseLeases: (_call, callback) => {
      answer(
        engine,
        callback,
        (store, now) => store.leases(now),
        (ids) => ({ header: header(), leases: ids.map((ID) => ({ ID })) }),
      );
    },
  };
}

/** Answers each keepalive in order; reads no further while the client does not take its answers. */
function keepAlive(
  engine: Engine,
  header: () => etcd.ResponseHeader,
  call: ServerDuplexStream<etcd.LeaseKeepAliveRequest, etcd.LeaseKeepAliveResponse>,
): void {
  let open = true;
  call.on('data', ({ ID }: etcd.LeaseKeepAliveRequest) => {
    engine.execute(
      (store, now) => store.keepLeaseAlive(ID, now),
      (lease) => {
        if (!open) return;
        if (lease instanceof StorageError) return void call.emit('error', toServiceError(lease));
        const wrote = call.write({ header: header(), ID, TTL: lease?.ttlSeconds ?? 0n });
        if (!wrote) call.pause();
      },
    );
  });
  call.on('drain', () => call.resume());
  const close = (): void => {
    open = false;
  };
  call.on('cancelled', close);
  call.on('error', close);
  // Answers still under way are given first: they are before this in the engine's order.
  call.on('end', () => {
    const end = (): void => {
      if (open) call.end();
    };
    engine.execute(() => undefined, end);
  });
}
