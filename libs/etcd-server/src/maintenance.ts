import { etcd } from '@xylem/wire';
import type { HeaderOf } from './convert.ts';
import type { Engine } from './engine.ts';
import type { StoreIdentity } from './file.ts';

/** Told to clients that ask; they take it for the level of the API, which is etcd 3.5's. */
const VERSION = '3.5.0+xylem';

export interface MemberInfo {
  readonly identity: StoreIdentity;
  readonly name: string;
  /** URL of the API; known once the server listens. */
  readonly endpoint: () => string;
  readonly fileBytes: () => number;
}

/** A cluster of one member, which is its leader. */
export function clusterHandlers({ identity, name, endpoint }: MemberInfo, headerOf: HeaderOf): etcd.ClusterServer {
  return {
    memberList: (_call, callback) => {
      const member = { ID: identity.memberId, name, peerURLs: [], clientURLs: [endpoint()], isLearner: false };
      callback(null, { header: headerOf(0n), members: [member] });
    },
  };
}

export function maintenanceHandlers(engine: Engine, info: MemberInfo, headerOf: HeaderOf): etcd.MaintenanceServer {
  const { memberId } = info.identity;
  return {
    /** Lists alarms; raising and clearing them is left to what they are about. */
    alarm: (_call, callback) => {
      const alarms = engine.store.isFull ? [{ memberID: memberId, alarm: etcd.AlarmType.NOSPACE }] : [];
      callback(null, { header: headerOf(engine.store.revision), alarms });
    },
    status: (_call, callback) => {
      const { revision, sizeBytes } = engine.store;
      const header = headerOf(revision);
      callback(null, {
        header,
        version: VERSION,
        dbSize: BigInt(info.fileBytes()),
        dbSizeInUse: BigInt(sizeBytes),
        leader: memberId,
        raftIndex: revision,
        raftAppliedIndex: revision,
        raftTerm: header.raftTerm,
        errors: engine.failure === undefined ? [] : [engine.failure.message],
        isLearner: false,
      });
    },
  };
}
