import type { GrpcServer } from '@xylem/grpc';
import type { RegistryReport, StoreOperation, StoreOutcome } from '@xylem/membership';
import { EVENT, METRIC } from '@xylem/telemetry';
import type { Telemetry } from '@xylem/telemetry';
import type { Replica, ReplicaOptions } from './replica.ts';

const MS_PER_SECOND = 1_000;

/** Turns what the replica tells into log lines, metrics and the health status. */
export class Observer {
  readonly #telemetry: Telemetry;
  readonly #whenReady = Promise.withResolvers<void>();
  #server: GrpcServer | undefined;
  #ready = false;

  constructor(telemetry: Telemetry) {
    this.#telemetry = telemetry;
  }

  get hooks(): Pick<ReplicaOptions, 'onReport' | 'onOperation' | 'onReady' | 'onWatchLost'> {
    return {
      onReport: (report) => this.#report(report),
      onOperation: (operation, outcome, tookMs) => this.#operation(operation, outcome, tookMs),
      onReady: (ready) => this.#readyChanged(ready),
      onWatchLost: (detail) => {
        this.#telemetry.metrics.counter(METRIC.watchRestarts, { cause: 'lost' }).add();
        this.#telemetry.log.info(EVENT.watchRestarted, { detail });
      },
    };
  }

  attach(replica: Replica, server: GrpcServer): void {
    const { metrics } = this.#telemetry;
    this.#server = server;
    server.setServing(this.#ready);
    metrics.observe(
      METRIC.sessions,
      () => replica.status().sessions.filter(({ state }) => state === 'attached').length,
    );
    metrics.observe(METRIC.members, () => replica.status().members);
    metrics.observe(METRIC.viewRevision, () => Number(replica.status().stamp?.revision ?? 0n));
    metrics.observe(METRIC.storeReachable, () => (replica.status().ready ? 1 : 0));
  }

  whenReady(): Promise<void> {
    return this.#whenReady.promise;
  }

  #readyChanged(ready: boolean): void {
    this.#ready = ready;
    this.#server?.setServing(ready);
    if (ready) this.#whenReady.resolve();
  }

  #operation(operation: StoreOperation['type'], result: StoreOutcome['status'], tookMs: number): void {
    this.#telemetry.metrics.counter(METRIC.storeOperations, { operation, result }).add();
    this.#telemetry.metrics.histogram(METRIC.storeSeconds, { operation }).record(tookMs / MS_PER_SECOND);
  }

  #report(report: RegistryReport): void {
    const { log, metrics } = this.#telemetry;
    switch (report.type) {
      case 'registered':
        return log.info(EVENT.memberRegistered, { ...report });
      case 'sessionEnded':
        metrics.counter(METRIC.sessionEnds, { reason: report.reason }).add();
        return log.info(EVENT.sessionClosed, { ...report });
      case 'refused':
        return log.warn(EVENT.sessionRefused, { ...report });
      case 'evicted':
        return log.warn(EVENT.memberExpired, { ...report });
      case 'left':
        return log.info(EVENT.memberLeft, { ...report });
      case 'drained':
        return log.info(EVENT.memberDraining, { ...report });
      case 'claimed':
        return log.info(EVENT.claimRecorded, { ...report });
      case 'released':
        return log.info(EVENT.claimReleased, { ...report });
      case 'replicaLeaseLost':
        return log.warn(EVENT.leaseLost, { whose: 'this replica' });
      case 'storeAnswers':
        return log.info(EVENT.storeRecovered, { epoch: report.stamp.epoch, revision: report.stamp.revision });
      case 'storeFailing':
        return this.#storeFailing(report.detail);
      case 'storeRestored':
        return log.warn(EVENT.epochRaised, { detail: report.detail, epoch: report.epoch });
      case 'relisted':
        metrics.counter(METRIC.watchRestarts, { cause: 'relisted' }).add();
        return log.info(EVENT.watchRestarted, { detail: report.why });
      case 'malformedRecord':
        return log.error(EVENT.internalError, {
          where: report.key,
          detail: 'the record cannot be read and counts as absent',
        });
    }
  }

  #storeFailing(detail: string): void {
    const remedy = 'start the store or correct store.endpoints; this registry keeps trying';
    this.#telemetry.log.error(EVENT.storeUnreachable, { detail, remedy });
  }
}
