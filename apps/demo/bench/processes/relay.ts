/** A plain TCP relay as a process of its own, the least that a hop can cost in Node: `relay.ts <port> [delay each way, ms]`. Prints its port. */
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';

const [port = '', delay = '0'] = process.argv.slice(2);
const delayMs = Number(delay);

function pass(from: Socket, to: Socket): void {
  from.on('error', () => to.destroy());
  from.on('close', () => to.destroy());
  if (delayMs === 0) {
    from.pipe(to);
    return;
  }
  // A long way holds what is under way, so there is no back-pressure here: the windows of who uses it are the bound.
  from.on('data', (chunk: Buffer) => void setTimeout(() => to.write(chunk), delayMs));
  from.on('end', () => void setTimeout(() => to.end(), delayMs));
}

const server = createServer({ allowHalfOpen: true, noDelay: true }, (inner) => {
  const outer = connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
  pass(inner, outer);
  pass(outer, inner);
});
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  if (address !== null && typeof address === 'object') console.log(address.port);
});
process.stdin.on('end', () => process.exit(0)).resume();
