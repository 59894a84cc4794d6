import { readIdentityFolder } from '../identity-folder.ts';
import { fileTlsSource } from '../tls-source.ts';
import { join } from 'node:path';

/** Reads a folder without pause, as a whole and as three files, until told to stop; reports what it saw. */
const [, , directory = ''] = process.argv;
const files = { ca: join(directory, 'ca.pem'), cert: join(directory, 'cert.pem'), key: join(directory, 'key.pem') };
const problems: string[] = [];
const generations = new Set<number>();
let reads = 0;

function read(): void {
  try {
    generations.add(readIdentityFolder(directory).facts.generation);
    fileTlsSource(files).close();
    reads += 1;
  } catch (error) {
    problems.push(error instanceof Error ? error.message : String(error));
  }
}

const loop = setInterval(read, 0);
process.once('message', () => {
  clearInterval(loop);
  process.send?.({ problems, reads, generations: generations.size });
  process.disconnect();
});
process.send?.('reading');
