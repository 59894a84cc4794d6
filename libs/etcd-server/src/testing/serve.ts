import { startEtcdServer } from '../server.ts';

// A process of its own, to be killed: serves the folder given on a free port and prints the address.
const [dataDir] = process.argv.slice(2);
const server = await startEtcdServer({ dataDir, listen: '127.0.0.1:0', keepRevisions: 2_000 });
process.stdout.write(`${server.address}\n`);
