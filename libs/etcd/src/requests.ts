import type { StoreOperation, StoreOutcome, StoreResult, StoreHeader } from '@xylem/membership';
import { noop } from 'cockatiel';
import { Etcd3 } from 'etcd3';
import type { IOptions } from 'etcd3';
import { CHANNEL_OPTIONS, EndpointRing, isSecure } from './endpoints.ts';
import type { Endpoint, EtcdTls } from './endpoints.ts';
import { failureOf } from './outcome.ts';
import { header, keyValue, txnRequest, txnResult } from './translate.ts';

/**
 * Unary calls through etcd3. Its fault handling is off, because it repeats transactions whose outcome is unknown and
 * holds calls back for 5 s after three failures; its client spans one endpoint each, because it picks hosts at random
 * and so keeps asking a dead one. Every call has a deadline.
 */
export class StoreRequests {
  readonly #clients: readonly Etcd3[];
  readonly #ring: EndpointRing;
  #closed = false;

  constructor(endpoints: readonly Endpoint[], tls: EtcdTls | undefined) {
    this.#ring = new EndpointRing(endpoints);
    this.#clients = endpoints.map((endpoint) => new Etcd3(options(endpoint, tls)));
  }

  /** Never rejects. */
  async run(operation: StoreOperation, timeoutMs: number): Promise<StoreOutcome> {
    const { index, current } = this.#ring;
    const client = this.#clients[index];
    if (client === undefined || this.#closed)
      return { status: 'failed', cause: 'unavailable', detail: 'the store client is closed' };
    try {
      const done = await execute(client, operation, { deadline: Date.now() + timeoutMs });
      return { status: 'done', ...done };
    } catch (error) {
      const failure = failureOf(error, current.url);
      if (failure.status === 'unknown' || failure.cause === 'unavailable') this.#ring.failed(index);
      return failure;
    }
  }

  close(): void {
    this.#closed = true;
    for (const client of this.#clients) client.close();
  }
}

interface Done {
  readonly header: StoreHeader;
  readonly result: StoreResult;
}

async function execute(client: Etcd3, operation: StoreOperation, call: { readonly deadline: number }): Promise<Done> {
  switch (operation.type) {
    case 'txn': {
      const response = await client.kv.txn(txnRequest(operation), call);
      return { header: header(response.header), result: txnResult(response) };
    }
    case 'range': {
      const response = await client.kv.range(
        {
          key: Buffer.from(operation.key),
          range_end: Buffer.from(operation.end),
          revision: operation.revision.toString(),
          limit: operation.limit,
        },
        call,
      );
      const result = { type: 'range', kvs: response.kvs.map(keyValue), more: response.more } as const;
      return { header: header(response.header), result };
    }
    case 'leaseGrant': {
      const response = await client.leaseClient.leaseGrant({ TTL: Math.ceil(operation.ttlMs / 1_000) }, call);
      const result = { type: 'leaseGrant', lease: BigInt(response.ID), ttlMs: Number(response.TTL) * 1_000 } as const;
      return { header: header(response.header), result };
    }
    case 'leaseRevoke': {
      const response = await client.leaseClient.leaseRevoke({ ID: operation.lease.toString() }, call);
      return { header: header(response.header), result: { type: 'leaseRevoke' } };
    }
  }
}

function options(endpoint: Endpoint, tls: EtcdTls | undefined): IOptions {
  const common: IOptions = {
    hosts: endpoint.url.replace(/\/$/, ''),
    grpcOptions: CHANNEL_OPTIONS,
    faultHandling: { global: noop, host: () => noop },
  };
  if (tls === undefined || !isSecure([endpoint])) return common;
  const { ca, cert, key } = tls;
  const credentials = {
    rootCertificate: Buffer.from(ca),
    ...(key === undefined ? {} : { privateKey: Buffer.from(key) }),
    ...(cert === undefined ? {} : { certChain: Buffer.from(cert) }),
  };
  return { ...common, credentials };
}
