import { createChannel } from '../channel.ts';
import { handleStream } from '../handlers.ts';
import { createServer } from '../server.ts';
import { Echo } from './echo.ts';

/**
 * A process of its own, to be killed. `serve`: an echo server that prints its port. `dial <port>`: opens an echo stream,
 * sends one message and prints the answer.
 */

const [mode, port] = process.argv.slice(2);

if (mode === 'serve') {
  const echo = handleStream(Echo.stream, async (stream) => {
    for await (const message of stream) stream.send(message);
  });
  const server = createServer({ tls: undefined, services: [echo] });
  console.log(await server.listen('127.0.0.1:0'));
} else {
  const channel = createChannel({ address: `127.0.0.1:${port}`, tls: undefined });
  const stream = channel.stream(Echo.stream);
  stream.send(Buffer.from('alive'));
  for await (const message of stream) console.log(message.toString());
}
