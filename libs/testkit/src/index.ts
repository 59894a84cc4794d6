export { etcdctl, startEtcd, startEtcdCluster, startEtcdctl } from './etcd.ts';
export type { EtcdCluster, EtcdctlResult, EtcdOptions, EtcdProcess } from './etcd.ts';
