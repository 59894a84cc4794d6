import { EXIT } from '@xylem/service';
import { readConfig } from './config.ts';
import { demo } from './demo.ts';

const outcome = readConfig({ argv: process.argv.slice(2), env: {} });
switch (outcome.kind) {
  case 'shown':
    process.stdout.write(outcome.text);
    break;
  case 'invalid':
    process.stderr.write(outcome.text);
    process.exitCode = EXIT.configuration;
    break;
  case 'loaded':
    try {
      process.exitCode = await demo(outcome.config);
    } catch (error) {
      process.stderr.write(`xylem demo: ${error instanceof Error ? error.message : String(error)}\n`);
      process.exitCode = EXIT.operating;
    }
    process.exit();
}
