/**
 * The server at the far end of every contestant, as a process of its own: prints its port. The first byte of a connection says
 * what it does, the next eight how many bytes: `d` sends them, `u` takes them and answers one byte, `e` echoes.
 */
import { createServer } from 'node:net';
import type { Socket } from 'node:net';

const HEADER_BYTES = 9;
const CHUNK = Buffer.alloc(65_536, 0x78);

function send(socket: Socket, bytes: number): void {
  let left = bytes;
  const more = (): void => {
    while (left > 0) {
      const chunk = left < CHUNK.length ? CHUNK.subarray(0, left) : CHUNK;
      left -= chunk.length;
      if (!socket.write(chunk)) return void socket.once('drain', more);
    }
  };
  more();
}

function take(socket: Socket, bytes: number): void {
  let left = bytes;
  socket.on('data', (chunk: Buffer) => {
    left -= chunk.length;
    if (left === 0) socket.write('.');
  });
}

function serve(socket: Socket, header: Buffer): void {
  const bytes = Number(header.readBigUInt64BE(1));
  const rest = header.subarray(HEADER_BYTES);
  const what = String.fromCharCode(header.readUInt8(0));
  if (what === 'd') {
    socket.resume();
    send(socket, bytes);
    return;
  }
  if (what === 'u') take(socket, bytes);
  else socket.on('data', (chunk: Buffer) => void socket.write(chunk));
  if (rest.length > 0) socket.emit('data', rest);
}

const server = createServer({ noDelay: true }, (socket) => {
  let header = Buffer.alloc(0);
  const onData = (chunk: Buffer): void => {
    header = Buffer.concat([header, chunk]);
    if (header.length < HEADER_BYTES) return;
    socket.off('data', onData);
    serve(socket, header);
  };
  socket.on('error', () => socket.destroy());
  socket.on('data', onData);
});
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  if (address !== null && typeof address === 'object') console.log(address.port);
});
process.stdin.on('end', () => process.exit(0)).resume();
