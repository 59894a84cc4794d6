export { etcdctl, startEtcd, startEtcdCluster, startEtcdctl } from './etcd.ts';
export type { EtcdCluster, EtcdctlResult, EtcdOptions, EtcdProcess } from './etcd.ts';
export { startHaproxy } from './haproxy.ts';
export type { HaproxyMode, HaproxyOptions, HaproxyProcess, HaproxyServer } from './haproxy.ts';
export { retainedHeapBytes } from './heap.ts';
export { HOSTILE_MESSAGES, mutated } from './hostile-messages.ts';
export type { HostileMessage } from './hostile-messages.ts';
export { freeAddress } from './ports.ts';
