import { startEtcd } from '@xylem/testkit';
import { startEtcdServer } from './server.ts';
import { contract } from './testing/contract.ts';
import { temporaryFolder } from './testing/folder.ts';

contract('the embedded store in memory', async () => {
  const server = await startEtcdServer({ dataDir: undefined, listen: '127.0.0.1:0' });
  return { address: server.address, stop: () => server.close() };
});

contract('the embedded store in a file', async () => {
  const folder = await temporaryFolder();
  const server = await startEtcdServer({ dataDir: folder.path, listen: '127.0.0.1:0' });
  return {
    address: server.address,
    stop: async () => {
      await server.close();
      await folder.remove();
    },
  };
});

contract('etcd', async () => {
  // With its default election timeout etcd raises leases to 2 s, as the embedded store does.
  const server = await startEtcd({ heartbeatIntervalMs: 100, electionTimeoutMs: 1_000 });
  return { address: server.address, stop: () => server.dispose() };
});
